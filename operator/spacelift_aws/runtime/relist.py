"""Listing everything and comparing it with what the watches told.

Kopf 1.45 does not report a deletion that falls into a gap of its watch: after `410 Gone` it lists what there is and
never says what is there no more. So everything is listed after every list of Kopf's, its first included, and every few
minutes; what is known and not listed is treated as deleted.

The first list of a kind of which Kopf watches only a part, such as Runs that have not ended, shows that part: what is
to be done can begin. The others may be a hundred times as many; they are listed while it is done.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import timedelta

from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import KubeError
from spacelift_aws.runtime.controller import Kind
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.store import version_of

log = logging.getLogger(__name__)

RETRY = 2.0
"""Seconds until a list that failed is tried again."""


class Relister:
    """Lists the kinds in the order given: what others refer to comes first."""

    def __init__(
        self,
        kube: Kube,
        kinds: tuple[Kind, ...],
        namespaces: tuple[str, ...],
        every: timedelta,
        health: Health,
        *,
        saw_everything: Callable[[], None],
    ) -> None:
        """`namespaces` empty: all of them at once. `health` is told what the first lists wait for.

        `saw_everything` is called once, when also those were listed that are not watched.
        """
        self._kube = kube
        self._kinds = kinds
        self._health = health
        self._every = every
        self._collections = [(kind, namespace) for kind in kinds for namespace in namespaces or (None,)]
        self._seen_in_part = {kind.resource.path(place) for kind, place in self._collections if kind.watched_fields}
        self._saw_everything = saw_everything
        self._wanted = {kind.resource.path(namespace): asyncio.Event() for kind, namespace in self._collections}

    def heard_list(self, path: str) -> None:
        """Kopf lists this collection: it has just started, or its watch had a gap."""
        wanted = self._wanted.get(path)
        if wanted is not None:
            wanted.set()

    async def first(self) -> None:
        """List once all that is watched, each collection after its watch began; returns when all of it is known.

        Listed before, what is deleted in between would be noticed by nobody, and everything had to be listed again.
        """
        for kind, namespace in self._collections:
            where = f" in {namespace}" if namespace else ""
            wanted = self._wanted[kind.resource.path(namespace)]
            self._health.waits_for = f"the watch of {kind.resource.plural}{where}"
            await wanted.wait()
            wanted.clear()
            self._health.waits_for = f"the list of {kind.resource.plural}{where}"
            await self._until_listed(kind, namespace, only=kind.watched_fields)

    async def run(self) -> None:
        """List what was listed in part, then everything again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind, namespace in self._collections:
                group.create_task(self._keep_listing(kind, namespace))

    async def _keep_listing(self, kind: Kind, namespace: str | None) -> None:
        path = kind.resource.path(namespace)
        wanted = self._wanted[path]
        if path in self._seen_in_part:
            await self._until_listed(kind, namespace)
            self._seen_in_part.remove(path)
            if not self._seen_in_part:
                log.info("everything was listed")
                self._saw_everything()
        while True:
            try:
                async with asyncio.timeout(self._every.total_seconds() * random.uniform(0.9, 1.1)):
                    await wanted.wait()
            except TimeoutError:
                pass
            wanted.clear()
            await self._until_listed(kind, namespace)

    async def _until_listed(self, kind: Kind, namespace: str | None, *, only: str | None = None) -> None:
        """`only` is a field selector."""
        while True:
            try:
                await self._list(kind, namespace, only)
            except KubeError as error:
                log.warning("listing %s: %s; again in %.0f s", kind.resource.plural, error, RETRY)
            else:
                return
            await asyncio.sleep(RETRY)

    async def _list(self, kind: Kind, namespace: str | None, only: str | None) -> None:
        uids: set[str] = set()
        version = 0
        pages = self._kube.pages(
            kind.resource, namespace=namespace, label_selector=kind.label_selector, field_selector=only
        )
        async for items, resource_version in pages:
            # All pages show the state of the first one's version.
            version = version or version_of(resource_version)
            for item in items:
                uids.add(item["metadata"]["uid"])
                kind.feed(item)
        if only is not None:
            return
        for key, value in kind.store.missing_from(uids, version, namespace):
            log.info("%s %s/%s is gone; its deletion was not reported", kind.resource.kind, *key)
            kind.lost(value)
