"""A selection of the points at which a controller can die or a call go wrong; `bench/crash_points.py` has them all."""

from collections.abc import Callable, Iterator

import pytest

from sandbox.apiproxy import ApiProxy
from sandbox.crashpoints.calls import Call, Disturbance, Moment, WatchFault, What, disturbances_of
from sandbox.crashpoints.executors import OneController, OneWorker
from sandbox.crashpoints.lives import LIVES
from sandbox.crashpoints.rehearsal import AT_ONCE, Point, Rehearsal
from sandbox.stage import Stage

pytestmark = pytest.mark.slow

CHOSEN = [life for life in LIVES if life.name in ("finished", "stopped while running", "deleted", "pod deleted")]
"""A pool's worker has a part in all of them as well."""
SLOW = (Disturbance.LOST, Disturbance.LATE)
"""These wait for a time-out of half a minute."""


@pytest.fixture(scope="module")
def rehearsal(_stage: Stage, api: ApiProxy) -> Iterator[Rehearsal]:
    """With the calls of the chosen lives recorded."""
    rehearsal = Rehearsal(_stage, api, OneController(_stage), print)
    rehearsal.record(CHOSEN)
    yield rehearsal
    _stage.proxy.orders, _stage.proxy.overhear = lambda _request: None, None


@pytest.fixture
def of_worker(_stage: Stage) -> Iterator[Rehearsal]:
    """The same of a worker, beside a controller whose calls nobody listens to."""
    if _stage.controller.process.exit_code() is not None:
        _stage.controller.start()
    with ApiProxy(_stage.cluster) as api:
        rehearsal = Rehearsal(_stage, api, OneWorker(_stage, api), print)
        rehearsal.record(CHOSEN)
        yield rehearsal
        rehearsal.victim.kill()
    _stage.proxy.orders, _stage.proxy.overhear = lambda _request: None, None


def selection(rehearsal: Rehearsal, whats: Callable[[Call], list[What]]) -> list[Point]:
    """As many points as are played at once, spread over all."""
    points = [Point(life, call, what) for life in CHOSEN for call in rehearsal.calls(life) for what in whats(call)]
    return [points[number * len(points) // AT_ONCE] for number in range(AT_ONCE)]


def faults_of(call: Call) -> list[What]:
    return [what for what in disturbances_of(call) if what not in SLOW]


def test_a_controller_that_dies_at_any_call_loses_and_leaks_nothing(rehearsal: Rehearsal) -> None:
    results = rehearsal.kill_at([(point,) for point in selection(rehearsal, lambda _call: list(Moment))])
    assert {str(result.point): result.complaints for result in results if result.complaints} == {}
    # What is called depends a little on the order of things: a conflict more, a status less.
    assert sum(result.met for result in results) > AT_ONCE / 2


@pytest.mark.parametrize("how", [WatchFault.LATE, WatchFault.TWICE])
def test_watches_that_tell_late_or_twice_change_no_end(rehearsal: Rehearsal, how: WatchFault) -> None:
    results = rehearsal.mislead(CHOSEN, how)
    assert {str(result.point): result.complaints for result in results if result.complaints} == {}


def test_any_call_that_goes_wrong_is_made_good(rehearsal: Rehearsal) -> None:
    results = rehearsal.disturb([(point,) for point in selection(rehearsal, faults_of)])
    assert {str(result.point): result.complaints for result in results if result.complaints} == {}
    assert sum(result.met for result in results) > AT_ONCE / 2


def test_a_worker_that_dies_at_any_call_loses_and_leaks_nothing(of_worker: Rehearsal) -> None:
    results = of_worker.kill_at([(point,) for point in selection(of_worker, lambda _call: list(Moment))])
    assert {str(result.point): result.complaints for result in results if result.complaints} == {}
    assert sum(result.met for result in results) > AT_ONCE / 2
