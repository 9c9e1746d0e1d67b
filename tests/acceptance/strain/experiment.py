"""One strain from the bystanders' rest to the verdict."""

from __future__ import annotations

import contextlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.acceptance.strain.bystanders import CHANNELS, RATE, Stream
from tests.acceptance.strain.figures import Latency, Seen, look
from tests.acceptance.strain.strains.base import Outcome, Strain
from tests.acceptance.strain.world import BYSTANDER, World

REST_S = 10.0
_REST_FINAL_S = 30.0
_FIRST = 40
_FINAL_S = 90.0


@dataclass(frozen=True, slots=True)
class Felt:
    """What one tenant's bystanders on one channel felt."""

    tenant: str
    channel: str
    events: int
    lost: int
    at_rest: Latency
    under_strain: Latency


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    felt: list[Felt]
    outcome: Outcome
    failures: list[str]
    """What is not as promised, a line each; empty if all is."""


def conduct(world: World, name: str, strain: Strain, *, count: int = 0, rest_s: float = REST_S) -> Result:
    """Bystanders alone, then bystanders and the strain; then everything has to be final."""
    run = f"{name.replace(' ', '-')}-{secrets.token_hex(3)}"
    world.stand.wait_healthy()
    # What is done once is done before: connections, caches.
    Stream(world, BYSTANDER, f"{run}-first-", ("normal",)).post(_FIRST)
    rest = _streams(world, strain, f"{run}-rest")
    with ThreadPoolExecutor(max(len(rest), 1)) as pool:
        list(pool.map(lambda stream: stream.post(int(rest_s * RATE)), rest))
    assert world.stand.wait_final(time.monotonic(), _REST_FINAL_S) is not None, "not final at rest"
    strained = _streams(world, strain, f"{run}-by")
    with contextlib.ExitStack() as stack:
        for stream in strained:
            stack.enter_context(stream.posting())
        outcome = strain.apply(world, f"{run}-work-", count or strain.count)
    failures = [*outcome.failures, *outcome.late]
    if world.stand.wait_final(time.monotonic(), _FINAL_S) is None:
        failures.append(f"not all was final within {_FINAL_S:.0f} s")
    felt = []
    for before, during in zip(rest, strained, strict=True):
        at_rest, under_strain = look(world, before), look(world, during)
        failures += _failures(strain, during, under_strain)
        felt += [_felt(during.tenant, channel, at_rest, under_strain) for channel in CHANNELS]
    return Result(name, felt, outcome, failures)


def _streams(world: World, strain: Strain, prefix: str) -> list[Stream]:
    return [Stream(world, tenant, f"{prefix}-{tenant}-", turns) for tenant, turns in strain.bystanders.items()]


def _felt(tenant: str, channel: str, at_rest: Seen, under_strain: Seen) -> Felt:
    return Felt(
        tenant,
        channel,
        under_strain.events,
        len(under_strain.lost),
        at_rest.latencies[channel],
        under_strain.latencies[channel],
    )


def _failures(strain: Strain, stream: Stream, seen: Seen) -> list[str]:
    late = [
        f"{stream.tenant}: a message over {channel} took {latency.most / 1000:.1f} s, more than {strain.worst_s:.0f} s"
        for channel, latency in seen.latencies.items()
        if latency.most > strain.worst_s * 1000
    ]
    return [*(f"refused: {line}" for line in stream.refused), *(f"lost: {line}" for line in seen.lost), *late]
