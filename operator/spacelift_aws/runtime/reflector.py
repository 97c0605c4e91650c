"""Our own list and watch of a collection, as client-go's Reflector: for kinds of which a Run makes many changes.

Kopf makes a task and a queue for every object, which is most of what pods would cost here. A reflector misses nothing:
where a watch has a gap everything is listed again, and what is known and not listed is gone. Nothing ends it.
"""

import asyncio
import logging
import random
import time

from spacelift_aws.backoff import backoff
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import KubeError
from spacelift_aws.runtime.controller import Kind
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.store import version_of

log = logging.getLogger(__name__)

FIRST_RETRY = 0.2
LAST_RETRY = 30.0
"""Seconds until everything is listed again, doubled each time. Less than `health.UNWATCHED_AFTER`."""
STEADY = 60.0
"""Seconds of watching after which a failure counts as the first."""
ENDS_AFTER = (240, 480)
"""Seconds that one watch is asked for, at random between these: not all of them end at once."""


class GapError(Exception):
    """The watch cannot go on from where it is."""


class Reflector:
    """Keeps the store of a kind equal to what the API server has, in one namespace or everywhere."""

    def __init__(self, kube: Kube, kind: Kind, namespace: str | None, health: Health) -> None:
        self._kube = kube
        self._kind = kind
        self._namespace = namespace
        self._health = health
        self.path = kind.resource.path(namespace)
        self.listed = asyncio.Event()
        """Set once everything was listed for the first time."""

    async def run(self) -> None:
        """Keep it so until cancelled."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._list_and_watch()
            except (KubeError, GapError) as error:
                failures = 0 if time.monotonic() - began >= STEADY else failures
                delay = backoff(failures, FIRST_RETRY, LAST_RETRY)
                failures += 1
                log.warning("watching %s: %s; listing again in %.1f s", self.path, error, delay)
                await asyncio.sleep(delay)

    async def _list_and_watch(self) -> None:
        self._health.asked(self.path, None)
        version = await self._list()
        self.listed.set()
        while True:
            version = await self._watch(version)

    async def _list(self) -> str:
        kind, uids, first = self._kind, set[str](), ""
        pages = self._kube.pages(kind.resource, namespace=self._namespace, label_selector=kind.label_selector)
        async for items, version in pages:
            # All pages show the state of the first one's version.
            first = first or version
            for item in items:
                uids.add(item["metadata"]["uid"])
                kind.feed(item)
        for _, value in kind.store.missing_from(uids, version_of(first), self._namespace):
            kind.lost(value)
        return first

    async def _watch(self, version: str) -> str:
        """Watch until the server ends the watch in good order; the version to go on from."""
        kind = self._kind
        self._health.asked(self.path, None)
        events = self._kube.watch(
            kind.resource,
            namespace=self._namespace,
            label_selector=kind.label_selector,
            version=version,
            seconds=random.randint(*ENDS_AFTER),
            on_answer=lambda answer: self._health.asked(self.path, answer),
        )
        async for type_, body in events:
            if type_ == "ERROR":
                raise GapError(f"{body.get('code')} {body.get('reason')}")
            version = body["metadata"]["resourceVersion"]
            if type_ != "BOOKMARK":
                kind.feed(body, deleted=type_ == "DELETED")
        return version
