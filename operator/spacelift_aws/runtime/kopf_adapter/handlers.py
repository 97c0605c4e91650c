"""Kopf's part: it logs in, watches, reconnects, starts and stops. Its handlers only feed.

`kopf.on.event` is never retried, sees objects as they were, and costs no write on users' objects; all else follows
from the queue.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import kopf

from spacelift_aws.kube.client import PAGE
from spacelift_aws.kube.connection import Connection
from spacelift_aws.names import LABEL_RUN_ID
from spacelift_aws.runtime.controller import Kind
from spacelift_aws.runtime.kopf_adapter.storages import NoDiffBase, NoProgress


class Process(Protocol):
    """What Kopf starts and stops."""

    async def login(self) -> Connection: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


def registry_for(process: Process, kinds: Iterable[Kind]) -> kopf.OperatorRegistry:
    """Kopf's handlers, in a registry of their own."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        connection = await process.login()
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=connection.http)

    @kopf.on.startup(registry=registry)
    async def start(**_: Any) -> None:
        await process.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await process.stop()

    for kind in kinds:
        _feed(registry, kind)
    return registry


def _feed(registry: kopf.OperatorRegistry, kind: Kind) -> None:
    resource = kind.resource

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=f"feed-{resource.plural}")
    async def feed(event: Any, **_: Any) -> None:
        kind.feed(dict(event["object"]), deleted=event["type"] == "DELETED")


def settings() -> kopf.OperatorSettings:
    """Kopf's settings, each with its reason."""
    chosen = kopf.OperatorSettings()
    chosen.watching.label_selectors["pods"] = LABEL_RUN_ID  # the server filters: other pods cost nothing
    chosen.watching.chunk_size = PAGE  # one page after another: a list of everything at once would block the loop
    chosen.scanning.disabled = True  # the kinds are fixed: no watch on CRDs and namespaces of Kopf's own
    chosen.peering.standalone = True
    chosen.posting.enabled = False  # Events are written by our recorder, which aggregates
    chosen.persistence.progress_storage = NoProgress()
    chosen.persistence.diffbase_storage = NoDiffBase()
    chosen.queueing.idle_timeout = 0.2  # memory of a worker that Kopf keeps per object
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    return chosen
