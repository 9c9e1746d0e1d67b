"""The admin's sidebar: every registered model that the member of staff may see, in its group."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

_GROUPS: Final[dict[str, dict[str, str]]] = {
    "Traffic": {
        "notifications.Event": "bolt",
        "deliveries.Delivery": "outgoing_mail",
        "notifications.Digest": "dynamic_feed",
        "deliveries.StatusMessage": "published_with_changes",
    },
    "Routing": {
        "notifications.EventType": "category",
        "notifications.Rule": "alt_route",
        "notifications.Limit": "speed",
        "notifications.DigestSchedule": "schedule_send",
        "notifications.Heartbeat": "cardiology",
    },
    "Words": {"templates_app.Template": "edit_note", "templates_app.Layout": "web"},
    "People": {
        "preferences.Recipient": "person",
        "preferences.Preference": "tune",
        "preferences.Topic": "campaign",
        "preferences.Suppression": "block",
    },
    "Installation": {
        "tenants.Tenant": "apartment",
        "tenants.ApiKey": "key",
        "tenants.ProviderAccount": "hub",
        "deliveries.RetrySchedule": "history",
        "deliveries.StatusEndpoint": "webhook",
        "auth.User": "badge",
        "auth.Group": "group",
    },
}
_OTHERS: Final = "More"


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's `SIDEBAR.navigation`."""
    home = {"title": "Overview", "icon": "monitoring", "link": reverse("admin:index")}
    shown = {
        model._meta.label: model for model, site in admin.site._registry.items() if site.has_view_or_change_permission(request)
    }
    groups: list[dict[str, Any]] = [{"items": [home]}]
    for title, places in _GROUPS.items():
        groups.append(
            {"title": title, "items": [_item(shown.pop(label), icon) for label, icon in places.items() if label in shown]}
        )
    groups.append({"title": _OTHERS, "items": [_item(model, "database") for model in shown.values()]})
    return [group for group in groups if group["items"]]


def _item(model: Any, icon: str) -> dict[str, Any]:
    options = model._meta
    return {
        "title": capfirst(options.verbose_name_plural),
        "icon": icon,
        "link": reverse(f"admin:{options.app_label}_{options.model_name}_changelist"),
    }
