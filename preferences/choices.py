"""Writes of what people chose: their preferences, and the quiet hours of a user as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from preferences.errors import BadQuietHoursError, LadderFullError
from preferences.models import Preference, Recipient
from preferences.quiet_hours import Windows, fault_of, written
from preferences.services import ensure_recipients
from tenants.models import Tenant
from tenants.vocabulary import Channel

LONGEST_LADDER: Final = 500
"""Preferences of one user, or in one tenant's default ladder."""


@transaction.atomic
def set_preference(
    *, tenant: Tenant, user_id: str, channel: Channel | None, event_type: str, category: str, values: Mapping[str, Any]
) -> tuple[Preference, bool]:
    """Put `values` on a rung of the user's ladder (empty user id: the tenant's); also says whether the rung is new.

    On a rung that is there, what `values` does not name stays. Raises LadderFullError, BadQuietHoursError.
    """
    # Made empty first: whether quiet hours can be, only old and new values together say.
    preference, created = Preference.objects.select_for_update().get_or_create(
        tenant=tenant, user_id=user_id, channel=channel, event_type=event_type, category=category
    )
    _change(preference, values)
    if created and Preference.objects.for_tenant(tenant).filter(user_id=user_id).count() > LONGEST_LADDER:
        raise LadderFullError(f"There are {LONGEST_LADDER} preferences already; remove some first.")
    return preference, created


@transaction.atomic
def patch_preference(*, preference: Preference, values: Mapping[str, Any]) -> Preference:
    """Change the named fields; raises Preference.DoesNotExist if it is gone, BadQuietHoursError."""
    preference = Preference.objects.select_for_update().get(pk=preference.pk)
    _change(preference, values)
    return preference


def _change(preference: Preference, values: Mapping[str, Any]) -> None:
    """Quiet hours that are taken away take their days with them, unless those are `values`' own."""
    if "quiet_hours_start" in values and values["quiet_hours_start"] is None and preference.quiet_hours_days:
        values = {"quiet_hours_days": None, **values}
    for name, value in values.items():
        setattr(preference, name, value)
    fault = fault_of(preference.quiet_hours_start, preference.quiet_hours_end, preference.quiet_hours_days)
    if fault:
        raise BadQuietHoursError(*fault)
    preference.source = ""
    preference.save(update_fields=[*values, "source", "updated_at"])


@transaction.atomic
def set_quiet_hours(*, tenant: Tenant, user_id: str, windows: Windows) -> None:
    """The quiet hours of a user as a whole, who is made known if need be; with an empty user id, of the tenant. Empty: none."""
    if not user_id:
        tenant.quiet_hours = written(windows)
        tenant.save(update_fields=["quiet_hours"])
        return
    if windows:
        ensure_recipients([(tenant.pk, user_id)])
    Recipient.objects.for_tenant(tenant).filter(user_id=user_id).update(quiet_hours=written(windows), updated_at=timezone.now())
