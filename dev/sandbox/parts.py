"""What a benchmark plays itself, such as a kubelet or a creator: named parts, none of which fails unseen."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sandbox.progress import Say, to_stderr


class PartFailedError(RuntimeError):
    """A part has failed, or nothing goes on any more; the text says which, why, and how far everything was."""


class Parts:
    """The parts that are under way, and how far they are; made by `playing`."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.counts: Counter[str] = Counter()
        """What has happened so far, in words. A part that gets on counts something."""
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Let a part work beside the others. If it fails, all end with a PartFailedError that names it."""

        async def named() -> None:
            try:
                await work
            except Exception as error:
                why = f"{type(error).__name__}: {error}".rstrip(": ")
                raise PartFailedError(f"{name} has failed: {why} ({self})") from error

        task = self._group.create_task(named())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """End all parts that still work."""
        for task in self._tasks:
            task.cancel()

    async def watch_over(self, stalled_after: float, say: Say, every: float) -> None:
        """Say how far everything is, `every` so many seconds; PartFailedError if nothing counts for too long."""
        seen, since, said = self.counts.copy(), time.monotonic(), time.monotonic()
        while True:
            await asyncio.sleep(min(every, stalled_after) / 4)
            now = time.monotonic()
            if self.counts != seen:
                seen, since = self.counts.copy(), now
            if now - since > stalled_after:
                raise PartFailedError(f"nothing has happened for {stalled_after:g} s ({self})")
            if now - said >= every:
                say(str(self))
                said = now

    def __str__(self) -> str:
        return ", ".join(f"{number} {what}" for what, number in self.counts.items()) or "nothing done yet"


@asynccontextmanager
async def playing(*, stalled_after: float = 30.0, say: Say = to_stderr, every: float = 5.0) -> AsyncIterator[Parts]:
    """Parts that work as long as the context lasts.

    Raises PartFailedError as soon as one of them fails, or when none has counted anything for `stalled_after` seconds.
    """
    try:
        async with asyncio.TaskGroup() as group:
            parts = Parts(group)
            watch = group.create_task(parts.watch_over(stalled_after, say, every))
            yield parts
            watch.cancel()
            parts.stop()
    except* PartFailedError as failed:
        raise failed.exceptions[0] from None
