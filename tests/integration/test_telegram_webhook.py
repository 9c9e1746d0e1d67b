"""The webhook is registered with Telegram: by a command for all bots, in the admin for one."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from deliveries.telegram.bots import bot_for, bot_named
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel
from tests.doubles.telegram import TelegramDouble
from tests.factories import RecipientFactory
from tests.staff import staff_client, superuser_client

SERVER = "https://notify.example.com"
PRESSED = {"_form_submitted": "on"}


@pytest.fixture
def telegram(settings):
    settings.PUBLIC_URL = SERVER
    with TelegramDouble() as double:
        settings.TELEGRAM_API_URL = double.url
        yield double


def account_of(tenant, token, name="Telegram", **values) -> ProviderAccount:
    return ProviderAccount.objects.create(
        tenant=tenant, channel=Channel.CHAT, kind="telegram", name=name, credentials={"bot_token": token}, **values
    )


def command(*arguments) -> str:
    out = StringIO()
    call_command("register_telegram_webhook", *arguments, stdout=out)
    return out.getvalue()


def registered(telegram) -> list[str]:
    return [request.json["url"] for request in telegram.requests if request.path.endswith("/setWebhook")]


def test_the_command_registers_every_bot_in_use(tenant, stranger, telegram, settings):
    settings.TELEGRAM_BOT_TOKEN = telegram.bot_token
    own = account_of(tenant, telegram.bot_token)
    account_of(stranger, telegram.bot_token, is_active=False)
    printed = command()
    assert printed.splitlines() == [f"the installation's bot (installation): {SERVER}", f"Telegram ({own.pk}): {SERVER}"]
    bots = [bot_named("installation"), bot_for(tenant)]
    assert registered(telegram) == [bot.webhook_url for bot in bots]
    assert telegram.webhook["secret_token"] == bots[1].secret
    assert telegram.webhook["allowed_updates"] == ["message", "my_chat_member"]
    assert not any(secret in printed for bot in bots for secret in (bot.token, bot.secret, bot.path_key))


def test_the_command_registers_the_bots_of_one_tenant(tenant, stranger, telegram):
    own = account_of(tenant, telegram.bot_token)
    account_of(stranger, telegram.bot_token)
    assert command(tenant.slug) == f"Telegram ({own.pk}): {SERVER}\n"
    assert len(registered(telegram)) == 1


def test_one_bad_bot_does_not_hinder_the_others_and_is_named(tenant, stranger, telegram):
    bad = "987654321:" + "b" * 35
    account_of(tenant, bad, name="Bad")
    account_of(stranger, telegram.bot_token)
    with pytest.raises(CommandError, match="Bad: Telegram refused: Unauthorized") as raised:
        command()
    assert bad not in str(raised.value)
    assert telegram.webhook["url"] == bot_for(stranger).webhook_url


def test_the_commands_mistakes_are_said(tenant, telegram, settings):
    settings.TELEGRAM_BOT_TOKEN = ""
    for arguments, said in (((), "no Telegram bot"), ((tenant.slug,), "no Telegram bot"), (("nobody",), "no tenant 'nobody'")):
        with pytest.raises(CommandError, match=said):
            command(*arguments)


def test_what_telegram_cannot_reach_is_said(tenant, telegram, settings):
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    account_of(tenant, telegram.bot_token)
    with pytest.raises(CommandError, match="An HTTPS URL must be provided"):
        command()


# In the admin.


def change_page(account) -> str:
    return reverse("admin:tenants_provideraccount_change", args=[account.pk])


def button(account) -> str:
    return reverse("admin:tenants_provideraccount_register_telegram_webhook", args=[account.pk])


def test_staff_register_the_bot_of_an_account(tenant, telegram):
    account, root = account_of(tenant, telegram.bot_token), superuser_client()
    assert button(account) in root.get(change_page(account)).content.decode()
    page = root.post(button(account), PRESSED, follow=True)
    assert f"Telegram posts to {SERVER} from now on." in page.content.decode()
    assert telegram.webhook["url"] == bot_for(tenant).webhook_url


def test_staff_are_told_why_not(tenant, telegram):
    account, root = account_of(tenant, telegram.bot_token), superuser_client()
    telegram.behave("setWebhook", status=502)
    assert "Telegram refused: Bad Gateway" in root.post(button(account), PRESSED, follow=True).content.decode()
    assert telegram.webhook == {}


def test_only_staff_who_may_change_the_account_register_it(tenant, telegram):
    account = account_of(tenant, telegram.bot_token)
    client = staff_client("tenants.view_provideraccount")
    assert button(account) not in client.get(change_page(account)).content.decode()
    assert client.post(button(account), PRESSED).status_code == 403
    assert telegram.requests == []


def test_other_accounts_have_no_such_button(tenant, telegram):
    other = ProviderAccount.objects.create(tenant=tenant, channel=Channel.SMS, kind="twilio", name="own", credentials={})
    root = superuser_client()
    assert button(other) not in root.get(change_page(other)).content.decode()
    root.post(button(other), PRESSED)
    assert telegram.requests == []


def test_the_list_of_recipients_shows_who_is_linked(tenant):
    RecipientFactory(tenant=tenant, user_id="zoe", telegram_chat_id="4711")
    RecipientFactory(tenant=tenant, user_id="bob")
    page = superuser_client().get(reverse("admin:preferences_recipient_changelist"))
    rows = {row.user_id: page.context["cl"].model_admin.device_count(row) for row in page.context["cl"].result_list}
    assert {user_id: "Telegram" in shown for user_id, shown in rows.items()} == {"zoe": True, "bob": False}
