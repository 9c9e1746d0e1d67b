"""A user links a Telegram chat, by a bot that listens and a webhook that is called over a socket."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from deliveries.models import Delivery, TelegramUpdate
from deliveries.providers.kept import forget_providers
from deliveries.states import Status
from deliveries.telegram import api as telegram_api
from deliveries.telegram import updates
from deliveries.telegram.bots import bot_for
from deliveries.telegram.webhook import register
from preferences.models import Recipient, TelegramLink
from tenants import redis
from tenants.models import ProviderAccount, Tenant
from tenants.vocabulary import Channel, Scope
from tests.conftest import client_for, user_client
from tests.doubles.telegram import TelegramDouble
from tests.factories import RecipientFactory, TemplateFactory

CHAT = 778_899_001
PLACE = "/api/recipients/zoe/telegram-link"
HEADER = "X-Telegram-Bot-Api-Secret-Token"


@pytest.fixture(autouse=True)
def fresh(transactional_db, settings):
    settings.PUBLIC_URL = "https://notify.example.com"
    redis.client().flushdb()
    telegram_api.forget_names()
    yield
    forget_providers()


@pytest.fixture
def telegram(settings):
    with TelegramDouble() as double:
        settings.TELEGRAM_API_URL = double.url
        yield double


def account_of(tenant, double, **values) -> ProviderAccount:
    credentials = {"bot_token": double.bot_token}
    defaults = {"channel": Channel.CHAT, "kind": "telegram", "name": "Telegram", "credentials": credentials}
    return ProviderAccount.objects.create(tenant=tenant, **{**defaults, **values})


@pytest.fixture
def bot(tenant, telegram):
    """The tenant's own, its webhook registered."""
    account_of(tenant, telegram)
    register(bot_for(tenant))
    return telegram


@pytest.fixture
def zoe(tenant) -> Recipient:
    return RecipientFactory(tenant=tenant, user_id="zoe", telegram_chat_id="")


def token_of(response) -> str:
    assert response.status_code == 201, response.content
    return parse_qs(urlsplit(response.json()["url"]).query)["start"][0]


def chat_of(recipient) -> str:
    recipient.refresh_from_db()
    return recipient.telegram_chat_id


def told(bot) -> str:
    """What the bot said last."""
    return bot.replies[-1]["text"]


def send_event(api, drain, event_id) -> Delivery:
    event = {"eventId": event_id, "eventType": "account", "userId": "zoe", "channels": ["chat"]}
    assert api.post("/api/events", event).status_code == 202
    drain()
    return Delivery.objects.get(event_id=event_id)


def test_the_whole_way_from_the_link_to_a_message_and_to_the_end(api, tenant, bot, zoe, service, drain):
    TemplateFactory(tenant=tenant, channel=Channel.CHAT, version__body="Your order is on its way", version__variables=[])
    response = api.post(PLACE)
    url = urlsplit(response.json()["url"])
    assert (url.scheme, url.netloc, url.path) == ("https", "t.me", "/AcmeBot")
    token = token_of(response)
    assert len(token) <= 64
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")

    assert bot.deliver(bot.message(CHAT, f"/start {token}"), to=service.url).status_code == 200
    assert bot.replies == [{"chat_id": CHAT, "text": updates.LINKED.format(name=tenant.name)}]
    assert chat_of(zoe) == str(CHAT)
    assert send_event(api, drain, "first").status == Status.SENT
    (received,) = bot.received
    assert received.json["chat_id"] == CHAT
    assert "Your order is on its way" in received.json["text"]

    assert bot.deliver(bot.membership(CHAT, "kicked"), to=service.url).status_code == 204
    assert chat_of(zoe) == ""
    missed = send_event(api, drain, "second")
    assert (missed.status, missed.reason) == (Status.SUPPRESSED, "no_address")
    assert len(bot.received) == 1


