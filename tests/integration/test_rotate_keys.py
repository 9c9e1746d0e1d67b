"""A new encryption key takes the place of an old one, which can then be forgotten."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from django.core.management import call_command

from tenants.models import ProviderAccount, Tenant
from tenants.vocabulary import Channel


def test_after_the_rotation_the_old_key_is_not_needed(tenant, stranger, settings, capsys):
    credentials = {"auth_token": "t"}
    account = ProviderAccount.objects.create(tenant=tenant, channel=Channel.SMS, kind="twilio", credentials=credentials)
    secret = tenant.user_token_secret
    [old], new = settings.ENCRYPTION_KEYS, Fernet.generate_key().decode()

    settings.ENCRYPTION_KEYS = [new]
    with pytest.raises(ValidationError, match="not in ENCRYPTION_KEYS"):
        Tenant.objects.get(pk=tenant.pk)

    settings.ENCRYPTION_KEYS = [new, old]
    call_command("rotate_keys")
    assert capsys.readouterr().out.strip() == "3"

    settings.ENCRYPTION_KEYS = [new]
    assert Tenant.objects.get(pk=tenant.pk).user_token_secret == secret
    assert ProviderAccount.objects.get(pk=account.pk).credentials == credentials
