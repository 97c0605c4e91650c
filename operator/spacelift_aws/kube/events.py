"""Events: what a person sees under `kubectl describe`, one object for a repeated message."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from spacelift_aws.backoff import backoff
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import AlreadyExists, ApiError, KubeError, NotFound, NotNow, Unanswered
from spacelift_aws.kube.event_backlog import EventBacklog, Rank, Waiting
from spacelift_aws.kube.resources import EVENTS, Resource

log = logging.getLogger(__name__)

WAITING = 10_000
"""Events that may wait to be sent, some MiB: two for each of 5,000 Runs. No Run waits for its Events."""
REMEMBERED = 10_000
"""Events whose repetitions are counted."""
SENDERS = 24
"""Events that are sent at once: half as many as calls for Runs, because a Run has two or three Events beside its seven
calls. With a smaller share of a busy API server they would fall behind, wait in memory, and be told minutes late."""
TRIES = 10
"""How often an Event is tried to be sent that the API server certainly did not take: for about three minutes."""
UNANSWERED_TRIES = 3
"""The same where no answer came. Each may hold up a sender for long, as where a webhook hangs."""
FIRST_RETRY = 1.0
LAST_RETRY = 30.0
"""Seconds until an Event is tried again."""
LAST_WORDS_WITHIN = 3.0
"""Seconds that an orderly end may take for the Events that are left."""
QUIET = timedelta(minutes=5)
"""A repeated message is written again at most this often."""
MESSAGE_LIMIT = 1024
"""Bytes that the API server allows a message."""


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an Event is about."""

    resource: Resource
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class _Event:
    regarding: Regarding
    type: str
    reason: str
    message: str

    @property
    def name(self) -> str:
        """The same for the same message, so that a repetition, also after a restart, finds the first."""
        words = "\0".join((self.regarding.uid, self.type, self.reason, self.message))
        # Cut names may end in a character that no part of a name may end with.
        return f"{self.regarding.name[:200].rstrip('-.')}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class _Sent:
    count: int
    at: datetime


