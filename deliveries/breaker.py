"""Circuit breakers: a provider account that fails is left alone for a while, by all workers together.

closed ──(enough failures)──→ open ──(cool-down over)──→ half-open: one probe ──→ closed, or open again for twice as long

The state is in Redis, changed by scripts, so that workers agree and a chunk costs one trip to ask and one to report. Redis'
own clock counts. Without Redis every circuit is closed: messages are tried, as if there were no breaker.
The libraries at hand serialise their callers (pybreaker holds a lock during the call) or let every worker probe at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import structlog
from redis.exceptions import RedisError

from deliveries.metrics import CIRCUIT_TRIPS, CIRCUITS_UNKNOWN
from tenants import redis
from tenants.vocabulary import Channel

logger = structlog.get_logger(__name__)

WINDOW_S: Final = 15
"""Failures count for one to two windows."""
FAILURES: Final = 5
"""As many in a window, and at least half of all calls, open the circuit."""
COOL_DOWN_S: Final = 5.0
LONGEST_COOL_DOWN_S: Final = 60.0
PROBE_S: Final = 40.0
"""After this long a probe is given up for lost with its worker (the lease of deliveries), and another may be sent."""
_FORGOTTEN_S: Final = 3600

_INDEX = "circuits"
"""A sorted set: open circuits by the time (Unix seconds) at which they may be probed."""


class Circuit(NamedTuple):
    """Whose failures are counted together."""

    channel: Channel
    provider: str
    account: str
    """The account's id, `installation`, or a webhook's tenant and host."""

    @property
    def key(self) -> str:
        return f"circuit:{self.channel.value}:{self.provider}:{self.account}"

    @classmethod
    def of_key(cls, key: str) -> Circuit:
        _, channel, provider, account = key.split(":", 3)
        return cls(Channel(int(channel)), provider, account)


@dataclass(frozen=True, slots=True)
class Closed:
    """Send."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Send one, and report what came of it."""


@dataclass(frozen=True, slots=True)
class Open:
    """Send nothing for as long."""

    for_s: float


Admission = Closed | Probe | Open


@dataclass(slots=True)
class Tally:
    """What one chunk's calls came to."""

    answered: int = 0
    failed: int = 0
    wait_s: float = 0.0
    """The provider asked everybody to wait so long."""


# KEYS: the circuit. ARGV: how long a probe may take. Answers {state, seconds}.
_ASK: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local state = redis.call('HMGET', KEYS[1], 'open_until', 'probed_until')
if not state[1] then return {'closed', '0'} end
if now < tonumber(state[1]) then return {'open', tostring(tonumber(state[1]) - now)} end
if state[2] and now < tonumber(state[2]) then return {'open', '1'} end
redis.call('HSET', KEYS[1], 'probed_until', now + ARGV[1])
return {'probe', '0'}
"""

# KEYS: the circuit. ARGV: answered, failed, wait, window, failures that open it, cool-down, longest cool-down, forgotten after.
# Answers {what changed, the time at which it may be probed}.
_REPORT: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local answered, failed, wait = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function open(seconds, what)
    local until_ = now + seconds
    redis.call('HSET', KEYS[1], 'open_until', tostring(until_))
    redis.call('HDEL', KEYS[1], 'probed_until', 'window', 'answered', 'failed', 'answered_before', 'failed_before')
    redis.call('EXPIRE', KEYS[1], math.max(ARGV[8], math.ceil(seconds) * 2))
    return {what, tostring(until_)}
end
local function trip()
    local trips = redis.call('HINCRBY', KEYS[1], 'trips', 1)
    return open(math.min(ARGV[6] * 2 ^ (trips - 1), tonumber(ARGV[7])), 'opened')
end
if wait > 0 then return open(wait, 'paused') end
local open_until = redis.call('HGET', KEYS[1], 'open_until')
if open_until then
    if now < tonumber(open_until) then return {'', ''} end  -- begun before it opened: says nothing new
    if failed > 0 then return trip() end
    if answered > 0 then
        redis.call('DEL', KEYS[1])
        return {'closed', ''}
    end
    redis.call('HDEL', KEYS[1], 'probed_until')
    return {'', ''}
end
local window = math.floor(now / ARGV[4])
local seen = tonumber(redis.call('HGET', KEYS[1], 'window') or '-1')
if seen ~= window then
    local before = {0, 0}
    if seen == window - 1 then before = redis.call('HMGET', KEYS[1], 'answered', 'failed') end
    redis.call('HSET', KEYS[1], 'window', window, 'answered', 0, 'failed', 0,
        'answered_before', before[1] or 0, 'failed_before', before[2] or 0)
end
answered = redis.call('HINCRBY', KEYS[1], 'answered', answered) + redis.call('HGET', KEYS[1], 'answered_before')
failed = redis.call('HINCRBY', KEYS[1], 'failed', failed) + redis.call('HGET', KEYS[1], 'failed_before')
redis.call('EXPIRE', KEYS[1], ARGV[8])
if failed >= tonumber(ARGV[5]) and failed >= answered then return trip() end
return {'', ''}
"""


