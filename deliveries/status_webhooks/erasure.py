"""A user that is erased is erased from status messages too, those already sent and those that wait."""

from __future__ import annotations

from typing import Final

from django.db import connection

from tenants.models import Tenant

# What waits is sent all the same: the receiver hears what became of the delivery, but not whose it was, as for an inline
# recipient. The answers may have repeated the user id, so they go as well. Locked in the order of their ids, so that two who
# erase wait for each other rather than deadlock.
_FORGET: Final = """
UPDATE deliveries_statusmessage SET payload = payload || '{"userId": null}', response_excerpt = ''
WHERE id = ANY(ARRAY(
    SELECT id FROM deliveries_statusmessage WHERE tenant_id = %s AND payload ->> 'userId' = %s
    ORDER BY id FOR NO KEY UPDATE
))
"""


def forget_user(tenant: Tenant, user_id: str) -> bool:
    """Take the user id out of all of the tenant's messages; says whether it was in any. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [tenant.pk, user_id])
        return bool(cursor.rowcount)
