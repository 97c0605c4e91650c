"""Kopf's part: it watches and reconnects. What it sees is fed on, and nothing that it does ends the process.

`kopf.on.event` is never retried, sees objects as they were, and costs no write on users' objects; all else follows
from the queue. Kopf gives up for good where a watch is answered with an error that it does not know, or a kind is not
found, as while its definition is made anew: then it is started again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import kopf
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse
from yarl import URL

from spacelift_aws.backoff import backoff
from spacelift_aws.kube.client import PAGE
from spacelift_aws.kube.connection import Connection
from spacelift_aws.runtime.controller import Kind
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.kopf_adapter.storages import NoDiffBase, NoProgress

log = logging.getLogger(__name__)

Login = Callable[[ClientMiddlewareType], Awaitable[Connection]]
"""Opens a session with such a middleware, with credentials of the moment."""

FIRST_RETRY = 1.0
LAST_RETRY = 30.0
"""Seconds between two tries of a request, and between two starts. Less than `health.UNWATCHED_AFTER`."""
STEADY = 60.0
"""Seconds after which a start counts as having succeeded."""
ENDS_WITHIN = 15.0
"""Seconds that Kopf is given to end its tasks before it is started again."""


class EndlessBackoffs:
    """Seconds until each further try of a request, without end. Kopf iterates anew for every request.

    It has no length: Kopf takes what has one for finite.
    """

    def __iter__(self) -> Iterator[float]:
        failures = 0
        while True:
            # Never the same for two replicas: they would all come back in the same second.
            yield backoff(failures, FIRST_RETRY, LAST_RETRY)
            failures += 1


class KopfWatch:
    """Watches the kinds, in the given namespaces or everywhere."""

    def __init__(
        self,
        kinds: tuple[Kind, ...],
        namespaces: tuple[str, ...],
        login: Login,
        *,
        served: Callable[[], Awaitable[None]],
        relisted: Callable[[str], None],
        health: Health,
        own_signals: Callable[[], None],
    ) -> None:
        """`served` returns once the API server serves all kinds.

        `relisted` hears the path of every collection that Kopf has listed: it has started, or a watch had a gap.

        `own_signals` puts back the signals' handlers, for which Kopf puts its own.
        """
        self._kinds = kinds
        self._namespaces = namespaces
        self._login = login
        self._served = served
        self._relisted = relisted
        self._health = health
        self._own_signals = own_signals
        self._paths = {kind.resource.path(place) for kind in kinds for place in namespaces or (None,)}
        self._connection: Connection | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                await self._watch()
                reason = "without a word"
            except Exception as error:  # whatever it is, what is not watched is not executed
                reason = f"{type(error).__name__}: {error}"
            failures = 0 if loop.time() - began >= STEADY else failures
            delay = backoff(failures, FIRST_RETRY, LAST_RETRY)
            failures += 1
            log.error("the watches have ended (%s); they begin anew in %.1f s", reason[:500], delay)
            await asyncio.sleep(delay)

    async def _watch(self) -> None:
        """Run Kopf until it gives up. Raises what it gave up with."""
        await self._served()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=settings(self._kinds),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            standalone=True,
        )
        self._own_signals()
        done: set[asyncio.Task[None]] = set()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            if done:
                await asyncio.wait(tasks, timeout=ENDS_WITHIN)
            if self._connection is not None:
                await self._connection.http.close()
        for task in done:
            task.result()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            self._connection = connection = await self._login(self._hear)
            return kopf.AiohttpSession(server=connection.server, aiohttp_session=connection.http)

        for kind in self._kinds:
            _feed(registry, kind)
        return registry

    async def _hear(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Kopf's own session tells what Kopf does not: which collections it has listed, and that it watches them.

        It is told after the answer came: what is listed then is no older than what Kopf got.
        """
        prefix = URL(self._connection.server).path.rstrip("/") if self._connection is not None else ""
        path, query = request.url.path.removeprefix(prefix), request.url.query
        if path not in self._paths:
            return await handler(request)
        self._health.asked(path, None)
        response = await handler(request)
        self._health.asked(path, response)
        if response.status == 200 and "watch" not in query and "continue" not in query:
            self._relisted(path)
        return response


def _feed(registry: kopf.OperatorRegistry, kind: Kind) -> None:
    resource = kind.resource

    def is_news(event: Any, **_: Any) -> bool:
        # Most events echo writes of our own, whose answers came first: for those Kopf need not call anything.
        return event["type"] == "DELETED" or not kind.knows(event["object"])

    @kopf.on.event(
        resource.group,
        resource.version,
        resource.plural,
        registry=registry,
        id=f"feed-{resource.plural}",
        when=is_news,
    )
    async def feed(event: Any, **_: Any) -> None:
        kind.feed_from_watch(dict(event["object"]), deleted=event["type"] == "DELETED")


def settings(kinds: Iterable[Kind]) -> kopf.OperatorSettings:
    """Kopf's settings, each with its reason."""
    chosen = kopf.OperatorSettings()
    for kind in kinds:
        if kind.label_selector is not None:
            chosen.watching.label_selectors[kind.resource.plural] = kind.label_selector
        if kind.watched_fields is not None:
            chosen.watching.field_selectors[kind.resource.plural] = kind.watched_fields
    chosen.watching.chunk_size = PAGE  # one page after another: a list of everything at once would block the loop
    chosen.scanning.disabled = True  # the kinds are fixed: no watch on CRDs and namespaces of Kopf's own
    chosen.peering.standalone = True
    chosen.posting.enabled = False  # Events are written by our recorder, which aggregates
    chosen.persistence.progress_storage = NoProgress()
    chosen.persistence.diffbase_storage = NoDiffBase()
    chosen.process.ultimate_exiting_timeout = None  # it would kill the process some time after a new start
    chosen.queueing.idle_timeout = 0.2  # memory of a worker that Kopf keeps per object
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.networking.error_backoffs = EndlessBackoffs()  # an outage of the API server may last
    return chosen
