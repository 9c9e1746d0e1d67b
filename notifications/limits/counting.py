"""Limits counted in Redis: a chunk's messages in one call, or in a few if they come under very many limits.

Each count is a sorted set of the messages in its window, by their time in milliseconds, so that the window slides exactly. A
message that is put off has its place in it already, at the time at which its turn comes: a thousand that are over the limit
are spread out once, instead of all being asked again and again. So a count's newest may lie ahead; when it is full, the
next one's turn is a window's length after the one that has to leave for it.

Redis holds nothing that matters: when it is away, every message passes, and a counter shows it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import structlog
from redis.commands.core import Script
from redis.exceptions import RedisError

from notifications import metrics
from notifications.limits.models import Excess
from tenants import redis

logger = structlog.get_logger(__name__)

FARTHEST: Final = timedelta(days=7)
"""A message whose turn would come later than this is not sent at all."""


MOST_COUNTS: Final = 3000
"""In one call, about 20 ms of it: nobody else is answered by Redis meanwhile, and a call that takes a second has failed."""


class Count(NamedTuple):
    """One count that a message is part of."""

    key: str
    limit: int
    window_s: int
    excess: Excess


class Asked(NamedTuple):
    """A message and the counts it is part of."""

    name: bytes
    counts: tuple[Count, ...]
    passes: bool = False
    """It is counted, and sent whatever the counts say."""


class Answer(NamedTuple):
    """What the counts say; `excess` None: it may be sent."""

    excess: Excess | None = None
    decided_by: int = 0
    """Which of the message's counts."""
    until: datetime | None = None
    """When the turn of a deferred one comes."""


MAY_BE_SENT: Final = Answer()
_CODES: Final = (Excess.SUPPRESS, Excess.DIGEST, Excess.DEFER)
"""As numbers from 1 in the script; of several limits that are reached, the first of these counts."""

# Arguments: now and the farthest turn (both ms); then for each message its name, 1 if it passes, how many counts, and for each
# count the place of its key, its limit, its window (ms), its excess. Answers: excess, count that decided, turn (ms), in a row.
_SCRIPT: Final = """
local now, farthest = tonumber(ARGV[1]), tonumber(ARGV[2])
local cleared, answers, at = {}, {}, 3
while at <= #ARGV do
    local name, passes, size = ARGV[at], ARGV[at + 1] == '1', tonumber(ARGV[at + 2])
    local first, turn, deferring, excess, decided, known = at + 3, now, 0, 0, 0, nil
    at = first + size * 4
    for i = 0, size - 1 do
        local key, window = KEYS[tonumber(ARGV[first + i * 4])], tonumber(ARGV[first + i * 4 + 2])
        if not cleared[key] then
            redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
            cleared[key] = true
        end
        local score = redis.call('ZSCORE', key, name)
        if score then
            if tonumber(score) > (known or 0) then known, decided = tonumber(score), i end
        elseif not passes then
            local over = redis.call('ZCARD', key) - tonumber(ARGV[first + i * 4 + 1])
            if over >= 0 then
                local leaving = redis.call('ZRANGE', key, over, over, 'WITHSCORES')
                local free, code = tonumber(leaving[2]) + window, tonumber(ARGV[first + i * 4 + 3])
                if free > now then
                    if code == 3 then
                        if free > turn then turn, deferring = free, i end
                    elseif excess == 0 or code < excess then
                        excess, decided = code, i
                    end
                end
            end
        end
    end
    if known then
        if known > now then answers[#answers + 1] = 3 else answers[#answers + 1] = 0 end
        answers[#answers + 1] = decided
        answers[#answers + 1] = known
    else
        if excess == 0 and turn > farthest then excess, decided = 1, deferring end
        if excess == 0 then
            for i = 0, size - 1 do
                local key, window = KEYS[tonumber(ARGV[first + i * 4])], tonumber(ARGV[first + i * 4 + 2])
                redis.call('ZADD', key, turn, name)
                if redis.call('PTTL', key) < turn - now + window then redis.call('PEXPIRE', key, turn - now + window) end
            end
            if turn > now then excess, decided = 3, deferring end
        end
        answers[#answers + 1] = excess
        answers[#answers + 1] = decided
        answers[#answers + 1] = turn
    end
end
return answers
"""


def take_places(messages: Sequence[Asked], *, now: datetime) -> list[Answer]:
    """What the counts say of each message, in order; those that may be sent, now or later, have taken their places."""
    answers: list[Answer] = []
    try:
        for part in _in_parts(messages):
            answers += _ask(part, now)
    except RedisError as error:
        unlimited = len(messages) - len(answers)
        metrics.count_unlimited(unlimited)
        logger.warning("limits_not_counted", messages=unlimited, error=type(error).__name__)
        answers += [MAY_BE_SENT] * unlimited
    return answers


def _in_parts(messages: Sequence[Asked]) -> Iterator[Sequence[Asked]]:
    """Nearly always one."""
    begin = counts = 0
    for place, message in enumerate(messages):
        if counts and counts + len(message.counts) > MOST_COUNTS:
            yield messages[begin:place]
            begin, counts = place, 0
        counts += len(message.counts)
    if begin < len(messages):
        yield messages[begin:]


def _ask(messages: Sequence[Asked], now: datetime) -> list[Answer]:
    places: dict[str, int] = {}
    arguments: list[bytes | int] = [_ms(now), _ms(now + FARTHEST)]
    for message in messages:
        arguments += (message.name, int(message.passes), len(message.counts))
        for count in message.counts:
            place = places.setdefault(count.key, len(places) + 1)
            arguments += (place, count.limit, count.window_s * 1000, _CODES.index(count.excess) + 1)
    said = _script()(keys=list(places), args=arguments)
    return [_answer(*said[start : start + 3]) for start in range(0, len(said), 3)]


@functools.cache
def _script() -> Script:
    return redis.client().register_script(_SCRIPT)


def _answer(excess: int, decided_by: int, turn: int) -> Answer:
    if not excess:
        return MAY_BE_SENT
    kind = _CODES[excess - 1]
    return Answer(kind, decided_by, datetime.fromtimestamp(turn / 1000, UTC) if kind is Excess.DEFER else None)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
