"""Members of staff for tests of the admin, signed in without a password: hashing one takes longer than the test."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client


def superuser_client() -> Client:
    return _signed_in(User.objects.create(username="root", is_staff=True, is_superuser=True))


def staff_client(*permissions: str) -> Client:
    """A member of staff with these permissions (`deliveries.view_delivery`) and no other."""
    user = User.objects.create(username="clerk", is_staff=True)
    user.user_permissions.set(
        Permission.objects.get(codename=codename, content_type__app_label=app)
        for app, codename in (permission.split(".") for permission in permissions)
    )
    return _signed_in(user)


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client