def test_stop_ends_it_and_says_so(api, bot, zoe, service):
    bot.deliver(bot.message(CHAT, f"/start {token_of(api.post(PLACE))}"), to=service.url)
    bot.deliver(bot.message(CHAT, "/stop"), to=service.url)
    assert (chat_of(zoe), told(bot)) == ("", updates.STOPPED)
    bot.deliver(bot.message(CHAT, "/stop"), to=service.url)
    assert told(bot) == updates.NOT_LINKED


# The link.


def test_only_the_hash_of_a_token_is_kept_and_for_an_hour(api, bot, zoe):
    before = now()
    response = api.post(PLACE)
    token, link = token_of(response), TelegramLink.objects.get()
    assert token.encode() not in bytes(link.token_hash)
    assert len(bytes(link.token_hash)) == 32
    assert timedelta(minutes=59) < link.expires_at - before < timedelta(minutes=61)
    assert response.json()["expiresAt"] == link.expires_at.isoformat().replace("+00:00", "Z")


def test_the_bots_name_is_asked_for_once(api, bot, zoe):
    assert token_of(api.post(PLACE)) != token_of(api.post(PLACE))
    assert [request.path.rpartition("/")[2] for request in bot.requests] == ["setWebhook", "getMe"]


def test_a_tenant_without_a_bot_of_its_own_has_the_installations(api, tenant, zoe, telegram, settings, service):
    settings.TELEGRAM_BOT_TOKEN = telegram.bot_token
    register(bot_for(tenant))
    telegram.deliver(telegram.message(CHAT, f"/start {token_of(api.post(PLACE))}"), to=service.url)
    assert chat_of(zoe) == str(CHAT)
    telegram.deliver(telegram.message(CHAT, "/stop"), to=service.url)
    assert chat_of(zoe) == ""


def test_without_a_bot_there_is_a_conflict(api, tenant, zoe, telegram, settings):
    settings.TELEGRAM_BOT_TOKEN = ""
    refused = api.post(PLACE)
    assert refused.status_code == 409
    assert "no Telegram bot" in refused.json()["detail"]
    # Its own account goes before the installation's, and is none of Telegram.
    settings.TELEGRAM_BOT_TOKEN = telegram.bot_token
    account_of(tenant, telegram, kind="apprise", credentials={"url": "discord://a/b"})
    assert api.post(PLACE).status_code == 409
    assert not TelegramLink.objects.exists()


def test_a_bot_that_telegram_does_not_know_is_a_conflict_and_its_token_stays_secret(api, tenant, zoe, telegram):
    token = "987654321:" + "b" * 35
    account_of(tenant, telegram, credentials={"bot_token": token})
    refused = api.post(PLACE)
    assert refused.status_code == 409
    assert token not in refused.content.decode()


@pytest.mark.parametrize("behaviour", [{"status": 502}, {"status": 429}, {"hang_up": True}, {"body": b"<html>"}])
def test_telegram_away_is_a_503_that_may_be_tried_again(api, bot, zoe, behaviour):
    bot.behave("getMe", **behaviour, times=1)
    refused = api.post(PLACE)
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert bot.bot_token not in refused.content.decode()
    assert not TelegramLink.objects.exists()
    assert api.post(PLACE).status_code == 201


def test_a_slow_telegram_is_not_waited_for(api, bot, zoe, monkeypatch):
    monkeypatch.setattr(telegram_api, "TIME_LIMIT_S", 0.2)
    bot.behave("getMe", drip_s=0.1)
    assert api.post(PLACE).status_code == 503


def test_who_may_ask_for_a_link(api, stranger_api, tenant, stranger, bot, zoe, telegram):
    account_of(stranger, telegram)
    assert stranger_api.post(PLACE).status_code == 404
    assert api.post("/api/recipients/nobody/telegram-link").status_code == 404
    assert client_for(tenant, Scope.EVENTS_WRITE).post(PLACE).status_code == 403
    assert user_client(tenant, "zoe").post(PLACE).status_code == 201
    assert user_client(tenant, "bob").post(PLACE).status_code == 403
    assert user_client(tenant, "bob").get(PLACE).status_code == 403
    assert user_client(tenant, "new").post("/api/recipients/new/telegram-link").status_code == 201
    assert Recipient.objects.for_tenant(tenant).filter(user_id="new").exists()