def ask(circuits: Collection[Circuit]) -> dict[Circuit, Admission]:
    """Which circuits may be used now; one trip. Whoever is told `Probe` is the only one, until it reports."""
    circuits = list(dict.fromkeys(circuits))
    if not circuits:
        return {}
    try:
        pipe = redis.client().pipeline(transaction=False)
        for circuit in circuits:
            pipe.eval(_ASK, 1, circuit.key, PROBE_S)
        answers = pipe.execute()
    except RedisError as error:
        _unknown(error)
        return dict.fromkeys(circuits, Closed())
    return {circuit: _admission(*answer) for circuit, answer in zip(circuits, answers, strict=True)}


def _admission(state: bytes, seconds: bytes) -> Admission:
    if state == b"open":
        return Open(max(float(seconds), 0.1))
    return Probe() if state == b"probe" else Closed()


def report(tallies: Mapping[Circuit, Tally]) -> None:
    """Tell what came of a chunk's calls; one trip, and a second when a circuit changed."""
    if not tallies:
        return
    settings = [WINDOW_S, FAILURES, COOL_DOWN_S, LONGEST_COOL_DOWN_S, _FORGOTTEN_S]
    try:
        pipe = redis.client().pipeline(transaction=False)
        for circuit, tally in tallies.items():
            pipe.eval(_REPORT, 1, circuit.key, tally.answered, tally.failed, tally.wait_s, *settings)
        changes = [
            (circuit, what.decode(), until) for circuit, (what, until) in zip(tallies, pipe.execute(), strict=True) if what
        ]
        _write_down(changes)
    except RedisError as error:
        _unknown(error)


def _write_down(changes: Iterable[tuple[Circuit, str, bytes]]) -> None:
    for circuit, what, until in changes:
        logger.warning(
            f"circuit_{what}", channel=circuit.channel.label, provider=circuit.provider, provider_account=circuit.account
        )
        if what == "closed":
            redis.client().zrem(_INDEX, circuit.key)
            continue
        redis.client().zadd(_INDEX, {circuit.key: float(until)})
        if what == "opened":
            CIRCUIT_TRIPS.labels(circuit.channel.label, circuit.provider).inc()


def open_circuits() -> dict[Circuit, float]:
    """Those that are not closed, with the time (Unix seconds) at which each may be probed. Raises RedisError.

    One that nobody has tried for an hour is forgotten, and closed.
    """
    client = redis.client()
    now = client.time()[0]
    client.zremrangebyscore(_INDEX, 0, now - _FORGOTTEN_S)
    rows = cast("list[tuple[Any, float]]", client.zrange(_INDEX, 0, -1, withscores=True))
    return {Circuit.of_key(key.decode()): until for key, until in rows}


def _unknown(error: RedisError) -> None:
    CIRCUITS_UNKNOWN.inc()
    logger.warning("circuits_unknown", error=type(error).__name__)
