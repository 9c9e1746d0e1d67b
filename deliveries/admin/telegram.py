"""The button on a Telegram account's page that has its bot's updates posted here."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from deliveries.telegram.api import TelegramError
from deliveries.telegram.bots import bot_of
from deliveries.telegram.webhook import register
from tenants.dialogs import confirmation, leave_for


class RegistersTelegram(ModelAdmin):
    """For the admin of provider accounts."""

    actions_detail: ClassVar = ["register_telegram_webhook"]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        account = self.get_object(request, object_id)
        if account is None or bot_of(account) is None:
            return []
        offered: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        return offered

    @action(
        description="Register the Telegram webhook",
        permissions=["change"],
        icon="link",
        dialog=confirmation(
            "Register the webhook with Telegram?",
            "What users say to the bot is posted to this installation, and to nobody else any more.",
            "Register",
        ),
    )
    def register_telegram_webhook(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        account = self.get_object(request, object_id)
        bot = bot_of(account) if account else None
        if bot is not None:
            try:
                self.message_user(request, f"Telegram posts to {register(bot)} from now on.", messages.SUCCESS)
            except TelegramError as error:
                self.message_user(request, str(error), messages.ERROR)
        return leave_for(reverse("admin:tenants_provideraccount_change", args=[object_id]), request)
