"""A process as a whole, the controller or a worker: it logs in, sees all there is, competes for its Lease, and acts.

What it watches and who handles which key comes from `controllers/`, wired by `roles/`; here is only the order in which
things begin and end.
"""

import asyncio
import logging
import signal
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable, Hashable

from aiohttp import ClientMiddlewareType
from kubernetes import client

from spacelift_aws.kube.access_review import may_get
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.connection import Connection, connect, load_configuration
from spacelift_aws.kube.errors import KubeError
from spacelift_aws.kube.events import Recorder
from spacelift_aws.kube.leader_election import LeaderElector, LeaseLostError
from spacelift_aws.kube.resources import NAMESPACES
from spacelift_aws.runtime.controller import Assembly
from spacelift_aws.runtime.forever import forever
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.kopf_adapter.served import until_served
from spacelift_aws.runtime.kopf_adapter.watch import KopfWatch
from spacelift_aws.runtime.metrics_endpoint import PATH, Gatekeeper, MetricsEndpoint, in_loop
from spacelift_aws.runtime.namespaces import NamespaceAccess, divide, until_one_is_permitted
from spacelift_aws.runtime.reflector import Reflector
from spacelift_aws.runtime.relist import Relister
from spacelift_aws.runtime.role import Role, RoleContext
from spacelift_aws.runtime.servers import start_servers
from spacelift_aws.runtime.workqueue import WorkQueue
from spacelift_aws.settings import Settings

log = logging.getLogger(__name__)

Assemble = Callable[[RoleContext], Assembly]

RECURSION_LIMIT = 25_000
"""The API server takes objects of 10,000 levels, and Python's parser counts levels as recursion: with the usual limit
one such Run would end the watch of all."""

RETRY = 2.0
"""Seconds until a question that start-up depends on is asked again."""

ENDS_WITHIN = 10.0
"""Seconds that the end may take; nothing that counts is only in memory."""


