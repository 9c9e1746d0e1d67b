from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = "Events and rules"

    def ready(self) -> None:
        from deliveries import erasure as deliveries_erasure
        from deliveries.status_webhooks import metadata
        from notifications.erasure import forget_contents, forget_events
        from notifications.export import events_of
        from notifications.selectors import EventTypes, metadata_of_events
        from preferences import erasure, event_types, export

        event_types.register(EventTypes())
        metadata.register(metadata_of_events)
        erasure.register_history(forget_events)
        deliveries_erasure.register_contents(forget_contents)
        export.register("events", events_of)
