"""Tenants from before there were links get a secret each."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tenants.models import Tenant

BEFORE, SINCE = ("tenants", "0001_initial"), ("tenants", "0002_link_secret")


@pytest.mark.django_db(transaction=True)
def test_tenants_that_are_there_get_a_secret_each():
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        MigrationExecutor(connection).migrate([BEFORE])
        with connection.cursor() as cursor:
            for slug in ("one", "two"):
                cursor.execute(
                    "INSERT INTO tenants_tenant (slug, name, is_active, sandbox, default_locale, timezone, default_channels, "
                    "user_token_secret, webhook_secret, created_at) "
                    "VALUES (%s, %s, true, false, 'en', 'UTC', '{}', '', '', now())",
                    [slug, slug],
                )
        MigrationExecutor(connection).migrate([SINCE])
        secrets = set(Tenant.objects.values_list("link_secret", flat=True))
        assert len(secrets) == 2
        assert all(len(secret) == 64 for secret in secrets)
    finally:
        MigrationExecutor(connection).migrate(newest)
