"""A clock that somebody sets is noticed; one that goes on is not."""

from datetime import UTC, datetime, timedelta

from spacelift_aws.clock import JumpDetector

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Machine:
    def __init__(self) -> None:
        self.time_of_day, self.awake = START, 100.0
        self.detector = JumpDetector(lambda: self.time_of_day, lambda: self.awake)

    def goes_on(self, seconds: float, shown: float) -> bool:
        self.time_of_day += timedelta(seconds=shown)
        self.awake += seconds
        return self.detector.has_jumped()


def test_a_jump_either_way_is_noticed_once() -> None:
    machine = Machine()
    assert not machine.goes_on(3600, shown=3600)
    assert machine.goes_on(1, shown=601)
    assert not machine.goes_on(1, shown=1)
    assert machine.goes_on(1, shown=-599)
    assert not machine.goes_on(86400, shown=86400)


def test_small_steps_add_up() -> None:
    machine = Machine()
    assert [machine.goes_on(60, shown=62) for _ in range(6)] == [False, False, True] * 2
