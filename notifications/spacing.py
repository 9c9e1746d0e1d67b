"""Steps of an escalation that quiet hours put off: they keep their distance, or all would come at once in the morning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from notifications.options import Step
from tenants.vocabulary import Channel


def distance_of(
    step: int,
    steps: Sequence[Step],
    *,
    began_at: datetime,
    until: datetime,
    quiet_until: Callable[[Channel, datetime], datetime | None],
) -> timedelta:
    """How long after `until`, the end of quiet hours that hold the step, its turn comes: as long as after the first step that
    they hold. `quiet_until(channel, moment)` says when those end that hold a moment on a channel.
    """
    for earlier in steps[:step]:
        turn = began_at + timedelta(seconds=earlier.after_s)
        if quiet_until(Channel(earlier.channel), turn) == until:
            return timedelta(seconds=steps[step].after_s - earlier.after_s)
    return timedelta()
