"""What a new tenant starts with."""

from __future__ import annotations

from django.db import transaction

from templates_app.catch_all import seed_catch_all
from tenants.models import Tenant
from tenants.services import create_tenant


def provision_tenant(*, slug: str, name: str = "", sandbox: bool = False) -> Tenant:
    """A tenant whose first event shows something: with a catch-all template on every channel. Raises ValidationError."""
    with transaction.atomic():
        tenant = create_tenant(slug=slug, name=name, sandbox=sandbox)
        seed_catch_all(tenant)
    return tenant