class Recorder:
    """Takes Events without waiting and sends them, a few at once. No Run waits for them, and none depends on one."""

    def __init__(self, kube: Kube, component: str) -> None:
        self._kube = kube
        self._component = component
        self._backlog: EventBacklog[_Event] = EventBacklog(WAITING)
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropped = 0
        self._under_way = 0
        self._later: dict[asyncio.TimerHandle, Waiting[_Event]] = {}
        """What could not be sent, by the timer that has it tried again."""
        self._sent: OrderedDict[str, _Sent] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Which object was told something under which reason."""

    def event(self, regarding: Regarding, type_: str, reason: str, message: str, *, is_end: bool = False) -> None:
        """Note an Event of type `Normal` or `Warning`. `is_end`: how the object ended; never dropped."""
        event = _Event(regarding, type_, reason, message.encode()[:MESSAGE_LIMIT].decode(errors="ignore"))
        rank = Rank.END if is_end else Rank.REPEATED if (regarding.uid, reason) in self._told else Rank.FIRST
        _remember(self._told, (regarding.uid, reason), None)
        self._count_dropped(self._backlog.add(rank, event.name, event, datetime.now(UTC)))
        self._idle.clear()
        self._news.set()

    def _count_dropped(self, dropped: Waiting[_Event] | None) -> None:
        if dropped is None:
            return
        if not self._dropped:
            log.warning("too many events are waiting: those that repeat are dropped first, ends of Runs never")
        self._dropped += 1

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send_all())

    async def last_words(self) -> None:
        """Send what is left, once each, after `run` was cancelled; what takes too long is lost."""
        for timer, waiting in self._later.items():
            timer.cancel()
            self._backlog.put_back(waiting)
        self._later.clear()
        try:
            async with asyncio.timeout(LAST_WORDS_WITHIN), asyncio.TaskGroup() as group:
                for _ in range(SENDERS):
                    group.create_task(self._send_rest())
        except TimeoutError:
            log.warning("%d events were not written before the end", len(self._backlog))

    async def _send_rest(self) -> None:
        while (waiting := self._backlog.pop()) is not None:
            await self._send_or_put_back(replace(waiting, tries=TRIES))

    async def _send_all(self) -> None:
        while True:
            waiting = self._backlog.pop()
            if waiting is None:
                await self._wait()
            else:
                await self._send_or_put_back(waiting)

    async def _send_or_put_back(self, waiting: Waiting[_Event]) -> None:
        self._under_way += 1
        try:
            await self._try_to_send(waiting)
        except asyncio.CancelledError:
            # Whether it was written is not known.
            self._sent.pop(waiting.item.name, None)
            self._backlog.put_back(waiting)
            raise
        finally:
            self._under_way -= 1

    async def _try_to_send(self, waiting: Waiting[_Event]) -> None:
        event = waiting.item
        try:
            await self._send(waiting)
        except KubeError as error:
            self._sent.pop(event.name, None)
            if waiting.tries + 1 < _tries(error) and len(self._later) < WAITING:
                self._try_again(waiting, error)
                return
            log.warning("event %s of %s was not written: %s", event.reason, event.regarding.name, error)
        except Exception:  # a defect in telling must not end the work
            log.exception("event %s of %s was not written", event.reason, event.regarding.name)

    def _try_again(self, waiting: Waiting[_Event], error: KubeError) -> None:
        """In a while, and no other Event waits for it meanwhile."""
        delay = backoff(waiting.tries, FIRST_RETRY, LAST_RETRY) + (error.retry_after or 0.0)

        def put_back() -> None:
            del self._later[timer]
            self._count_dropped(self._backlog.put_back(replace(waiting, tries=waiting.tries + 1)))
            self._news.set()

        timer = asyncio.get_running_loop().call_later(delay, put_back)
        self._later[timer] = waiting

    async def flush(self) -> None:
        """Wait until everything noted so far was sent or given up."""
        await self._idle.wait()

    async def _wait(self) -> None:
        if not self._under_way and not self._later:
            if self._dropped:
                log.warning("%d events were dropped; all others are written", self._dropped)
                self._dropped = 0
            self._idle.set()
        await self._news.wait()
        self._news.clear()

    async def _send(self, waiting: Waiting[_Event]) -> None:
        event, now, namespace = waiting.item, waiting.at, waiting.item.regarding.namespace
        earlier = self._sent.get(event.name)
        count = waiting.times + (earlier.count if earlier else 0)
        _remember(self._sent, event.name, replace(earlier, count=count) if earlier else _Sent(count, now))
        if earlier is None:
            try:
                await self._kube.create(EVENTS, namespace, self._body(event, now, count))
            except AlreadyExists:
                # Written before a restart: only its time is known to be new.
                await self._patch(event, {"lastTimestamp": _time(now)})
            except ApiError as error:
                if "NamespaceTerminating" not in error.causes:
                    raise
        elif now - earlier.at >= QUIET:
            _remember(self._sent, event.name, _Sent(count, now))
            try:
                await self._patch(event, {"lastTimestamp": _time(now), "count": count})
            except NotFound:
                # The API server forgets Events after an hour.
                await self._kube.create(EVENTS, namespace, self._body(event, now, 1))

    async def _patch(self, event: _Event, body: dict[str, Any]) -> None:
        await self._kube.patch(EVENTS, event.regarding.namespace, event.name, body)

    def _body(self, event: _Event, now: datetime, count: int) -> dict[str, Any]:
        regarding = event.regarding
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": event.name, "namespace": regarding.namespace},
            "involvedObject": {
                "apiVersion": regarding.resource.api_version,
                "kind": regarding.resource.kind,
                "namespace": regarding.namespace,
                "name": regarding.name,
                "uid": regarding.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": _time(now),
            "lastTimestamp": _time(now),
            "count": count,
        }


def _tries(error: KubeError) -> int:
    """How often an Event is tried to be sent that failed so."""
    if isinstance(error, NotNow):
        return TRIES
    return UNANSWERED_TRIES if isinstance(error, Unanswered) else 1


def _remember(known: OrderedDict[Any, Any], key: Hashable, value: object) -> None:
    """The newest REMEMBERED."""
    known[key] = value
    known.move_to_end(key)
    if len(known) > REMEMBERED:
        known.popitem(last=False)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
