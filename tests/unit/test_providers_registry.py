from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from deliveries import handover
from deliveries.claims import LEASE
from deliveries.providers import registry
from deliveries.providers.base import Provider
from deliveries.providers.credentials import ProviderConfigError
from deliveries.providers.installation import SETTINGS
from tenants.vocabulary import Channel

HEAVY = ("firebase_admin", "twilio", "apprise", "grpc")


@pytest.mark.parametrize(("channel", "kind"), registry.PROVIDERS)
def test_each_kind_has_a_class_of_its_channel_and_name(channel, kind):
    provider_class = registry.provider_class(channel, kind)
    assert issubclass(provider_class, Provider)
    assert (provider_class.channel, provider_class.name) == (channel, kind)


@pytest.mark.parametrize(("channel", "kind"), registry.PROVIDERS)
def test_what_a_kind_declares_is_what_its_constructor_takes(channel, kind):
    provider_class = registry.provider_class(channel, kind)
    parameters = inspect.signature(provider_class.__init__).parameters.values()
    named = {one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    declared = {field.name for field in provider_class.fields}
    assert named <= declared
    assert takes_any or named == declared


def test_every_vendor_channel_has_kinds_and_a_setting():
    for channel in set(Channel) - registry.OURS:
        assert registry.kinds(channel)
        assert SETTINGS[channel]


def test_a_tenant_has_no_accounts_for_our_own_channels():
    assert not registry.kinds(Channel.IN_APP)
    assert not registry.kinds(Channel.WEBHOOK)
    assert "in_app" not in registry.kinds()


def test_an_unknown_kind_names_those_there_are():
    with pytest.raises(ProviderConfigError, match=r"there is twilio\."):
        registry.provider_class(Channel.SMS, "pigeon")


@pytest.mark.parametrize(
    ("channel", "kind", "credentials", "fields"),
    [
        (Channel.EMAIL, "smtp", {"host": "mail.test"}, []),
        (Channel.EMAIL, "smtp", {"host": "mail.test", "security": "maybe"}, ["security"]),
        (Channel.EMAIL, "smtp", {"host": "", "port": "25", "hots": "x"}, ["hots", "host", "port"]),
        (Channel.EMAIL, "twilio", {}, ["kind"]),
        (Channel.EMAIL, "postmark", {"api_key": "x"}, ["api_key", "server_token"]),
        (Channel.SMS, "twilio", {"account_sid": "AC1", "auth_token": "t", "from_number": "+1"}, []),
        (Channel.PUSH, "fcm", {"project_id": "p", "client_email": "c", "private_key": "no key"}, ["private_key"]),
        (Channel.CHAT, "telegram", {"bot_token": "no token"}, ["bot_token"]),
        (Channel.CHAT, "telegram", {"bot_token": "123456789:" + "a" * 35}, []),
        (Channel.CHAT, "apprise", {"url": "json://127.0.0.1"}, ["url"]),
        (Channel.CHAT, "apprise", {"url": "discord://too-short"}, ["url"]),
        (Channel.CHAT, "apprise", {"url": f"rocket://{'a' * 17}/{'b' * 24}@chat.test/#general"}, []),
    ],
)
def test_credentials_are_validated_by_kind(channel, kind, credentials, fields):
    assert [field for field, _ in registry.validate_credentials(kind, channel, credentials)] == fields


def test_who_sends_nothing_loads_no_vendors_sdk():
    code = (
        "import django, sys; django.setup(); import deliveries.accounts, deliveries.dispatch;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(("channel", "kind"), [pair for pair in registry.PROVIDERS if pair[1] != registry.IN_APP])
def test_the_longest_call_of_a_claim_ends_within_its_lease(channel, kind):
    provider = registry.provider_class(channel, kind)
    longest_s = getattr(provider, "time_limit_s", 0) or sum(provider.time_limits_s)
    assert handover._BEGIN_WITHIN_S + longest_s + 5 < LEASE.total_seconds()
