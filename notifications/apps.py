from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = "Events and rules"

    def ready(self) -> None:
        from deliveries import erasure as deliveries_erasure
        from deliveries import replay
        from deliveries.status_webhooks import metadata
        from notifications.digests.erasure import digests_of, forget_digests
        from notifications.erasure import forget_contents, forget_events
        from notifications.export import events_of
        from notifications.holds.again import ask_again
        from notifications.holds.services import forget
        from notifications.selectors import EventTypes, metadata_of_events
        from preferences import erasure, event_types, export

        event_types.register(EventTypes())
        metadata.register(metadata_of_events)
        erasure.register_history(forget_events)
        erasure.register_history(forget_digests)
        deliveries_erasure.register_contents(forget_contents)
        deliveries_erasure.register_rows(forget)
        replay.register(ask_again)
        export.register("events", events_of)
        export.register("digests", digests_of)
