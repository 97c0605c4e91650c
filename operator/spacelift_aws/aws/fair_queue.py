"""Fair turns for calls that many tenants share: bounded in total, and in every direction one of them could spread.

A slow role, a slow region or a busy namespace holds no more than its own share of the threads; who waits is served
round-robin among the tenants (a tenant is a namespace), and within a tenant among the roles and regions it asks for.
All of it runs on the event loop's thread.
"""

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeVar

from spacelift_aws.aws.fair_row import FairRow, Scope
from spacelift_aws.aws.token_bucket import TokenBucket

K = TypeVar("K")

_URGENT_IN_A_ROW: Final = 3
"""After so many urgent turns in a row one ordinary one is served, so that no tenant's urgency stops all others."""


@dataclass(frozen=True)
class QueueLimits:
    """How many turns may be held at once: in total, and for one role, one region, one tenant."""

    total: int
    per_role: int
    per_region: int
    per_tenant: int


class _Held:
    """The turns that are held now, and where there is room for one more."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self.total = 0
        self._roles: Counter[str] = Counter()
        self._regions: Counter[str | None] = Counter()
        self._tenants: Counter[str] = Counter()

    @property
    def limit(self) -> int:
        return self._limits.total

    @property
    def is_full(self) -> bool:
        return self.total >= self._limits.total

    def in_tenant(self, tenant: str) -> bool:
        return self._tenants[tenant] < self._limits.per_tenant

    def in_role(self, role: str) -> bool:
        return self._roles[role] < self._limits.per_role

    def in_region(self, region: str | None) -> bool:
        return self._regions[region] < self._limits.per_region

    def allows(self, tenant: str, scope: Scope) -> bool:
        """Whether there is room for one more of these."""
        role, region = scope
        return not self.is_full and self.in_tenant(tenant) and self.in_role(role) and self.in_region(region)

    def count(self, tenant: str, scope: Scope, change: int) -> None:
        role, region = scope
        self.total += change
        _add(self._tenants, tenant, change)
        _add(self._roles, role, change)
        _add(self._regions, region, change)


class Turn:
    """The right to make one call, until it is released (which may be done more than once)."""

    def __init__(self, turns: "FairQueue", tenant: str, scope: Scope) -> None:
        self._turns: FairQueue | None = turns
        self.tenant = tenant
        self.scope = scope

    def release(self) -> None:
        turns, self._turns = self._turns, None
        if turns is not None:
            turns._give_back(self.tenant, self.scope)


class FairQueue:
    """Hands out turns within `limits`, and within the rate of `bucket` if there is one."""

    def __init__(self, limits: QueueLimits, bucket: TokenBucket | None = None) -> None:
        self._held = _Held(limits)
        self._bucket = bucket
        self._urgent: FairRow[asyncio.Future[Turn]] = FairRow()
        self._ordinary: FairRow[asyncio.Future[Turn]] = FairRow()
        self._urgent_in_a_row = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        """How many turns are held now."""
        return self._held.total

    @property
    def limit(self) -> int:
        """How many turns may be held at once."""
        return self._held.limit

    @property
    def waiting(self) -> int:
        """How many calls wait for a turn."""
        return len(self._urgent) + len(self._ordinary)

    @property
    def budget(self) -> float:
        """How many turns the rate allows at once; without end where there is no rate."""
        if self._bucket is None:
            return math.inf
        return self._bucket.left(time.monotonic())

    async def take(self, tenant: str, role: str, region: str | None, *, urgent: bool = False) -> Turn:
        """Wait for a turn. Whoever gets one must release it, also when its call goes on after a cancellation."""
        scope: Scope = (role, region)
        row = self._urgent if urgent else self._ordinary
        waiter: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        row.add(tenant, scope, waiter)
        self._serve()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                waiter.result().release()
            else:
                self._urgent.discard(tenant, scope, waiter)
                self._ordinary.discard(tenant, scope, waiter)
            raise

    def take_spare(self, tenant: str, role: str, region: str | None) -> Turn | None:
        """A turn that nobody else could have now, if there is one: half of the burst is left for who comes next."""
        scope: Scope = (role, region)
        if self._urgent or self._ordinary or not self._held.allows(tenant, scope):
            return None
        if self._bucket is not None:
            now = asyncio.get_running_loop().time()
            if not self._bucket.has_half(now):
                return None
            self._bucket.take(now)
        self._held.count(tenant, scope, 1)
        return Turn(self, tenant, scope)

    def prioritize(self, tenant: str, role: str) -> None:
        """Make urgent whoever waits for this role in this tenant."""
        for scope, waiters in self._ordinary.remove(tenant, role):
            for waiter in waiters:
                self._urgent.add(tenant, scope, waiter)
        self._serve()

    def _serve(self) -> None:
        """Hand out all turns that may be had now; come back by a timer if only a token is missing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while not self._held.is_full and (found := self._next()) is not None:
            row, tenant, scope = found
            if self._bucket is not None:
                loop = asyncio.get_running_loop()
                if (delay := self._bucket.wait(loop.time())) > 0:
                    self._timer = loop.call_later(delay, self._serve)
                    return
            waiter = row.pop(tenant, scope)
            if waiter.done():
                continue  # cancelled a moment ago, its task has not run since
            if self._bucket is not None:
                self._bucket.take(asyncio.get_running_loop().time())
            self._urgent_in_a_row = self._urgent_in_a_row + 1 if row is self._urgent else 0
            self._held.count(tenant, scope, 1)
            waiter.set_result(Turn(self, tenant, scope))

    def _next(self) -> tuple["FairRow[asyncio.Future[Turn]]", str, Scope] | None:
        rows = [self._urgent, self._ordinary]
        if self._urgent_in_a_row >= _URGENT_IN_A_ROW and self._ordinary:
            rows.reverse()
        for row in rows:
            if (found := row.find(self._held)) is not None:
                return row, *found
        return None

    def _give_back(self, tenant: str, scope: Scope) -> None:
        self._held.count(tenant, scope, -1)
        self._serve()


def _add(counter: Counter[K], key: K, change: int) -> None:
    counter[key] += change
    if counter[key] == 0:
        del counter[key]
