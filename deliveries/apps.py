from django.apps import AppConfig
from django.core import checks


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    verbose_name = "Deliveries"

    def ready(self) -> None:
        from deliveries.checks import check_channels
        from deliveries.erasure import forget_deliveries
        from deliveries.export import deliveries_of, items_of, status_messages_of
        from deliveries.status_webhooks.erasure import forget_user
        from preferences import erasure, export

        checks.register(check_channels)
        erasure.register(forget_user)
        erasure.register_history(forget_deliveries)
        erasure.register_history(forget_user)  # again: what was announced since
        export.register("deliveries", deliveries_of)
        export.register("inbox", items_of)
        export.register("statusMessages", status_messages_of)
