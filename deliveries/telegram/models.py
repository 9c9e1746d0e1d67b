"""Which of Telegram's updates were taken."""

from __future__ import annotations

from typing import Final

from django.db import connection, models
from django.utils.timezone import now


class TelegramUpdate(models.Model):
    """An update that changed something. Telegram repeats one whose answer it did not get, for a day."""

    id = models.BigAutoField(primary_key=True)
    bot = models.CharField(max_length=36, help_text="The provider account's id, or `installation`.")
    update_id = models.BigIntegerField()
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint("bot", "update_id", name="telegram_update_once")]

    def __str__(self) -> str:
        return f"{self.update_id} of {self.bot}"


# A few old ones go with each that comes, so that there are never many.
_NOTE: Final = """
WITH old AS (
    SELECT id FROM deliveries_telegramupdate WHERE created_at < now() - interval '3 days'
    ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM deliveries_telegramupdate WHERE id IN (SELECT id FROM old))
INSERT INTO deliveries_telegramupdate (bot, update_id, created_at) VALUES (%s, %s, now())
ON CONFLICT DO NOTHING
RETURNING id
"""


def note_update(bot: str, update_id: int) -> bool:
    """Whether this update is new; in one transaction with what it changes."""
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, [bot, update_id])
        return cursor.fetchone() is not None
