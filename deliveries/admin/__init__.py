"""Deliveries and provider accounts in the admin."""

from deliveries.admin.deliveries import DeliveryAdmin
from deliveries.admin.provider_accounts import ProviderAccountAdmin
from deliveries.admin.retry_schedules import RetryScheduleAdmin

__all__ = ["DeliveryAdmin", "ProviderAccountAdmin", "RetryScheduleAdmin"]