def test_a_user_id_that_ends_so_is_still_a_recipient(api):
    place = "/api/recipients/a/telegram-link"
    assert api.put(place, {"locale": "de"}).status_code == 201
    assert api.get(place).json()["userId"] == "a/telegram-link"
    assert api.patch(place, {"locale": "en"}).json()["locale"] == "en"
    assert api.delete(place).status_code == 204


def test_links_that_were_never_opened_do_not_pile_up(api, bot, zoe):
    for _ in range(3):
        api.post(PLACE)
    TelegramLink.objects.update(expires_at=now())
    api.post(PLACE)
    assert TelegramLink.objects.count() == 1


# The webhook.


@pytest.mark.parametrize("secret", ["", "wrong", "ü"])
def test_a_forged_secret_is_refused_and_changes_nothing(api, bot, zoe, service, secret):
    token = token_of(api.post(PLACE))
    update = bot.message(CHAT, f"/start {token}")
    response = bot.deliver(update, to=service.url, **{HEADER: secret.encode()})
    assert (response.status_code, response.headers["Content-Type"]) == (403, "application/problem+json")
    assert chat_of(zoe) == ""
    assert bot.deliver(update, to=service.url).status_code == 200
    assert chat_of(zoe) == str(CHAT)


def test_another_path_is_refused_whatever_the_secret(bot, service):
    account, key = bot.webhook["url"].rsplit("/", 2)[1:]
    for path in (f"{account}/x{key}", f"x{account}/{key}", f"{uuid4()}/{key}", f"installation/{key}"):
        bot.webhook["url"] = f"https://notify.example.com/api/telegram/{path}"
        assert bot.deliver(bot.message(CHAT, "/stop"), to=service.url).status_code == 403


def test_the_bots_token_is_neither_in_the_path_nor_the_secret(bot):
    assert bot.bot_token not in str(bot.webhook)
    assert bot.webhook["allowed_updates"] == ["message", "my_chat_member"]
    assert bot.webhook["url"].startswith("https://notify.example.com/api/telegram/")


def test_a_used_an_expired_and_an_unknown_token_are_answered_and_link_nobody(api, bot, zoe, service):
    used, late = token_of(api.post(PLACE)), token_of(api.post(PLACE))
    bot.deliver(bot.message(CHAT, f"/start {used}"), to=service.url)
    TelegramLink.objects.update(expires_at=now())
    for token in (used, late, "nonsense", "nul\x00", "ü" * 100):
        assert bot.deliver(bot.message(CHAT + 1, f"/start {token}"), to=service.url).status_code == 200
        assert told(bot) == updates.NOT_VALID
    assert chat_of(zoe) == str(CHAT)


def test_another_tenants_token_is_refused_and_stays_good_for_its_own_bot(stranger, stranger_api, bot, zoe, service, settings):
    their_zoe = RecipientFactory(tenant=stranger, user_id="zoe", telegram_chat_id="")
    with TelegramDouble(bot_token="222222222:" + "c" * 35, username="OtherBot") as theirs:
        settings.TELEGRAM_API_URL = theirs.url
        account_of(stranger, theirs)
        register(bot_for(stranger))
        token = token_of(stranger_api.post(PLACE))
        bot.deliver(bot.message(CHAT, f"/start {token}"), to=service.url)
        assert told(bot) == updates.NOT_VALID
        assert (chat_of(zoe), chat_of(their_zoe)) == ("", "")
        theirs.deliver(theirs.message(CHAT, f"/start {token}"), to=service.url)
        assert (chat_of(zoe), chat_of(their_zoe)) == ("", str(CHAT))
        # Each bot speaks for its own tenant only, and has its own secret.
        bot.deliver(bot.membership(CHAT, "kicked"), to=service.url)
        assert chat_of(their_zoe) == str(CHAT)
        stop = theirs.message(CHAT, "/stop")
        assert theirs.deliver(stop, to=service.url, **{HEADER: bot.webhook["secret_token"]}).status_code == 403
        assert chat_of(their_zoe) == str(CHAT)


