"""What the service itself writes down, in the admin: whoever may see it reads it, and nobody edits it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_permission_codename
from django.db.models import Model
from django.db.models.options import Options
from django.http import HttpRequest


class _ReadOnly:
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """By the right to view alone; the right to change, which some actions take, shows nothing."""
        return _may(request, "view", self._rights_of())

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def _rights_of(self) -> Options[Any]:
        """The model whose rights count."""
        raise NotImplementedError


class ReadOnlyAdmin(_ReadOnly):
    """Stands before the `ModelAdmin` that it specialises; its `fieldsets` say what is shown."""

    opts: Options[Any]
    fieldsets: Any

    def has_act_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Actions with `permissions=["act"]` take the right to change, though nothing can be edited."""
        return _may(request, "change", self.opts)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        rows = [row for _, options in self.fieldsets for row in options["fields"]]
        return [name for row in rows for name in ((row,) if isinstance(row, str) else row)]

    def _rights_of(self) -> Options[Any]:
        return self.opts


class ReadOnlyInline(_ReadOnly):
    """Stands before the inline that it specialises: rows that are part of another, and seen by whoever may see that one."""

    parent_model: type[Model]

    def _rights_of(self) -> Options[Any]:
        return self.parent_model._meta


def _may(request: HttpRequest, do: str, rights_of: Options[Any]) -> bool:
    return bool(request.user.has_perm(f"{rights_of.app_label}.{get_permission_codename(do, rights_of)}"))
