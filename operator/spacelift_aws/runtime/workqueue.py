"""The work queue: which key is looked at next.

Keys carry no data, so that whoever handles one looks at the world as it is. A key is handled by one task at a time;
added again meanwhile, it is handled once more afterwards. Each key has a task of its own and no number of workers
bounds them: what is scarce (connections, turns at STS) is bounded where it is used, so a key that waits there
holds up no other.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from spacelift_aws import metrics
from spacelift_aws.backoff import backoff
from spacelift_aws.kube.errors import KubeError

log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Handles a key; answers the seconds after which to look again, or None where only a change can matter."""

FIRST_RETRY = 0.5
"""Seconds until the first retry of a key whose handler failed; doubled each time."""
KEYS_A_TURN = 20
"""Keys that are added in one turn of the event loop where there are many."""
LAST_RETRY = 60.0
"""Seconds that the delay between retries never exceeds."""


class WorkQueue(Generic[Key]):
    """Deduplicates keys, handles each serially, delays and retries."""

    def __init__(self, handle: Reconcile[Key]) -> None:
        self._handle = handle
        self._open = False
        self._dirty: dict[Key, None] = {}  # a dict, because it keeps the order of arrival
        self._active: dict[Key, asyncio.Task[None]] = {}
        self._began: dict[Key, float] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def start(self) -> None:
        """Begin to handle keys. Those that came before are forgotten: a replica that waits for years keeps none."""
        self._open = True

    async def add_gently(self, keys: Iterable[Key]) -> None:
        """Look at many keys, a few at a time, so that what happens meanwhile does not wait for all of them."""
        for number, key in enumerate(list(keys)):
            if number % KEYS_A_TURN == 0:
                await asyncio.sleep(0)
            self.add(key)

    async def stop(self) -> None:
        """Begin nothing more and cancel what is under way: every handler can be cut off anywhere."""
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._active.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add(self, key: Key) -> None:
        """Look at this key as soon as possible; nothing while the queue is not open."""
        if not self._open:
            return
        self._cancel_timer(key)
        self._dirty[key] = None
        self._begin(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at this key after some time; of several times the earliest counts."""
        if key in self._dirty or not self._open:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def __len__(self) -> int:
        """Keys that wait or are being handled (delayed ones do not count)."""
        return len(self._dirty.keys() | self._active.keys())

    @property
    def is_open(self) -> bool:
        """Whether keys are handled; before, none are taken."""
        return self._open

    def depth(self) -> int:
        """Keys that wait and keys that are handled, one that is both twice; another thread may ask."""
        return len(self._dirty) + len(self._active)

    def longest(self) -> float:
        """For how many seconds the key that is handled longest has been; another thread may ask."""
        now = time.monotonic()
        return max(0.0, now - min(tuple(self._began.values()), default=now))

    def _begin(self, key: Key) -> None:
        if key in self._active:
            return
        del self._dirty[key]
        self._active[key] = asyncio.get_running_loop().create_task(self._work(key))

    async def _work(self, key: Key) -> None:
        began = self._began[key] = time.monotonic()
        try:
            again = await self._attempt(key)
        finally:
            del self._active[key], self._began[key]
            metrics.RECONCILE_SECONDS.labels(_kind(key)).observe(time.monotonic() - began)
        if not self._open:
            return
        if key in self._dirty:
            self._begin(key)
        elif again is not None:
            self.add_after(key, again)

    async def _attempt(self, key: Key) -> float | None:
        try:
            again = await self._handle(key)
        except KubeError as error:
            # Never exactly when the server said: all the others that it sent away come then.
            delay = self._backoff(key) + (error.retry_after or 0.0)
            log.warning("%s: %s; again in %.1f s", key, error, delay)
            return delay
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not this task was cancelled but something it waited for, such as a place in a pool that was closed.
            delay = self._backoff(key)
            log.warning("%s: what it waited for was cancelled; again in %.1f s", key, delay)
            return delay
        except Exception:  # a defect in the handling of one key must not cost the others their work
            delay = self._backoff(key)
            log.exception("%s: unexpected; again in %.1f s", key, delay)
            return delay
        self._failures.pop(key, None)
        metrics.RECONCILES.labels(_kind(key), "ok").inc()
        return again

    def _backoff(self, key: Key) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        metrics.RECONCILES.labels(_kind(key), "error").inc()
        return backoff(failures, FIRST_RETRY, LAST_RETRY)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


def _kind(key: Hashable) -> str:
    """What a key is of, as the metrics have it: `Run` for a `RunKey`."""
    return type(key).__name__.removesuffix("Key")
