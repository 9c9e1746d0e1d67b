"""Deliveries and provider accounts in the admin."""

from deliveries.admin.deliveries import DeliveryAdmin
from deliveries.admin.provider_accounts import ProviderAccountAdmin

__all__ = ["DeliveryAdmin", "ProviderAccountAdmin"]
