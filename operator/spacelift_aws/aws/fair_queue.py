"""Fair turns for calls that many tenants share: bounded in total, and in every direction one of them could spread.

A slow role, a slow region or a busy namespace holds no more than its own share of the threads; who waits is served
round-robin among the tenants (a tenant is a namespace), and within a tenant among the roles and regions it asks for.
All of it runs on the event loop's thread.
"""

import asyncio
import math
import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import Final, TypeVar

K = TypeVar("K")

_URGENT_IN_A_ROW: Final = 3
"""After so many urgent turns in a row one ordinary one is served, so that no tenant's urgency stops all others."""

Scope = tuple[str, str | None]
"""(role ARN, region): what a slow answer would come from."""


@dataclass(frozen=True)
class QueueLimits:
    """How many turns may be held at once: in total, and for one role, one region, one tenant."""

    total: int
    per_role: int
    per_region: int
    per_tenant: int


class TokenBucket:
    """At most `rate` tokens a second in the long run and `burst` at once. Times are seconds of any steady clock."""

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a token bucket needs a positive rate and a burst of at least one")
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until a token is there, 0.0 if one is there now."""
        self._fill(now)
        # A hair below one counts as one: otherwise rounding asks for sleeps too short for any clock to see.
        return 0.0 if self._tokens >= 1 - 1e-6 else (1 - self._tokens) / self._rate

    def left(self, now: float) -> float:
        """How many tokens there are now."""
        elapsed = now - self._filled_at if self._filled_at is not None else 0.0
        return min(self._burst, self._tokens + max(0.0, elapsed) * self._rate)

    def has_half(self, now: float) -> bool:
        """Whether at least half of the burst is left, and a token."""
        self._fill(now)
        return self._tokens >= max(1.0, self._burst / 2)

    def take(self, now: float) -> None:
        """Take one token, which `wait` has said to be there."""
        self._fill(now)
        self._tokens -= 1

    def _fill(self, now: float) -> None:
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = now


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


class _Ring:
    """Who waits, as tenants that take turns, each holding the scopes it waits for, which take turns too."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[Scope, deque[asyncio.Future[Turn]]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._tenants)

    def __len__(self) -> int:
        """How many wait, as far as another thread can tell while they come and go."""
        return sum(len(waiters) for scopes in tuple(self._tenants.values()) for waiters in tuple(scopes.values()))

    def add(self, tenant: str, scope: Scope, waiter: "asyncio.Future[Turn]") -> None:
        self._tenants.setdefault(tenant, OrderedDict()).setdefault(scope, deque()).append(waiter)

    def discard(self, tenant: str, scope: Scope, waiter: "asyncio.Future[Turn]") -> None:
        scopes = self._tenants.get(tenant)
        waiters = scopes.get(scope) if scopes else None
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            self._prune(tenant, scope)

    def remove(self, tenant: str, role: str) -> list[tuple[Scope, deque["asyncio.Future[Turn]"]]]:
        """Take out all who wait for a role in a tenant."""
        scopes = self._tenants.get(tenant, OrderedDict())
        removed = [(scope, scopes.pop(scope)) for scope in list(scopes) if scope[0] == role]
        if not scopes:
            self._tenants.pop(tenant, None)
        return removed

    def find(self, turns: "FairQueue") -> tuple[str, Scope] | None:
        """The next tenant and scope with room for one more call."""
        for tenant, scopes in self._tenants.items():
            for scope in scopes:
                if turns._has_room(tenant, scope):
                    return tenant, scope
        return None

    def pop(self, tenant: str, scope: Scope) -> "asyncio.Future[Turn]":
        """The first who waits there; tenant and scope go to the end of their rows."""
        waiter = self._tenants[tenant][scope].popleft()
        self._tenants[tenant].move_to_end(scope)
        self._tenants.move_to_end(tenant)
        self._prune(tenant, scope)
        return waiter

    def _prune(self, tenant: str, scope: Scope) -> None:
        scopes = self._tenants[tenant]
        if not scopes[scope]:
            del scopes[scope]
        if not scopes:
            del self._tenants[tenant]


class FairQueue:
    """Hands out turns within `limits`, and within the rate of `bucket` if there is one."""

    def __init__(self, limits: QueueLimits, bucket: TokenBucket | None = None) -> None:
        self._limits = limits
        self._bucket = bucket
        self._held = 0
        self._roles: Counter[str] = Counter()
        self._regions: Counter[str | None] = Counter()
        self._tenants: Counter[str] = Counter()
        self._urgent = _Ring()
        self._ordinary = _Ring()
        self._urgent_in_a_row = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        """How many turns are held now."""
        return self._held

    @property
    def limit(self) -> int:
        """How many turns may be held at once."""
        return self._limits.total

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
        ring = self._urgent if urgent else self._ordinary
        waiter: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        ring.add(tenant, scope, waiter)
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
        if self._urgent or self._ordinary or self._held >= self._limits.total or not self._has_room(tenant, scope):
            return None
        if self._bucket is not None:
            now = asyncio.get_running_loop().time()
            if not self._bucket.has_half(now):
                return None
            self._bucket.take(now)
        self._count(tenant, scope, 1)
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
        while self._held < self._limits.total and (found := self._next()) is not None:
            ring, tenant, scope = found
            if self._bucket is not None:
                loop = asyncio.get_running_loop()
                if (delay := self._bucket.wait(loop.time())) > 0:
                    self._timer = loop.call_later(delay, self._serve)
                    return
            waiter = ring.pop(tenant, scope)
            if waiter.done():
                continue  # cancelled a moment ago, its task has not run since
            if self._bucket is not None:
                self._bucket.take(asyncio.get_running_loop().time())
            self._urgent_in_a_row = self._urgent_in_a_row + 1 if ring is self._urgent else 0
            self._count(tenant, scope, 1)
            waiter.set_result(Turn(self, tenant, scope))

    def _next(self) -> tuple[_Ring, str, Scope] | None:
        rings = [self._urgent, self._ordinary]
        if self._urgent_in_a_row >= _URGENT_IN_A_ROW and self._ordinary:
            rings.reverse()
        for ring in rings:
            if (found := ring.find(self)) is not None:
                return ring, *found
        return None

    def _has_room(self, tenant: str, scope: Scope) -> bool:
        role, region = scope
        return (
            self._tenants[tenant] < self._limits.per_tenant
            and self._roles[role] < self._limits.per_role
            and self._regions[region] < self._limits.per_region
        )

    def _count(self, tenant: str, scope: Scope, change: int) -> None:
        role, region = scope
        self._held += change
        _add(self._tenants, tenant, change)
        _add(self._roles, role, change)
        _add(self._regions, region, change)

    def _give_back(self, tenant: str, scope: Scope) -> None:
        self._count(tenant, scope, -1)
        self._serve()


def _add(counter: Counter[K], key: K, change: int) -> None:
    counter[key] += change
    if counter[key] == 0:
        del counter[key]