def run(settings: Settings, role: Role, assemble: Assemble) -> None:
    """Run until a signal ends it; the process has to end with it. Raises what makes going on impossible."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    health = Health()
    endpoint = start_servers(settings, health)
    # Not `asyncio.run`: it would close what Kopf leaves open, in an order that Kopf's generators do not bear.
    asyncio.new_event_loop().run_until_complete(_run(settings, role, assemble, health, endpoint))


async def _run(settings: Settings, role: Role, assemble: Assemble, health: Health, endpoint: MetricsEndpoint) -> None:
    ending = asyncio.Event()

    def own_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ending.set)

    # First of all: the first process of a container ignores every signal that it has no handler for.
    own_signals()
    process = Process(settings, role, health, end=ending.set, own_signals=own_signals)
    parts = forever(process=process.run(assemble, endpoint), beats=health.beat())
    running, asked = asyncio.create_task(parts), asyncio.create_task(ending.wait())
    await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        health.part_ended = True
        running.result()
    running.cancel()
    await asyncio.wait({running}, timeout=ENDS_WITHIN)


class Process:
    """Owns the session, the queue and the Lease, and runs what `assemble` wires."""

    def __init__(
        self,
        settings: Settings,
        role: Role,
        health: Health,
        *,
        end: Callable[[], None],
        own_signals: Callable[[], None],
    ) -> None:
        """`end` ends the process in an orderly way; `own_signals` sets the signals' handlers."""
        self._settings = settings
        self._role = role
        self._health = health
        self._end = end
        self._own_signals = own_signals
        self._configuration: client.Configuration | None = None
        self._connection: Connection | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._installation = ""
        self._assembly: Assembly | None = None
        self._queue: WorkQueue[Hashable] = WorkQueue(self._reconcile)
        # Of the replicas only the one that holds the Lease may write anything but the Lease.
        self._bare_kube = Kube()
        self._elector = _elector(role, self._bare_kube)
        may_write = self._elector.leads if self._elector else None
        self._kube = Kube(may_write)
        # With turns of its own: an Event would wait behind every call of every Run.
        self._events_kube = Kube(may_write)
        self._recorder = Recorder(self._events_kube, role.component)

    async def run(self, assemble: Assemble, endpoint: MetricsEndpoint) -> None:
        """Act until cancelled, and answer scrapes. Raises what makes going on impossible."""
        await self._log_in()
        endpoint.guard(Gatekeeper(in_loop(self._may_read_metrics, asyncio.get_running_loop())))
        namespaces = await self._namespaces()
        self._assembly = assembly = assemble(await self._context(namespaces.watched))
        endpoint.show(assembly.metrics)
        try:
            await self._work(assembly, namespaces)
        finally:
            await self._queue.stop()
            # While the Lease is held: the next to act knows nothing of them.
            if self._elector is None or self._elector.leads():
                await self._recorder.last_words()
            if self._elector is not None:
                await self._elector.release()
            assembly.close()

    async def _work(self, assembly: Assembly, namespaces: NamespaceAccess) -> None:
        watched = namespaces.watched
        by_kopf = tuple(kind for kind in assembly.kinds if not kind.reflected)
        relister = Relister(
            self._kube,
            by_kopf,
            watched,
            self._settings.relist_every,
            self._health,
            saw_everything=assembly.saw_everything,
        )
        reflectors = [
            Reflector(self._kube, kind, namespace, self._health)
            for kind in assembly.kinds
            if kind.reflected
            for namespace in watched or (None,)
        ]
        watch = KopfWatch(
            by_kopf,
            watched,
            self._session_for_watches,
            served=lambda: until_served(self._bare_kube, assembly.kinds, self._health),
            relisted=relister.heard_list,
            health=self._health,
            own_signals=self._own_signals,
        )
        parts = {
            "watches": watch.run(),
            "reflectors": _all(reflectors),
            "events": self._recorder.run(),
            "work": self._see_and_act(assembly, relister, reflectors),
        }
        background = self._role.background(self._kube, assembly.look_at_all_runs)
        if background is not None:
            parts["background"] = background
        if namespaces.left_alone:
            parts["left alone"] = self._end_when_there_is_more_to_watch(namespaces.left_alone)
        await forever(**parts)

    async def _see_and_act(self, assembly: Assembly, relister: Relister, reflectors: list[Reflector]) -> None:
        """Decide nothing before all that is watched is listed: what is not seen yet would pass for gone."""
        await relister.first()
        for reflector in reflectors:
            self._health.waits_for = f"the list at {reflector.path}"
            await reflector.listed.wait()
        self._health.waits_for = None
        seen = ", ".join(f"{len(kind.store)} {kind.resource.plural}" for kind in assembly.kinds)
        log.info("ready as installation %s: %s", self._installation, seen)
        await forever(relisting=relister.run(), acting=self._act(assembly))

    async def _act(self, assembly: Assembly) -> None:
        """Act while the Lease is held, where there is one; a replica that waits for it has seen everything already."""
        # Where nobody has ever held the Lease, nobody may have sent what is still under way.
        if self._elector is None or await self._elector.acquire():
            assembly.adopt()
        self._queue.start()
        looking = self._look_at_all(assembly)
        if self._elector is None:
            await looking
            return
        try:
            # At the same time: looking at thousands of Runs may take longer than the Lease may be left alone.
            await forever(holding=self._elector.hold(), looking=looking)
        except LeaseLostError:
            await self._queue.stop()  # at once: what is under way takes its time to end
            raise

    async def _look_at_all(self, assembly: Assembly) -> None:
        await self._queue.add_gently(assembly.all_keys())
        await asyncio.Event().wait()

    async def _reconcile(self, key: Hashable) -> float | None:
        if self._assembly is None:
            raise RuntimeError("the queue was opened before its controllers were made")
        return await self._assembly.reconcile(key)

    async def _context(self, namespaces: tuple[str, ...]) -> RoleContext:
        installation = self._settings.installation or await self._ask("the UID of kube-system", self._cluster_uid)
        account = await self._ask("our own name", self._bare_kube.whoami) if self._role.pool else ""
        self._installation = installation
        return RoleContext(
            role=self._role,
            settings=self._settings,
            kube=self._kube,
            recorder=self._recorder,
            queue=self._queue,
            health=self._health,
            installation=installation,
            account=account,
            namespaces=namespaces,
        )

    async def _namespaces(self) -> NamespaceAccess:
        """Where to watch: Kopf has to be told before it begins."""
        if not self._role.namespaces:
            return NamespaceAccess(())
        return await divide(self._bare_kube, self._role.namespaces, self._health)

    async def _end_when_there_is_more_to_watch(self, left_alone: tuple[str, ...]) -> None:
        """Kopf never watches a namespace that comes later; a process that starts anew does."""
        namespace = await until_one_is_permitted(self._bare_kube, left_alone)
        log.info("namespace %s can be watched now: ending, to start again with it", namespace)
        self._end()
        await asyncio.Event().wait()

    async def _log_in(self) -> None:
        """Open our own session, with what credentials there are by now; calls on the last one end in peace."""
        self._configuration = await asyncio.to_thread(load_configuration)
        last, self._connection = self._connection, connect(self._configuration)
        for kube in (self._kube, self._events_kube, self._bare_kube):
            kube.use(self._connection)
        if last is not None:
            closing = asyncio.create_task(last.close_later())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _session_for_watches(self, hear: ClientMiddlewareType) -> Connection:
        """Kopf asks for a session when it starts, and for another when the server has refused its credentials."""
        configuration, self._configuration = self._configuration, None
        if configuration is None:
            await self._log_in()
            configuration, self._configuration = self._configuration, None
        if configuration is None:
            raise RuntimeError("logging in left no configuration")
        return connect(configuration, hear)

    async def _may_read_metrics(self, token: str) -> bool:
        return await may_get(self._bare_kube, token, PATH)

    async def _cluster_uid(self) -> str:
        """The installation's name where none is configured: it dies with the cluster."""
        body = await self._kube.get(NAMESPACES, None, "kube-system")
        return str(body["metadata"]["uid"])

    async def _ask(self, what: str, ask: Callable[[], Awaitable[str]]) -> str:
        """Ask until the API server answers what start-up depends on."""
        self._health.waits_for = what
        while True:
            try:
                return await ask()
            except KubeError as error:
                log.warning("asking for %s: %s; again in %.0f s", what, error, RETRY)
                await asyncio.sleep(RETRY)


async def _all(reflectors: list[Reflector]) -> None:
    await forever(**{reflector.path: reflector.run() for reflector in reflectors})


def _elector(role: Role, kube: Kube) -> LeaderElector | None:
    if role.lease is None:
        return None
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    return LeaderElector(kube, role.lease.namespace, role.lease.name, identity)
