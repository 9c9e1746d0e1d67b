"""Tokens that a tenant's server mints for its users."""

from __future__ import annotations

import base64
from datetime import datetime

import jwt
import pytest
from django.utils.timezone import now
from rest_framework.test import APIClient

from tenants.vocabulary import Scope
from tests.conftest import client_for, user_client


def test_a_token_opens_its_users_inbox_and_tells_when_it_ends(api):
    response = api.post("/api/user-tokens", {"userId": "user_1", "ttlSeconds": 600})
    assert response.status_code == 201
    minted = response.json()
    claims = jwt.decode(minted["token"], options={"verify_signature": False})
    assert claims["sub"] == "user_1"
    assert abs(datetime.fromisoformat(minted["expiresAt"]).timestamp() - claims["exp"]) <= 1
    assert 590 < claims["exp"] - now().timestamp() <= 600
    assert APIClient(HTTP_AUTHORIZATION=f"Bearer {minted['token']}").get("/api/inbox").status_code == 200


def test_it_lasts_an_hour_unless_told_otherwise(api):
    minted = api.post("/api/user-tokens", {"userId": " ü\n"}).json()
    claims = jwt.decode(minted["token"], options={"verify_signature": False})
    assert claims["sub"] == " ü\n"
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "userId"),
        ({"userId": ""}, "userId"),
        ({"userId": 5}, "userId"),
        ({"userId": "x" * 256}, "userId"),
        ({"userId": "a\x00b"}, "userId"),
        ({"userId": "u", "ttlSeconds": 0}, "ttlSeconds"),
        ({"userId": "u", "ttlSeconds": 86401}, "ttlSeconds"),
        ({"userId": "u", "ttlSeconds": "60"}, "ttlSeconds"),
        ({"userId": "u", "ttlSeconds": True}, "ttlSeconds"),
        ({"userId": "u", "ttl": 60}, "ttl"),
    ],
)
def test_a_wrong_request_names_its_field(api, body, field):
    response = api.post("/api/user-tokens", body)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_it_takes_a_servers_key_with_the_scope(tenant):
    body = {"userId": "user_1"}
    assert APIClient().post("/api/user-tokens", body).status_code == 401
    assert client_for(tenant, Scope.EVENTS_WRITE).post("/api/user-tokens", body).status_code == 403
    assert user_client(tenant, "user_1").post("/api/user-tokens", body).status_code == 403
    assert client_for(tenant, Scope.RECIPIENTS_WRITE).post("/api/user-tokens", body).status_code == 201


def test_a_token_speaks_for_the_keys_own_tenant_only(api, stranger_api, stranger):
    token = stranger_api.post("/api/user-tokens", {"userId": "user_1"}).json()["token"]
    assert jwt.decode(token, options={"verify_signature": False})["iss"] == stranger.slug


@pytest.mark.parametrize("issuer", ["\\ud800", "\\u0000", "acme\\udfff"])
def test_an_issuer_that_is_no_text_is_refused(tenant, issuer):
    def part(text):
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    header, claims = part('{"alg":"HS256","typ":"JWT"}'), part(f'{{"iss":"{issuer}","sub":"u"}}')
    token = f"{header}.{claims}.c2ln"
    assert APIClient(HTTP_AUTHORIZATION=f"Bearer {token}").get("/api/inbox").status_code == 401
