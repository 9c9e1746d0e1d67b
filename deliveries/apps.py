from django.apps import AppConfig
from django.core import checks


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    verbose_name = "Deliveries"

    def ready(self) -> None:
        from deliveries.checks import check_channels

        checks.register(check_channels)
