from datetime import timedelta

import jwt
import pytest
from django.db import connection
from django.utils import timezone

from tenants.models import ApiKey, ProviderAccount, Tenant
from tenants.selectors import InvalidCredential, api_key_by_text, user_of_token
from tenants.services import create_api_key, revoke_api_keys
from tenants.vocabulary import Channel, Scope


def test_a_key_is_found_by_its_text_and_stored_only_as_a_hash(tenant):
    key, text = create_api_key(tenant=tenant, scopes=[Scope.EVENTS_WRITE])
    assert api_key_by_text(text) == key
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM tenants_apikey k")
        assert text not in cursor.fetchone()[0]


def test_an_unknown_key_is_refused(db):
    with pytest.raises(InvalidCredential):
        api_key_by_text("nk_unknown")


def test_credentials_are_encrypted_in_the_column(tenant):
    account = ProviderAccount.objects.create(
        tenant=tenant, channel=Channel.SMS, kind="twilio", name="x", credentials={"token": "s3cret"}
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials FROM tenants_provideraccount")
        assert "s3cret" not in cursor.fetchone()[0]
    account.refresh_from_db()
    assert account.credentials == {"token": "s3cret"}


def test_a_method_that_is_not_there_is_405_and_head_is_a_get(api):
    assert api.put("/api/events", {}).status_code == 405
    assert api.head("/api/deliveries").status_code == 200


def test_expired_revoked_and_inactive_keys_are_refused(tenant):
    key, text = create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    ApiKey.objects.update(expires_at=timezone.now())
    with pytest.raises(InvalidCredential):
        api_key_by_text(text)
    ApiKey.objects.update(expires_at=None)
    revoke_api_keys(keys=[key])
    with pytest.raises(InvalidCredential):
        api_key_by_text(text)
    _, other = create_api_key(tenant=tenant, scopes=[Scope.ADMIN])
    Tenant.objects.update(is_active=False)
    with pytest.raises(InvalidCredential):
        api_key_by_text(other)


def _token(tenant, secret=None, **claims):
    now = timezone.now()
    body = {"iss": tenant.slug, "sub": "u", "aud": "notifications", "exp": now + timedelta(minutes=5), **claims}
    return jwt.encode(
        {name: value for name, value in body.items() if value is not None}, secret or tenant.user_token_secret, "HS256"
    )


def test_a_token_of_the_tenants_own_making_speaks_for_its_user(tenant):
    assert user_of_token(_token(tenant)) == (tenant, "u")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 300},
        {"sub": "a\x00b"},
        {"aud": "other"},
        {"iss": "nobody"},
        {"iss": "a\x00"},
        {"exp": 1},
    ],
)
def test_a_token_that_does_not_fit_is_refused(tenant, claims):
    with pytest.raises(InvalidCredential):
        user_of_token(_token(tenant, **claims))


def test_a_token_signed_by_another_tenant_or_by_nobody_is_refused(tenant, stranger):
    with pytest.raises(InvalidCredential):
        user_of_token(_token(tenant, secret=stranger.user_token_secret))
    unsigned = jwt.encode({"iss": tenant.slug, "sub": "u", "aud": "notifications", "exp": 9999999999}, "", "none")
    with pytest.raises(InvalidCredential):
        user_of_token(unsigned)
