"""A user's link to a Telegram bot, and the bot's webhook, whose caller is Telegram."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
import structlog
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.telegram import api
from deliveries.telegram.bots import bot_for, bot_named
from deliveries.telegram.updates import Update, take
from preferences.contact_points import InvalidContactPointError
from preferences.contact_points import user_id as checked_user_id
from preferences.models import Recipient
from preferences.queries import name_in_path
from preferences.telegram_links import create_link
from preferences.views.recipients import NOT_HERE, BesideRecipientView
from tenants.http.openapi import Problem
from tenants.http.parsers import read_body
from tenants.http.problems import Conflict, InvalidRequest, Unavailable
from tenants.http.serializers import CamelSerializer
from tenants.principal import caller
from tenants.vocabulary import Scope

logger = structlog.get_logger(__name__)

_SECRET: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name


class LinkSerializer(CamelSerializer):
    """Open it on a device with Telegram."""

    url = serializers.URLField(help_text="https://t.me/… with a token that is good once.")
    expires_at = serializers.DateTimeField()


@extend_schema(tags=["recipients"], parameters=[name_in_path("user_id")])
@extend_schema_view(get=NOT_HERE, put=NOT_HERE, patch=NOT_HERE, delete=NOT_HERE)
class TelegramLinkView(BesideRecipientView):
    """A recipient's link; and the recipient whose user id ends in `/telegram-link`, if there is one."""

    suffix = "/telegram-link"
    scopes: ClassVar = {**BesideRecipientView.scopes, "POST": (Scope.RECIPIENTS_WRITE,)}
    user_token_methods: ClassVar = {"POST"}

    @extend_schema(
        operation_id="recipients_telegram_link",
        summary="A link by which a user joins a Telegram chat",
        description="The user opens it and presses *Start*: the chat becomes the recipient's. Good for an hour, and once. "
        "With a user token, for that user only, who is made known as a recipient if need be.",
        request=None,
        responses={
            201: LinkSerializer,
            400: Problem,
            404: Problem,
            409: OpenApiResponse(Problem, description="The tenant has no Telegram bot."),
            503: OpenApiResponse(Problem, description="Telegram cannot be asked at the moment."),
        },
    )
    def post(self, request: Request, user_id: str) -> Response:
        principal = caller(request)
        if principal.user_id not in (None, user_id):
            raise PermissionDenied("A user token links its own user only.")
        try:
            checked_user_id(user_id)
        except InvalidContactPointError as error:
            raise InvalidRequest.field("userId", str(error)) from error
        bot = bot_for(principal.tenant)
        if bot is None:
            raise Conflict("The tenant has no Telegram bot: add a provider account for one, or set TELEGRAM_BOT_TOKEN.")
        try:
            username = api.username_of(bot.token)
        except api.RefusedError as error:
            raise Conflict(f"The Telegram bot cannot be used: {error}") from error
        except api.UnreachableError as error:
            raise Unavailable(str(error)) from error
        try:
            link = create_link(tenant=principal.tenant, user_id=user_id, bot=bot.name, make_known=principal.user_id is not None)
        except Recipient.DoesNotExist as error:
            raise Http404 from error
        url = f"https://t.me/{username}?start={link.token}"
        return Response(LinkSerializer({"url": url, "expires_at": link.expires_at}).data, status=201)


class TelegramUpdatesView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="telegram_updates",
        summary="What a Telegram bot's users say to it",
        description="Registered with Telegram by `manage.py register_telegram_webhook`. The answer may hold a call of the Bot "
        "API, which Telegram carries out.",
        tags=["receipts"],
        parameters=[
            OpenApiParameter("bot", str, OpenApiParameter.PATH, description="The provider account's id, or `installation`."),
            OpenApiParameter("key", str, OpenApiParameter.PATH),
            OpenApiParameter(_SECRET, str, OpenApiParameter.HEADER),
        ],
        request={"application/json": OpenApiTypes.OBJECT},
        responses={
            200: OpenApiResponse(OpenApiTypes.OBJECT, description="Taken; the bot's reply."),
            204: OpenApiResponse(description="Taken, or nothing of ours."),
            400: Problem,
            403: Problem,
            413: OpenApiResponse(Problem, description="The body is larger than 512 KB."),
        },
    )
    def post(self, request: Request, bot: str, key: str) -> Response:
        found = bot_named(bot)
        if found is None or not found.is_genuine(key, request.headers.get(_SECRET, "")):
            logger.warning("telegram_update_refused")
            raise PermissionDenied("This does not come from the Telegram of such a bot.")
        reply = take(found, _read(read_body(request._request)))
        return Response(status=204) if reply is None else Response(msgspec.to_builtins(reply))


def _read(body: bytes) -> Update:
    try:
        return msgspec.json.decode(body, type=Update)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest.field("", f"This is no update: {error}", "malformed") from error
