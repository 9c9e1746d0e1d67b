from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = "Events and rules"

    def ready(self) -> None:
        from deliveries.status_webhooks import metadata
        from notifications.selectors import EventTypes, metadata_of_events
        from preferences import event_types

        event_types.register(EventTypes())
        metadata.register(metadata_of_events)
