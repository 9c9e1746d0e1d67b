"""Which of what a claim finds it takes: so much at once, and what is taken up repeatedly without an end apart from the rest.

It may be what brings its workers down: so it takes no others with it, nor are they counted against it. Whether a claim goes to
the sound or to suspects is tossed for where there are both, so that neither waits for ever. Under suspicion for the first time,
a few work together, since most of them only had bad luck; then each works alone.
"""

from __future__ import annotations

import random
from typing import Any, Final

from notifications.claims import SUSPECT_AFTER, SUSPECTS_TOGETHER

CHOSEN: Final = """
    SELECT id FROM (
        SELECT id, size, is_suspect, attempt_count,
            sum(size) OVER fairly AS total, row_number() OVER fairly AS place, max(attempt_count) OVER () AS most,
            CASE WHEN bool_and(is_suspect) OVER () THEN true WHEN bool_or(is_suspect) OVER () THEN %(toss)s ELSE false END
                AS is_turn_of_suspects
        FROM (
            SELECT *, row_number() OVER (PARTITION BY turn ORDER BY due_at) AS nth,
                attempt_count >= %(suspect_after)s AS is_suspect
            FROM waiting
        ) numbered
        WINDOW fairly AS (
            PARTITION BY is_suspect ORDER BY CASE WHEN is_suspect THEN -attempt_count ELSE 0 END, priority, nth, turn
            ROWS UNBOUNDED PRECEDING
        )
    ) summed
    WHERE is_suspect = is_turn_of_suspects AND total - size < %(most)s
      AND (NOT is_suspect OR place = 1 OR most = %(suspect_after)s AND place <= %(together)s)
"""
"""SQL for the ids to take of `waiting (id, turn, priority, due_at, size, attempt_count)`; `turn` is the pair's place among the
shares. The most urgent first and tenants in turn, so that who has little does not wait for who has much.
"""


def parameters(*, most: int) -> dict[str, Any]:
    """Of `CHOSEN`: sizes up to `most` are taken, and one more."""
    return {
        "most": most,
        "suspect_after": SUSPECT_AFTER,
        "together": SUSPECTS_TOGETHER,
        "toss": random.random() < 0.5,  # noqa: S311 - a toss, no secret
    }
