"""The short form of `make chaos`: a few crash points under a small load. Those that wait for long leases are left to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.chaos.experiment import conduct
from tests.acceptance.chaos.stand import StruckStand, running_stand

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

EVENTS = 150


@pytest.fixture(scope="module")
def stand() -> Iterator[StruckStand]:
    with running_stand() as stand:
        yield stand


@pytest.mark.parametrize("name", ["web", "scheduler", "postgres", "stop"])
def test_nothing_is_lost_and_nothing_doubled_without_need(stand, name):
    result = conduct(stand, name, events=EVENTS)
    assert result.failures == []
    assert result.accepted == EVENTS
