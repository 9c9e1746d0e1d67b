from django.apps import AppConfig
from django.core import checks


class ConfigConfig(AppConfig):
    """Holds what belongs to the whole installation: the run and demo commands, health, metrics."""

    name = "config"
    verbose_name = "Installation"

    def ready(self) -> None:
        import config.celery  # noqa: F401 - whoever publishes a task, web included, does so through this application
        from config.public_url import check_public_url

        checks.register(check_public_url)
