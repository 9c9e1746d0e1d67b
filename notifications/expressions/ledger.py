"""What slow expressions have cost lately, and which are left out for it. Each worker process keeps its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

REST_S = 60.0
"""How long a killed expression is left out, and the span over which a tenant's time is counted."""
TENANT_S = 5.0
"""CPU time that one tenant's slow evaluations may take in a span: one that just escapes being killed may come any number of
times."""
SLOW_S = 0.005
"""Evaluations up to here are not counted: what they add up to is the traffic, which the claims share out."""


@dataclass(slots=True)
class _Account:
    since: float
    spent_s: float = 0.0


@dataclass(slots=True)
class Ledger:
    clock: Callable[[], float] = time.monotonic
    _resting: dict[Hashable, tuple[float, str]] = field(default_factory=dict)
    _accounts: dict[int, _Account] = field(default_factory=dict)

    def objection(self, tenant_id: int, key: Hashable) -> str | None:
        """Why this tenant's expression is not evaluated now; None if it may be."""
        now = self.clock()
        until, why = self._resting.get(key, (now, ""))
        if until > now:
            return f"left out for a minute: {why}"
        account = self._accounts.get(tenant_id)
        if account is not None and account.spent_s >= TENANT_S and account.since + REST_S > now:
            return f"left out for a minute: the tenant's slow expressions took {TENANT_S:g} s of CPU time"
        return None

    def charge(self, tenant_id: int, cpu_s: float) -> None:
        """Count an evaluation against its tenant, if it was slow."""
        if cpu_s <= SLOW_S:
            return
        now = self.clock()
        account = self._accounts.get(tenant_id)
        if account is None or account.since + REST_S <= now:
            self._accounts = {key: kept for key, kept in self._accounts.items() if kept.since + REST_S > now}
            account = self._accounts.setdefault(tenant_id, _Account(now))
        account.spent_s += cpu_s

    def rest(self, key: Hashable, why: str) -> None:
        """Leave an expression out from now on."""
        now = self.clock()
        self._resting = {old: entry for old, entry in self._resting.items() if entry[0] > now}
        self._resting[key] = now + REST_S, why
