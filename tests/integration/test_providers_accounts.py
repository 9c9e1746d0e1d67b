"""Who sends for whom: sandbox, the tenant's accounts, the installation's, nobody."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from django.core import checks
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deliveries.accounts import AccountKey, NotConfigured, providers_for
from deliveries.checks import check_channels
from deliveries.providers.kept import forget_providers
from deliveries.providers.messages import Failure, Receipt, Sent
from deliveries.providers.signing import signing_secret
from tenants.models import ProviderAccount
from tenants.vocabulary import Channel
from tests.doubles.smtp import SmtpDouble
from tests.doubles.webhook import WebhookDouble
from tests.factories import TenantFactory
from tests.messages import a_message, send_all

SMTP = {"host": "mail.acme.test", "security": "none"}
VENDOR_CHANNELS = [Channel.EMAIL, Channel.SMS, Channel.PUSH, Channel.CHAT]


@pytest.fixture(autouse=True)
def nothing_kept():
    yield
    forget_providers()


def account(tenant, *, name="own", channel=Channel.EMAIL, kind="smtp", credentials=None, **values):
    credentials = SMTP if credentials is None else credentials
    return ProviderAccount.objects.create(
        tenant=tenant, channel=channel, kind=kind, name=name, credentials=credentials, **values
    )


def ask(tenant, channel=Channel.EMAIL, *, sandbox=False, seed=1):
    key = AccountKey(tenant.pk, channel, sandbox)
    return providers_for([key], rng=random.Random(seed))[key]


@pytest.mark.parametrize("channel", VENDOR_CHANNELS)
def test_in_production_a_channel_without_credentials_has_nobody(tenant, channel):
    found = ask(tenant, channel)
    assert isinstance(found, NotConfigured)
    assert channel.label in found.message


@pytest.mark.parametrize("channel", VENDOR_CHANNELS)
def test_while_developing_a_channel_without_credentials_is_in_sandbox(tenant, settings, channel):
    settings.DEBUG = True
    (only,) = ask(tenant, channel)
    assert (only.name, only.is_sandbox, only.account_id) == ("sandbox", True, None)


def test_the_settings_serve_a_tenant_without_an_account_of_its_own(tenant, settings):
    settings.DEBUG = True
    settings.EMAIL = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": None, "EMAIL_HOST_USER": None, "EMAIL_HOST_PASSWORD": None}
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN, settings.TWILIO_FROM_NUMBER = "AC1", "token-1", "+1"
    settings.TELEGRAM_BOT_TOKEN = "123456789:" + "a" * 35
    names = {channel: ask(tenant, channel)[0].name for channel in (Channel.EMAIL, Channel.SMS, Channel.CHAT)}
    assert names == {Channel.EMAIL: "smtp", Channel.SMS: "twilio", Channel.CHAT: "telegram"}


def test_faulty_settings_are_said_to_be_so(tenant, settings):
    settings.TELEGRAM_BOT_TOKEN = "no token"
    found = ask(tenant, Channel.CHAT)
    assert isinstance(found, NotConfigured)
    assert "TELEGRAM_BOT_TOKEN" in found.message


def test_the_tenants_own_account_goes_before_the_settings_and_serves_nobody_else(tenant, stranger, settings):
    settings.EMAIL = {"EMAIL_HOST": "installation.test"}
    own = account(tenant)
    assert [one.account_id for one in ask(tenant)] == [own.pk]
    assert [one.account_id for one in ask(stranger)] == [None]


def test_an_inactive_account_is_none(tenant):
    account(tenant, is_active=False)
    assert isinstance(ask(tenant), NotConfigured)


def test_an_account_of_another_channel_does_not_serve_this_one(tenant):
    account(tenant)
    assert isinstance(ask(tenant, Channel.SMS), NotConfigured)


def test_accounts_are_asked_by_priority(tenant):
    second = account(tenant, name="second", priority=5)
    first = account(tenant, name="first", priority=1)
    assert [one.account_id for one in ask(tenant)] == [first.pk, second.pk]


def test_equals_share_by_weight_and_a_weight_of_nothing_goes_last(tenant):
    heavy, light, spare = (account(tenant, name=str(weight), weight=weight) for weight in (3, 1, 0))
    drawn = [[one.account_id for one in ask(tenant, seed=seed)] for seed in range(400)]
    first = Counter(order[0] for order in drawn)
    assert {order[-1] for order in drawn} == {spare.pk}
    assert 260 < first[heavy.pk] < 340  # 300 expected, standard deviation 8.7
    assert first[light.pk] == 400 - first[heavy.pk]


def test_a_faulty_account_is_passed_over(tenant):
    account(tenant, name="faulty", credentials={"host": ""}, priority=0)
    account(tenant, name="unknown", kind="pigeon", priority=1)
    good = account(tenant, name="good", priority=2)
    assert [one.account_id for one in ask(tenant)] == [good.pk]


def test_with_faulty_accounts_only_nobody_speaks_in_another_name(tenant, settings):
    settings.DEBUG = True
    settings.EMAIL = {"EMAIL_HOST": "installation.test"}
    account(tenant, name="mine", credentials={"host": "", "password": "s3cret-word"})
    found = ask(tenant)
    assert isinstance(found, NotConfigured)
    assert "mine: host" in found.message
    assert "s3cret-word" not in found.message


@pytest.mark.parametrize("channel", [*VENDOR_CHANNELS, Channel.WEBHOOK])
def test_a_sandbox_delivery_reaches_no_account(tenant, channel):
    account(tenant)
    (only,) = ask(tenant, channel, sandbox=True)
    assert only.is_sandbox


@pytest.mark.parametrize("channel", [*VENDOR_CHANNELS, Channel.WEBHOOK])
def test_a_tenant_turned_sandbox_reaches_no_account_even_with_older_deliveries(db, channel):
    tenant = TenantFactory(sandbox=True)
    account(tenant)
    (only,) = ask(tenant, channel)
    assert only.is_sandbox


@pytest.mark.parametrize("sandbox", [True, False])
def test_in_app_always_goes_to_our_own_inbox(tenant, sandbox):
    (only,) = ask(tenant, Channel.IN_APP, sandbox=sandbox)
    assert (only.name, only.is_sandbox) == ("in_app", False)


def test_a_tenant_that_is_gone_has_nobody(db):
    key = AccountKey(987_654, Channel.WEBHOOK, sandbox=False)
    assert isinstance(providers_for([key])[key], NotConfigured)


def test_webhooks_are_signed_with_the_tenants_own_secret(tenant, stranger, settings):
    settings.DEBUG = True
    with WebhookDouble(secret=signing_secret(tenant.webhook_secret)) as receiver:
        message = a_message(Channel.WEBHOOK, f"{receiver.url}/hook")
        (ours,) = ask(tenant, Channel.WEBHOOK)
        (theirs,) = ask(stranger, Channel.WEBHOOK)
        outcomes = [*send_all(ours, [message]), *send_all(theirs, [message])]
        del ours, theirs
        forget_providers()
    assert isinstance(outcomes[0], Sent)
    assert (outcomes[1].failure, outcomes[1].code) == (Failure.PERMANENT, "http_400")


def test_two_queries_however_many_keys(db, settings):
    settings.DEBUG = True
    tenants = [TenantFactory() for _ in range(5)]
    for tenant in tenants:
        account(tenant)
    keys = [AccountKey(tenant.pk, channel, sandbox) for tenant in tenants for channel in Channel for sandbox in (True, False)]
    with CaptureQueriesContext(connection) as queries:
        found = providers_for(keys)
    assert len(queries) == 2
    assert set(found) == set(keys)


@pytest.mark.parametrize(
    "keys", [[AccountKey(1, Channel.IN_APP, sandbox=False)], [AccountKey(1, Channel.EMAIL, sandbox=True)], []]
)
def test_no_query_where_none_is_needed(db, keys):
    with CaptureQueriesContext(connection) as queries:
        providers_for(keys)
    assert len(queries) == 0


def test_connections_are_kept_between_chunks_until_the_account_changes(tenant):
    with SmtpDouble() as server:
        own = account(tenant, credentials={"host": server.host, "port": server.port, "security": "none"})
        for _ in range(3):
            send_all(ask(tenant)[0], [a_message(Channel.EMAIL)])
        assert (len(server.received), server.connections) == (3, 1)
        before = ask(tenant)[0].provider
        own.credentials = {**own.credentials, "from_email": "new@acme.test"}
        own.save()
        send_all(ask(tenant)[0], [a_message(Channel.EMAIL)])
        assert ask(tenant)[0].provider is not before
        assert server.received[-1].sender == "new@acme.test"
        del before
        forget_providers()
        server.hang_up_all()
        assert server.open_connections == 0


def test_a_simulator_address_outside_the_sandbox_reaches_no_vendor(tenant):
    with SmtpDouble() as server:
        account(tenant, credentials={"host": server.host, "port": server.port, "security": "none"})
        addresses = ["ada@example.com", "ok@simulator.invalid", "bob@example.com"]
        outcomes = send_all(ask(tenant)[0], [a_message(Channel.EMAIL, address) for address in addresses])
        forget_providers()
        assert sorted(mail.recipients[0] for mail in server.received) == ["ada@example.com", "bob@example.com"]
    assert [type(outcome) is Sent for outcome in outcomes] == [True, False, True]
    assert (outcomes[1].failure, outcomes[1].code) == (Failure.PERMANENT, "simulator_address")


def test_in_the_sandbox_it_has_its_outcome(tenant):
    (sandbox,) = ask(tenant, sandbox=True)
    (outcome,) = send_all(sandbox, [a_message(Channel.EMAIL, "bounce@simulator.invalid")])
    assert (type(outcome), outcome.receipt) == (Sent, Receipt.BOUNCED)


def warned():
    assert check_channels in checks.registry.registry.get_checks(), "it runs when a process starts"
    return {message.hint for message in check_channels(app_configs=None) if message.id == "deliveries.W001"}


def test_a_production_start_warns_of_channels_without_credentials(settings):
    settings.DEBUG = False
    settings.TELEGRAM_BOT_TOKEN = "123456789:" + "a" * 35
    hints = " ".join(warned())
    assert all(name in hints for name in ("EMAIL_URL", "TWILIO_ACCOUNT_SID", "FCM_CREDENTIALS"))
    assert "TELEGRAM" not in hints


def test_a_developers_start_does_not(settings):
    settings.DEBUG = True
    assert warned() == set()
