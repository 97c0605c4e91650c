"""Who waits for a turn, and who is next: tenants take turns, and within a tenant the roles that it asks for.

What has no room is passed over as a whole, however many wait for it: a region that is full is not looked into, and
a line all of whose roles are full is parked until one of them is not. So a turn costs the same in a short row and in a
long one.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Generic, Protocol, TypeVar

W = TypeVar("W")
"""Who waits."""

Scope = tuple[str, str | None]
"""(role ARN, region): what a slow answer would come from."""


class Room(Protocol):
    """Where there is room for one more call."""

    @property
    def limit(self) -> int:
        """How many calls there are at most at once."""
        ...

    def in_tenant(self, tenant: str) -> bool: ...
    def in_role(self, role: str) -> bool: ...
    def in_region(self, region: str | None) -> bool: ...


@dataclass(eq=False, slots=True)
class _Line(Generic[W]):
    """Who of one tenant waits in one region, by role."""

    tenant: str
    parked: bool = False
    roles: OrderedDict[str, deque[W]] = field(default_factory=OrderedDict)

    def next_role(self, has_room: Callable[[str], bool]) -> str | None:
        return next((role for role in self.roles if has_room(role)), None)


class _Region(Generic[W]):
    """Who waits in one region."""

    def __init__(self) -> None:
        self.lines: dict[str, _Line[W]] = {}
        """All of them, by tenant."""
        self._ready: OrderedDict[str, _Line[W]] = OrderedDict()
        self._parked: dict[str, OrderedDict[str, _Line[W]]] = {}
        """By each role of a line: all of them were full when it was looked at."""

    def add(self, tenant: str, role: str, waiter: W) -> None:
        line = self.lines.setdefault(tenant, _Line(tenant))
        if role not in line.roles:
            self._unpark(line)
            self._ready.setdefault(tenant, line)
        line.roles.setdefault(role, deque()).append(waiter)

    def next(self, room: Room) -> tuple[str, str] | None:
        """Tenant and role of whoever is next here."""
        for awake in [role for role in self._parked if room.in_role(role)]:
            # A line that waited for several roles was woken by the first of them.
            if awake in self._parked:
                self._wake(awake, room)
        full: list[_Line[W]] = []
        found = None
        for line in self._ready.values():
            if not room.in_tenant(line.tenant):
                continue  # few can be full: each of them holds a share of the turns
            role = line.next_role(room.in_role)
            if role is not None:
                found = line.tenant, role
                break
            full.append(line)
        for line in full:
            self._park(line)
        return found

    def to_the_end(self, tenant: str, role: str | None = None) -> None:
        """A tenant has had a turn, here or, without a role, in another region."""
        if tenant in self._ready:
            self._ready.move_to_end(tenant)
        if role is not None:
            self.lines[tenant].roles.move_to_end(role)

    def take(self, tenant: str, role: str, number: int) -> list[W]:
        """Take out the first who wait there, and forget what nobody waits for any more."""
        line = self.lines[tenant]
        waiters = line.roles[role]
        taken = [waiters.popleft() for _ in range(number)]
        self.prune(line, role)
        return taken

    def prune(self, line: _Line[W], role: str) -> None:
        """Forget a role that nobody waits for."""
        if line.roles[role]:
            return
        was_parked = line.parked
        self._unpark(line)
        del line.roles[role]
        if not line.roles:
            self._ready.pop(line.tenant, None)
            del self.lines[line.tenant]
        elif was_parked:
            self._ready[line.tenant] = line

    def _park(self, line: _Line[W]) -> None:
        line.parked = True
        del self._ready[line.tenant]
        for role in line.roles:
            self._parked.setdefault(role, OrderedDict())[line.tenant] = line

    def _unpark(self, line: _Line[W]) -> None:
        if not line.parked:
            return
        line.parked = False
        for role in line.roles:
            del self._parked[role][line.tenant]
            if not self._parked[role]:
                del self._parked[role]

    def _wake(self, role: str, room: Room) -> None:
        """A role has room again: the first line that can use it goes to the front."""
        for line in list(islice(self._parked[role].values(), room.limit + 1)):
            self._unpark(line)
            self._ready[line.tenant] = line
            self._ready.move_to_end(line.tenant, last=False)
            if room.in_tenant(line.tenant):
                return


class FairRow(Generic[W]):
    """All who wait."""

    def __init__(self) -> None:
        self._regions: dict[str | None, _Region[W]] = {}
        self._order: dict[str, int] = {}
        """When each waiting tenant came or had its last turn, as a number that grows."""
        self._clock = count()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, tenant: str, scope: Scope, waiter: W) -> None:
        role, region = scope
        self._regions.setdefault(region, _Region()).add(tenant, role, waiter)
        self._order.setdefault(tenant, next(self._clock))
        self._length += 1

    def discard(self, tenant: str, scope: Scope, waiter: W) -> None:
        """Take out one who waits no more, if it is here."""
        role, region = scope
        line = self._line_of(tenant, region)
        if line is not None and role in line.roles and waiter in line.roles[role]:
            line.roles[role].remove(waiter)
            self._regions[region].prune(line, role)
            self._forget(tenant, region, 1)

    def remove(self, tenant: str, role: str) -> Iterator[tuple[Scope, list[W]]]:
        """Take out all who wait for a role in a tenant."""
        for region in list(self._regions):
            line = self._line_of(tenant, region)
            if line is not None and role in line.roles:
                taken = self._regions[region].take(tenant, role, len(line.roles[role]))
                self._forget(tenant, region, len(taken))
                yield (role, region), taken

    def find(self, room: Room) -> tuple[str, Scope] | None:
        """Tenant and scope of whoever is next: of the tenants with room the one whose last turn is longest ago."""
        found = [
            (tenant, (role, region))
            for region, waiting in self._regions.items()
            if room.in_region(region)
            for tenant, role in filter(None, [waiting.next(room)])
        ]
        return min(found, key=lambda one: self._order[one[0]], default=None)

    def pop(self, tenant: str, scope: Scope) -> W:
        """The first who waits there; tenant and role go to the end of their rows."""
        role, region = scope
        self._order[tenant] = next(self._clock)
        for other, waiting in self._regions.items():
            waiting.to_the_end(tenant, role if other == region else None)
        [waiter] = self._regions[region].take(tenant, role, 1)
        self._forget(tenant, region, 1)
        return waiter

    def _line_of(self, tenant: str, region: str | None) -> _Line[W] | None:
        return self._regions[region].lines.get(tenant) if region in self._regions else None

    def _forget(self, tenant: str, region: str | None, number: int) -> None:
        self._length -= number
        if not self._regions[region].lines:
            del self._regions[region]
        if not any(tenant in waiting.lines for waiting in self._regions.values()):
            del self._order[tenant]
