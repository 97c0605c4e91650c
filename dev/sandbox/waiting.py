"""Staying until somebody has had enough."""

import time
from collections.abc import Callable


def until_interrupted(check: Callable[[], None]) -> None:
    """Return at Ctrl-C (or a SIGTERM that was made one); until then `check` is called every second, and may raise."""
    try:
        while True:
            check()
            time.sleep(1)
    except KeyboardInterrupt:
        return
