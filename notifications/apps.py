from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = "Events and rules"

    def ready(self) -> None:
        from notifications.selectors import EventTypes
        from preferences import event_types

        event_types.register(EventTypes())
