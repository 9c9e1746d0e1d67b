from django.apps import AppConfig
from django.core import checks


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    verbose_name = "Deliveries"

    def ready(self) -> None:
        from deliveries.checks import check_channels
        from deliveries.status_webhooks.erasure import forget_user
        from preferences import erasure

        checks.register(check_channels)
        erasure.register(forget_user)
