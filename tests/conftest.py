"""Fixtures for every kind of test: a tenant, its stranger, and clients that speak for them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import settings
from rest_framework.test import APIClient

from tenants.models import Tenant
from tenants.services import create_api_key, create_user_token
from tenants.vocabulary import Scope
from tests.factories import TenantFactory

# How long an example takes says nothing of what is tested.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def tenant(db) -> Tenant:
    return TenantFactory(slug="acme")


@pytest.fixture
def stranger(db) -> Tenant:
    """Another tenant, whose data must never show and never be touched."""
    return TenantFactory(slug="stranger")


def client_for(tenant: Tenant, *scopes: Scope, sandbox: bool = False) -> APIClient:
    _, key = create_api_key(tenant=tenant, scopes=scopes or (Scope.ADMIN,), sandbox=sandbox)
    return APIClient(HTTP_X_API_KEY=key)


def user_client(tenant: Tenant, user_id: str) -> APIClient:
    token = create_user_token(tenant=tenant, user_id=user_id, ttl=timedelta(minutes=5))
    return APIClient(HTTP_AUTHORIZATION=f"Bearer {token}")


@pytest.fixture
def api(tenant) -> APIClient:
    """A client with every scope."""
    return client_for(tenant)


@pytest.fixture
def stranger_api(stranger) -> APIClient:
    return client_for(stranger)