def test_an_update_that_comes_again_changes_nothing(api, bot, zoe, service):
    first, second = (bot.message(CHAT, f"/start {token_of(api.post(PLACE))}") for _ in range(2))
    stop, blocked = bot.message(CHAT, "/stop"), bot.membership(CHAT, "kicked")
    for update in (first, stop, blocked):
        bot.deliver(update, to=service.url)
    assert chat_of(zoe) == ""
    bot.deliver(second, to=service.url)
    said = len(bot.replies)
    for update in (first, stop, blocked, second):
        assert bot.deliver(update, to=service.url).status_code == 204
    assert (chat_of(zoe), len(bot.replies)) == (str(CHAT), said)


def test_what_was_taken_is_forgotten_after_days(bot, service):
    bot.deliver(bot.message(CHAT, "/stop"), to=service.url)
    TelegramUpdate.objects.update(created_at=now() - timedelta(days=4))
    bot.deliver(bot.message(CHAT, "/stop"), to=service.url)
    assert TelegramUpdate.objects.count() == 1


@pytest.mark.parametrize("kind", ["group", "supergroup", "channel"])
def test_only_private_chats_link_and_unlink(api, bot, zoe, service, kind):
    bot.deliver(bot.message(-CHAT, f"/start@AcmeBot {token_of(api.post(PLACE))}", kind), to=service.url)
    assert (chat_of(zoe), bot.replies) == ("", [])
    Recipient.objects.update(telegram_chat_id=str(-CHAT))
    bot.deliver(bot.message(-CHAT, "/stop", kind), to=service.url)
    bot.deliver(bot.membership(-CHAT, "kicked", kind), to=service.url)
    assert chat_of(zoe) == str(-CHAT)


def test_everything_else_is_passed_over(bot, service):
    for text in ("hello", "", "start", "/help", "//start x", "/startx"):
        assert bot.deliver(bot.message(CHAT, text), to=service.url).status_code == 204
    assert bot.deliver(bot.membership(CHAT, "member"), to=service.url).status_code == 204
    photo = bot.message(CHAT, "")
    del photo["message"]["text"]
    assert bot.deliver(photo, to=service.url).status_code == 204
    assert not TelegramUpdate.objects.exists()
    bot.deliver(bot.message(CHAT, "/start"), to=service.url)
    assert told(bot) == updates.HOW


@pytest.mark.parametrize("update", [{"message": {}}, {"update_id": "x", "message": {}}, {"update_id": 2**70, "message": {}}])
def test_what_is_no_update_is_a_400(bot, service, update):
    assert bot.deliver(update, to=service.url).status_code == 400


def test_a_bot_that_is_no_longer_the_tenants_unlinks_nobody(tenant, bot, zoe, service):
    Recipient.objects.update(telegram_chat_id=str(CHAT))
    ProviderAccount.objects.update(is_active=False)
    assert bot.deliver(bot.membership(CHAT, "kicked"), to=service.url).status_code == 204
    assert chat_of(zoe) == str(CHAT)


def test_who_has_a_chat_is_found_through_an_index(tenant, zoe):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        having = Recipient.objects.filter(tenant__in=Tenant.objects.all(), telegram_chat_id=str(CHAT))
        assert "recipient_by_chat" in having.explain()


def test_who_is_erased_is_not_linked_again_by_an_old_link(api, bot, zoe, service):
    token = token_of(api.post(PLACE))
    assert api.delete("/api/recipients/zoe").status_code == 204
    bot.deliver(bot.message(CHAT, f"/start {token}"), to=service.url)
    assert told(bot) == updates.NOT_VALID
    assert not Recipient.objects.exists()
