"""Events: what a person sees under `kubectl describe`, one object for a repeated message."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import AlreadyExists, ApiError, KubeError, NotFound
from spacelift_aws.kube.resources import EVENTS, Resource

log = logging.getLogger(__name__)

WAITING = 1000
"""Events that may wait to be sent; beyond it they are dropped, because no Run may wait for its Events."""
REMEMBERED = 4096
"""Events whose repetitions are counted."""
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
    """Takes Events without waiting and sends them one after another; losing one harms nobody."""

    def __init__(self, kube: Kube, component: str) -> None:
        self._kube = kube
        self._component = component
        self._queue: asyncio.Queue[_Event] = asyncio.Queue(maxsize=WAITING)
        self._sent: OrderedDict[str, _Sent] = OrderedDict()

    def event(self, regarding: Regarding, type_: str, reason: str, message: str) -> None:
        """Note an Event of type `Normal` or `Warning`."""
        event = _Event(regarding, type_, reason, message.encode()[:MESSAGE_LIMIT].decode(errors="ignore"))
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("too many events are waiting: dropped %s of %s", reason, regarding.name)

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._send(event, datetime.now(UTC))
            except KubeError as error:
                self._sent.pop(event.name, None)
                log.warning("event %s of %s was not written: %s", event.reason, event.regarding.name, error)
            except Exception:  # a defect in telling must not end the work
                log.exception("event %s of %s was not written", event.reason, event.regarding.name)
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Wait until everything noted so far was sent or given up."""
        await self._queue.join()

    async def _send(self, event: _Event, now: datetime) -> None:
        earlier = self._sent.get(event.name)
        self._remember(event.name, replace(earlier, count=earlier.count + 1) if earlier else _Sent(1, now))
        if earlier is None:
            try:
                await self._kube.create(EVENTS, event.regarding.namespace, self._body(event, now))
            except AlreadyExists:
                # Written before a restart: only its time is known to be new.
                await self._patch(event, {"lastTimestamp": _time(now)})
            except ApiError as error:
                if "NamespaceTerminating" not in error.causes:
                    raise
        elif now - earlier.at >= QUIET:
            self._remember(event.name, _Sent(earlier.count + 1, now))
            try:
                await self._patch(event, {"lastTimestamp": _time(now), "count": earlier.count + 1})
            except NotFound:
                # The API server forgets Events after an hour.
                await self._kube.create(EVENTS, event.regarding.namespace, self._body(event, now))

    async def _patch(self, event: _Event, body: dict[str, Any]) -> None:
        await self._kube.patch(EVENTS, event.regarding.namespace, event.name, body)

    def _remember(self, name: str, sent: _Sent) -> None:
        self._sent[name] = sent
        self._sent.move_to_end(name)
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)

    def _body(self, event: _Event, now: datetime) -> dict[str, Any]:
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
            "count": 1,
        }


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
