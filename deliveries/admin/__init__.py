"""Deliveries, provider accounts and status webhooks in the admin."""

from deliveries.admin.deliveries import DeliveryAdmin
from deliveries.admin.provider_accounts import ProviderAccountAdmin
from deliveries.admin.retry_schedules import RetryScheduleAdmin
from deliveries.admin.status_webhooks import StatusEndpointAdmin, StatusMessageAdmin

__all__ = ["DeliveryAdmin", "ProviderAccountAdmin", "RetryScheduleAdmin", "StatusEndpointAdmin", "StatusMessageAdmin"]
