"""The time of day, and whether somebody has set it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

JUMP = timedelta(seconds=5)
"""Less means nothing here, unless it adds up. Slewing, as NTP does it, moves both clocks alike."""


def awake_seconds() -> float:
    """A clock that nobody sets, and that goes on while the machine sleeps; see CLOCK_BOOTTIME in clock_gettime(2)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


class JumpDetector:
    """Compares the time of day with a clock that nobody sets."""

    def __init__(
        self, time_of_day: Callable[[], datetime] = utc_now, awake: Callable[[], float] = awake_seconds
    ) -> None:
        self._time_of_day = time_of_day
        self._awake = awake
        self._booted = self._boot()

    def has_jumped(self) -> bool:
        """Whether the time of day was set, by JUMP or more, since this last said so."""
        booted = self._boot()
        if abs(booted - self._booted) < JUMP:
            return False
        self._booted = booted
        return True

    def _boot(self) -> datetime:
        return self._time_of_day() - timedelta(seconds=self._awake())
