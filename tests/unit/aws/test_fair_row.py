"""Who is next, and what it costs to find out."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacelift_aws.aws.fair_row import FairRow, Scope


@dataclass
class Room:
    """What is held, with so much room for each tenant, role and region; counts how often it is asked."""

    limit: int = 100
    each: int = 4
    held: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    asked: int = 0

    def in_tenant(self, tenant: str) -> bool:
        return self._has("tenant " + tenant, None)

    def in_role(self, role: str) -> bool:
        return self._has("role " + role, None)

    def in_region(self, region: str | None) -> bool:
        return self._has("region", region)

    def _has(self, *key: str | None) -> bool:
        self.asked += 1
        return self.held[str(key[0]), key[1]] < self.each

    def hold(self, tenant: str, scope: Scope, change: int = 1) -> None:
        role, region = scope
        self.held.update(
            {("tenant " + tenant, None): change, ("role " + role, None): change, ("region", region): change}
        )


WAITING = 4000

ROWS: dict[str, tuple[Callable[[int], tuple[str, Scope]], tuple[str, Scope]]] = {
    "one region is full": (lambda number: (f"tenant-{number}", (f"role-{number}", "eu")), ("x", ("x", "eu"))),
    "one role that all share is full": (lambda number: (f"tenant-{number}", ("shared", "eu")), ("x", ("shared", "x"))),
    "one tenant is full": (lambda number: ("busy", (f"role-{number}", "eu")), ("busy", ("x", "x"))),
}
"""Who waits, and what is held."""


@pytest.mark.parametrize("why", ROWS)
def test_a_turn_looks_at_few_however_many_wait(why: str) -> None:
    room, row = Room(), FairRow[int]()
    who, held = ROWS[why]
    for _ in range(room.each):
        room.hold(*held)
    for number in range(WAITING):
        row.add(*who(number), number)
    row.find(room)
    room.asked = 0
    for number in range(100):
        row.add(f"quick-{number}", (f"quick-{number}", "us"), number)
        found = row.find(room)
        assert found == (f"quick-{number}", (f"quick-{number}", "us"))
        row.pop(*found)
        assert row.find(room) is None
    assert room.asked < 100 * 30
    assert len(row) == WAITING


def test_a_role_that_has_room_again_serves_those_who_wait_for_it_in_their_order() -> None:
    room, row = Room(each=1), FairRow[int]()
    room.hold("first", ("shared", "us"))
    for number in range(5):
        row.add(f"tenant-{number}", ("shared", "eu"), number)
    assert row.find(room) is None
    room.hold("first", ("shared", "us"), -1)
    served = []
    for _ in range(5):
        found = row.find(room)
        assert found is not None
        served.append(row.pop(*found))
    assert served == [0, 1, 2, 3, 4]


def test_a_line_that_waits_for_two_roles_goes_on_when_both_have_room_at_once() -> None:
    room, row = Room(each=1), FairRow[int]()
    roles = ("r", "s")
    for role in roles:
        room.hold("other", (role, "us"))
        row.add("tenant", (role, "eu"), 0)
    assert row.find(room) is None
    for role in roles:
        room.hold("other", (role, "us"), -1)
    assert row.find(room) == ("tenant", ("r", "eu"))


TENANTS, ROLES, REGIONS = ("a", "b", "c", "d"), ("r", "s"), ("eu", "us", None)
CALLS = st.tuples(st.sampled_from(TENANTS), st.tuples(st.sampled_from(ROLES), st.sampled_from(REGIONS)))
ACTS = st.sampled_from(["come", "come", "serve", "serve", "release", "release", "leave", "remove"])
STEPS = st.lists(st.tuples(ACTS, CALLS), max_size=60)


@given(STEPS)
def test_nobody_waits_who_has_room_and_nobody_is_lost(steps: list[tuple[str, tuple[str, Scope]]]) -> None:
    room, row = Room(each=2), FairRow[int]()
    waiting: dict[int, tuple[str, Scope]] = {}
    held: list[tuple[str, Scope]] = []
    for number, (what, (tenant, scope)) in enumerate(steps):
        if what == "come":
            row.add(tenant, scope, number)
            waiting[number] = (tenant, scope)
        elif what == "release" and held:
            room.hold(*held.pop(0), -1)
        elif what == "leave" and waiting:
            gone, call = next(iter(waiting.items()))
            row.discard(*call, gone)
            del waiting[gone]
        elif what == "remove":
            for taken, waiters in list(row.remove(tenant, scope[0])):
                assert all(waiting.pop(one) == (tenant, taken) for one in waiters)
        found = row.find(room)
        allowed = {call for call in waiting.values() if all_room(room, *call)}
        assert (found in allowed) if allowed else found is None
        if what == "serve" and found is not None:
            assert waiting.pop(row.pop(*found)) == found
            room.hold(*found)
            held.append(found)
        assert len(row) == len(waiting)


def all_room(room: Room, tenant: str, scope: Scope) -> bool:
    return room.in_tenant(tenant) and room.in_role(scope[0]) and room.in_region(scope[1])
