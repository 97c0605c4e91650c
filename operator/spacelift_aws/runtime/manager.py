"""A process as a whole, the controller or a worker: its parts and how they are wired.

Kopf's watches ─┐                                           ┌─► IntegrationReconciler ─► STS probes, status
Relister ───────┼─► EventRouter ─► Stores, WorkQueue ─► key ┼─► Executor ─► STS, Secret, pod, status
answers to      │                                           └─► Executor.clean (what a Run that is gone left)
our own writes ─┘
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import kopf
from aiohttp import ClientResponse
from kubernetes import client

from spacelift_aws.api.run import Run
from spacelift_aws.audit import open_trail
from spacelift_aws.aws.identity import OwnIdentity
from spacelift_aws.aws.sts import Sts, StsSettings
from spacelift_aws.controllers.awsintegration.controller import IntegrationReconciler, IntegrationSettings
from spacelift_aws.controllers.awsintegration.history import Schedule
from spacelift_aws.controllers.run.controller import Executor, ExecutorSettings
from spacelift_aws.controllers.run.journal import Journal
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.controllers.run.state import Limits
from spacelift_aws.kube.access_review import may_get
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.connection import Connection, connect, load_configuration
from spacelift_aws.kube.errors import KubeError, NotFound
from spacelift_aws.kube.events import Recorder
from spacelift_aws.kube.leader_election import LeaderElector, LeaseLostError
from spacelift_aws.kube.resources import NAMESPACES, RUNS
from spacelift_aws.names import run_id
from spacelift_aws.runtime.controller import kinds
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.kopf_adapter import handlers
from spacelift_aws.runtime.kopf_adapter.relist import Relister
from spacelift_aws.runtime.metrics_endpoint import PATH, Gatekeeper, MetricsEndpoint, in_loop
from spacelift_aws.runtime.namespaces import NamespaceAccess, divide, until_one_is_permitted
from spacelift_aws.runtime.role import Role
from spacelift_aws.runtime.router import EventRouter, IntegrationKey, RunKey, WorkKey
from spacelift_aws.runtime.servers import start_servers
from spacelift_aws.runtime.state_metrics import Source, StateCollector
from spacelift_aws.runtime.store import Stores
from spacelift_aws.runtime.workqueue import WorkQueue
from spacelift_aws.settings import Settings

log = logging.getLogger(__name__)

KINDS = 3
"""What is watched in each namespace where a process acts in given ones."""

RECURSION_LIMIT = 25_000
"""The API server takes objects of 10,000 levels, and Python's parser counts levels as recursion: with the usual limit
one such Run would end the watch of all."""

RETRY = 2.0
"""Seconds until a question that start-up depends on is asked again."""


def run(settings: Settings, role: Role) -> None:
    """Run until a signal ends it; the process has to end with it. Raises what makes going on impossible."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    health = Health()
    endpoint = start_servers(settings, health)
    # Not `asyncio.run`: it would close what Kopf leaves open, in an order that Kopf's generators do not bear.
    asyncio.new_event_loop().run_until_complete(_run(settings, role, health, endpoint))


async def _run(settings: Settings, role: Role, health: Health, endpoint: MetricsEndpoint) -> None:
    beats = asyncio.create_task(health.beat())
    before = asyncio.all_tasks()
    configuration = await asyncio.to_thread(load_configuration)
    namespaces = await _namespaces(role, health, configuration)
    process = Process(settings, role, health, configuration, namespaces)
    process.show_metrics(endpoint)
    tasks = await kopf.spawn_tasks(
        registry=handlers.registry_for(process, process.kinds),
        settings=handlers.settings(),
        stop_flag=process.ending,
        clusterwide=not namespaces.watched,
        namespaces=namespaces.watched,
        standalone=True,
    )
    # In place of Kopf's own handlers, which do not tell us that the end was asked for.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, process.end)
    running = asyncio.create_task(kopf.run_tasks(tasks, ignored=before))
    # Kopf goes on to wait for tasks of its own, some of which nobody ends; all that counts has stopped by then.
    stopped = asyncio.create_task(process.stopped.wait())
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    beats.cancel()
    if not process.asked_to_end:
        process.raise_what_died()
        _raise_what_died(tasks)


