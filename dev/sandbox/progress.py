"""Telling a person at the terminal what takes so long."""

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]
"""Takes one line, without its end, for a person to read."""


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Stopwatch:
    """Says a line now and then: not before `every` seconds have passed since the start or since the last line."""

    def __init__(self, say: Say, every: float = 5.0) -> None:
        self._say = say
        self._every = every
        self._started = self._last = time.monotonic()

    @property
    def elapsed(self) -> str:
        """Since the start, as `4m05s` or `12s`."""
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"

    def tick(self, text: str) -> None:
        """Say `text` with the elapsed time, if it is time for a line."""
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._say(f"{text} ({self.elapsed})")
