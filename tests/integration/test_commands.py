"""The commands print just the value asked for; a mistake is one line."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from templates_app.models import Template
from tenants.models import ApiKey, Tenant
from tenants.selectors import api_key_by_text, user_of_token
from tenants.vocabulary import Channel, Scope


def printed(*arguments):
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().removesuffix("\n")


@pytest.mark.django_db
def test_a_tenant_comes_with_a_template_for_every_channel():
    assert printed("create_tenant", "new-one") == "new-one"
    tenant = Tenant.objects.get()
    assert set(Template.objects.for_tenant(tenant).values_list("channel", flat=True)) == {channel.value for channel in Channel}


def test_a_taken_slug_and_a_bad_one_are_refused(tenant):
    for slug in (tenant.slug, "no spaces", "x" * 64):
        with pytest.raises(CommandError):
            printed("create_tenant", slug)
    assert Tenant.objects.count() == 1


def test_a_key_is_printed_and_works(tenant):
    key = api_key_by_text(
        printed("create_api_key", "acme", "--scope", "events:write", "--scope", "deliveries:read", "--name", "ci")
    )
    assert (key.tenant, key.name, key.scopes) == (tenant, "ci", ["events:write", "deliveries:read"])
    usual = api_key_by_text(printed("create_api_key", "acme"))
    assert set(usual.scopes) == {scope.value for scope in Scope} - {"admin"}
    assert api_key_by_text(printed("create_api_key", "acme", "--sandbox")).sandbox


def test_a_token_is_printed_and_works(tenant):
    assert user_of_token(printed("create_user_token", "acme", "ada", "--ttl", "60")) == (tenant, "ada")


@pytest.mark.parametrize(
    "arguments",
    [
        ("create_api_key", "nobody"),
        ("create_api_key", "acme", "--scope", "everything"),
        ("create_user_token", "nobody", "u"),
        ("create_user_token", "acme", ""),
        ("create_user_token", "acme", "u", "--ttl", "0"),
        ("create_user_token", "acme", "u", "--ttl", "90000"),
        ("create_user_token", "acme", "u", "--ttl", "soon"),
    ],
)
def test_mistakes_are_said(tenant, arguments):
    with pytest.raises(CommandError):
        printed(*arguments)
    assert not ApiKey.objects.exists()