def _raise_what_died(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Raise what ended one of these tasks, none of which ends by itself."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()


async def _namespaces(role: Role, health: Health, configuration: client.Configuration) -> NamespaceAccess:
    """Where to watch. Kopf has to be told before it begins, so this is asked over a session of its own."""
    if not role.namespaces:
        return NamespaceAccess(())
    kube = Kube()
    connection = connect(configuration, lambda _: None, lambda *_: None)
    kube.use(connection)
    try:
        return await divide(kube, role.namespaces, health)
    finally:
        await connection.http.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What acts; made once it is known who we are and what there is."""

    sts: Sts
    identity: OwnIdentity
    integrations: IntegrationReconciler
    executor: Executor


class Process:
    """Owns the parts; Kopf logs in, starts and stops them."""

    def __init__(
        self,
        settings: Settings,
        role: Role,
        health: Health,
        configuration: client.Configuration,
        namespaces: NamespaceAccess,
    ) -> None:
        self._settings = settings
        self._role = role
        self._health = health
        self._audit = open_trail(settings.audit_log)
        self._namespaces = namespaces.watched
        self._left_alone = namespaces.left_alone
        self._first_login: Connection | None = self._connect(configuration)
        # Of the replicas only the one that holds the Lease may write anything but the Lease.
        self._bare_kube = Kube()
        self._elector = _elector(role, self._bare_kube)
        self._kube = Kube(may_write=self._elector.leads if self._elector else None)
        self._use(self._first_login)
        self._recorder = Recorder(self._kube, role.component)
        self._stores = Stores()
        self._queue: WorkQueue[WorkKey] = WorkQueue(self._handle)
        self._router = EventRouter(self._stores, role.executor, self._queue.add)
        self.kinds = kinds(self._router, self._stores, namespaces_too=not self._namespaces)
        self._relister = Relister(self._kube, self.kinds, self._namespaces, settings.relist_every, health)
        self._tasks: list[asyncio.Task[None]] = []
        self._parts: _Parts | None = None
        self.ending = asyncio.Event()
        """Set when a signal came, or a task ended that never should: a process that went on would be a living dead."""
        self.stopped = asyncio.Event()
        self.asked_to_end = False

    def end(self) -> None:
        """End soon, because somebody wants it."""
        self.asked_to_end = True
        self.ending.set()

    def show_metrics(self, endpoint: MetricsEndpoint) -> None:
        """Answer scrapes with what this process sees."""
        source = Source(
            component=self._role.component,
            pool=self._role.pool,
            stores=self._stores,
            health=self._health,
            acts=lambda: self._queue.is_open,
            queue=lambda: (self._queue.depth(), self._queue.longest()),
            aws=lambda: (self._parts.sts, self._parts.identity.known) if self._parts is not None else None,
            clock=_now,
        )
        endpoint.show(StateCollector(source))
        endpoint.guard(
            Gatekeeper(in_loop(lambda token: may_get(self._bare_kube, token, PATH), asyncio.get_running_loop()))
        )

    async def login(self) -> Connection:
        """A session for Kopf and for us; Kopf closes it and asks for another when the server says 401."""
        connection, self._first_login = self._first_login, None
        if connection is None:
            # Read anew: whatever the credentials come from may have new ones.
            connection = self._connect(await asyncio.to_thread(load_configuration))
            self._use(connection)
        return connection

    async def start(self) -> None:
        """Called by Kopf before anything else of it begins, so that it finds all kinds when it looks for them."""
        try:
            await self._relister.until_served()
        except asyncio.CancelledError:
            if self._first_login is not None:
                await self._first_login.http.close()
            raise
        for work in (self._recorder.run(), self._work()):
            task = asyncio.create_task(work)
            task.add_done_callback(self._part_ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Stop at any moment: nothing that counts is only in memory."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._queue.stop()
        if self._elector is not None:
            await self._elector.release()
        if self._parts is not None:
            self._parts.sts.close()
        self.stopped.set()

    def raise_what_died(self) -> None:
        """Raise what ended a task that never should end."""
        _raise_what_died(self._tasks)

    def _part_ended(self, _: asyncio.Task[None]) -> None:
        if not self.asked_to_end:
            self._health.part_ended = True
        self.ending.set()

    async def _work(self) -> None:
        """Decide nothing before everything is listed: what is not seen yet would pass for gone."""
        installation = self._settings.installation or await self._ask("the UID of kube-system", self._cluster_uid)
        account = await self._ask("our own name", self._bare_kube.whoami) if self._role.pool else ""
        self._parts = parts = self._make_parts(installation, account)
        self._router.on_lost_run(parts.executor.orphan_of)
        await self._relister.first()
        self._health.waits_for = None
        log.info(
            "ready as installation %s: %d AwsIntegrations, %d Runs",
            installation,
            len(self._stores.integrations),
            len(self._stores.runs),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._relister.run())
            group.create_task(self._act(parts.executor))
            background = self._role.background(self._kube, self._look_at_all_runs)
            if background is not None:
                group.create_task(background)
            if self._left_alone:
                group.create_task(self._end_when_there_is_more_to_watch())

    async def _act(self, executor: Executor) -> None:
        """Act while the Lease is held, where there is one; a replica that waits for it has seen everything already."""
        # Where nobody has ever held the Lease, nobody may have sent what is still under way.
        if self._elector is None or await self._elector.acquire():
            executor.adopt(run for _, run in self._stores.runs.items())
        self._queue.start()
        if self._elector is not None:
            try:
                await self._elector.hold()
            except LeaseLostError:
                await self._queue.stop()  # at once: Kopf takes its time to end
                raise

    async def _end_when_there_is_more_to_watch(self) -> None:
        """Kopf never watches a namespace that comes later; a process that starts anew does."""
        namespace = await until_one_is_permitted(self._bare_kube, self._left_alone)
        log.info("namespace %s can be watched now: ending, to start again with it", namespace)
        self.end()

    def _connect(self, configuration: client.Configuration) -> Connection:
        return connect(configuration, self._heard_list, self._heard_ask, watches=KINDS * len(self._namespaces))

    def _use(self, connection: Connection) -> None:
        self._kube.use(connection)
        self._bare_kube.use(connection)

    def _heard_list(self, path: str) -> None:
        self._relister.heard_list(path)

    def _heard_ask(self, path: str, answer: ClientResponse | None) -> None:
        if self._relister.lists(path):
            self._health.asked(path, answer)

    def _look_at_all_runs(self) -> None:
        for key in [key for key, _ in self._stores.runs.items()]:
            self._queue.add(RunKey(*key))

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

    def _make_parts(self, installation: str, account: str) -> _Parts:
        settings = self._settings
        sts = Sts(home_region=settings.region, settings=_sts_settings(settings))
        identity = OwnIdentity(sts, os.environ, configured_principal=settings.principal)
        integrations = IntegrationReconciler(
            view=self._router,
            kube=self._kube,
            recorder=self._recorder,
            sts=sts,
            identity=identity,
            settings=IntegrationSettings(
                installation=installation,
                suggested_policies=settings.suggested_policies,
                schedule=_schedule(settings),
            ),
            role=self._role,
            clock=_now,
            wake=lambda key: self._queue.add(IntegrationKey(*key)),
            on_verdict=self._router.wake_runs_of,
            is_awaited=self._router.awaited,
        )
        executor = Executor(
            role=self._role,
            view=self._router,
            trust=integrations,
            kube=self._kube,
            sts=sts,
            recorder=self._recorder,
            settings=_executor_settings(settings, installation, self._namespaces, sts.home_region, account),
            clock=_now,
            journal=Journal(self._audit, self._role.executor),
        )
        return _Parts(sts, identity, integrations, executor)

    async def _handle(self, key: WorkKey) -> float | None:
        parts = self._parts
        if parts is None:
            raise RuntimeError("the queue was opened before its handlers were made")
        match key:
            case RunKey(namespace, name):
                return await parts.executor.reconcile((namespace, name))
            case IntegrationKey(namespace, name):
                return await parts.integrations.reconcile((namespace, name))
            case OrphanKey():
                return await self._clean(parts.executor, key)

    async def _clean(self, executor: Executor, orphan: OrphanKey) -> float | None:
        """A pod may be seen before its Run is: only the API server knows that there is none."""
        key = (orphan.namespace, orphan.run_name)
        if orphan.run_name:
            try:
                run = Run.model_validate(await self._kube.get(RUNS, *key))
            except NotFound:
                run = None
            if run is not None and run_id(run.metadata.creation_timestamp, run.metadata.uid) == orphan.run_id:
                self._router.saw_run(run)
                self._queue.add(RunKey(*key))
                return None
        return await executor.clean(orphan, self._router.pod_named(orphan.namespace, orphan.run_id))


def _elector(role: Role, kube: Kube) -> LeaderElector | None:
    if role.lease is None:
        return None
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    return LeaderElector(kube, role.lease.namespace, role.lease.name, identity)


def _sts_settings(settings: Settings) -> StsSettings:
    return StsSettings(
        probes_per_second=settings.probes_per_second,
        read_timeout=settings.sts_timeout.total_seconds(),
    )


def _schedule(settings: Settings) -> Schedule:
    return Schedule(
        first_retry=settings.retry_first,
        confirm_after=settings.confirm_after,
        first_delay=settings.retry_first,
        last_fast_delay=settings.retry_last,
        slow_delay=settings.retry_slowly,
    )


def _executor_settings(
    settings: Settings, installation: str, namespaces: tuple[str, ...], home_region: str | None, account: str
) -> ExecutorSettings:
    limits = Limits(
        creation_in_doubt=settings.creation_in_doubt, denied=settings.denied_for, renew_after=settings.renew_after
    )
    return ExecutorSettings(
        installation,
        namespaces,
        home_region,
        account,
        limits,
        settings.helper_image or None,
        trust_requester=settings.trust_requester,
    )


def _now() -> datetime:
    return datetime.now(UTC)
