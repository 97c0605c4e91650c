"""Events: what a person sees under `kubectl describe`, one object for a repeated message."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import AlreadyExists, ApiError, KubeError, NotFound
from spacelift_aws.kube.event_backlog import EventBacklog, Rank, Waiting
from spacelift_aws.kube.resources import EVENTS, Resource

log = logging.getLogger(__name__)

WAITING = 10_000
"""Events that may wait to be sent, some MiB: two for each of 5,000 Runs. No Run waits for its Events."""
REMEMBERED = 10_000
"""Events whose repetitions are counted."""
AT_ONCE = 8
"""Events that are sent at once. One after the other, they would not keep up with as many Runs as an API server takes:
they would wait in memory, and be told minutes late."""
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
    """Takes Events without waiting and sends them, a few at once; losing one harms nobody."""

    def __init__(self, kube: Kube, component: str) -> None:
        self._kube = kube
        self._component = component
        self._backlog: EventBacklog[_Event] = EventBacklog(WAITING)
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._dropped = 0
        self._under_way = 0
        self._sent: OrderedDict[str, _Sent] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Which object was told something under which reason."""

    def event(self, regarding: Regarding, type_: str, reason: str, message: str, *, is_end: bool = False) -> None:
        """Note an Event of type `Normal` or `Warning`. `is_end`: how the object ended; never dropped."""
        event = _Event(regarding, type_, reason, message.encode()[:MESSAGE_LIMIT].decode(errors="ignore"))
        rank = Rank.END if is_end else Rank.REPEATED if (regarding.uid, reason) in self._told else Rank.FIRST
        _remember(self._told, (regarding.uid, reason), None)
        if self._backlog.add(rank, event.name, event, datetime.now(UTC)) is not None:
            if not self._dropped:
                log.warning("too many events are waiting: those that repeat are dropped first, ends of Runs never")
            self._dropped += 1
        self._idle.clear()
        self._news.set()

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._send_all())

    async def _send_all(self) -> None:
        while True:
            waiting = self._backlog.pop()
            if waiting is None:
                await self._wait()
                continue
            self._under_way += 1
            try:
                await self._try_to_send(waiting)
            finally:
                self._under_way -= 1

    async def _try_to_send(self, waiting: Waiting[_Event]) -> None:
        event = waiting.item
        try:
            await self._send(waiting)
        except KubeError as error:
            self._sent.pop(event.name, None)
            log.warning("event %s of %s was not written: %s", event.reason, event.regarding.name, error)
        except Exception:  # a defect in telling must not end the work
            log.exception("event %s of %s was not written", event.reason, event.regarding.name)

    async def flush(self) -> None:
        """Wait until everything noted so far was sent or given up."""
        await self._idle.wait()

    async def _wait(self) -> None:
        if not self._under_way:
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


def _remember(known: OrderedDict[Any, Any], key: Hashable, value: object) -> None:
    """The newest REMEMBERED."""
    known[key] = value
    known.move_to_end(key)
    if len(known) > REMEMBERED:
        known.popitem(last=False)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
