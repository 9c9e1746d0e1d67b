"""Which quiet hours hold for somebody, and whether it is quiet at a moment: what the pipeline asks, for people to look at."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from preferences.quiet_hours import Windows, of_model, quiet_until, read
from preferences.resolver import Decision, quiet_hours_as_a_whole, quiet_hours_for
from preferences.selectors import Contact, recipients_by_user
from tenants.models import Tenant


class Quiet(NamedTuple):
    windows: Windows
    level: str
    """Who says so, as `resolver.quiet_hours_for` has it."""
    timezone: str
    until: dt.datetime | None
    """When it ends, if it is quiet now."""


def contact_of(tenant: Tenant, user_id: str) -> Contact | None:
    """The recipient, if it is known; one statement, or none for an empty user id."""
    key = (tenant.pk, user_id)
    return recipients_by_user([key]).get(key) if user_id else None


def quiet_of(tenant: Tenant, contact: Contact | None, *, now: dt.datetime, decision: Decision | None = None) -> Quiet:
    """For what `decision` decided; without one, for whatever no preference speaks of."""
    user, default = read(contact.quiet_hours if contact else ""), of_model(tenant.quiet_hours)
    if decision is None:
        windows, level = quiet_hours_as_a_whole(user=user, tenant=default)
    else:
        windows, level = quiet_hours_for(decision, user=user, tenant=default)
    timezone = (contact.timezone if contact else "") or tenant.timezone
    some = [one for one in windows if one.days]  # a preference says that there are none by naming no day
    return Quiet(some, level, timezone, quiet_until(some, timezone=timezone, now=now))
