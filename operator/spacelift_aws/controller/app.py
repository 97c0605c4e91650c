"""The controller as a whole: its parts and how they are wired.

Kopf's watches ─┐                                    ┌─► IntegrationReconciler ─► STS probes, status
Relister ───────┼─► World ─► Cache, WorkQueue ─► key ┼─► Executor ─► STS, Secret, pod, status
answers to      │                                    └─► Executor.clean (what a Run that is gone left)
our own writes ─┘
"""

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kopf
from kubernetes import client

from spacelift_aws.api.run import Run
from spacelift_aws.aws.identity import OwnIdentity
from spacelift_aws.aws.sts import Sts, StsSettings
from spacelift_aws.controller import handlers
from spacelift_aws.controller.cache import Cache
from spacelift_aws.controller.kinds import kinds
from spacelift_aws.controller.policy import CONTROLLER, ControllerPolicy
from spacelift_aws.controller.queue import WorkQueue
from spacelift_aws.controller.relist import Relister
from spacelift_aws.controller.world import IntegrationKey, RunKey, WorkKey, World
from spacelift_aws.integration.history import Schedule
from spacelift_aws.integration.reconcile import IntegrationReconciler, IntegrationSettings
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import KubeError, NotFound
from spacelift_aws.kube.recorder import Recorder
from spacelift_aws.kube.resources import NAMESPACES, RUNS
from spacelift_aws.kube.session import Connection, connect, load_configuration
from spacelift_aws.names import run_id
from spacelift_aws.run.executor import Executor
from spacelift_aws.run.observed import Limits
from spacelift_aws.run.ports import Leftover
from spacelift_aws.settings import Settings

log = logging.getLogger(__name__)

COMPONENT = "spacelift-aws-controller"

RECURSION_LIMIT = 25_000
"""The API server takes objects of 10,000 levels, and Python's parser counts levels as recursion: with the usual limit
one such Run would end the watch of all."""

RETRY = 2.0
"""Seconds until a question that start-up depends on is asked again."""


def run_controller(settings: Settings) -> None:
    """Run until a signal ends it. Raises what makes going on impossible."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    before = asyncio.all_tasks()
    controller = Controller(settings, await asyncio.to_thread(load_configuration))
    tasks = await kopf.spawn_tasks(
        registry=handlers.registry_for(controller, controller.kinds),
        settings=handlers.settings(),
        stop_flag=controller.ending,
        clusterwide=True,
        standalone=True,
        liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz" if settings.health_port else None,
    )
    # In place of Kopf's own handlers, which do not tell us that the end was asked for.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, controller.end)
    try:
        await kopf.run_tasks(tasks, ignored=before)
    except Exception:
        if not controller.asked_to_end:
            raise
        log.warning("something went wrong while the controller ended", exc_info=True)
    controller.raise_what_died()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What acts; made once it is known who we are and what there is."""

    sts: Sts
    integrations: IntegrationReconciler
    executor: Executor


class Controller:
    """Owns the parts; Kopf logs in, starts and stops them."""

    def __init__(self, settings: Settings, configuration: client.Configuration) -> None:
        self._settings = settings
        self._first_login: Connection | None = connect(configuration, self._heard_list)
        self._kube = Kube()
        self._kube.use(self._first_login)
        self._recorder = Recorder(self._kube, COMPONENT)
        self._cache = Cache()
        self._queue: WorkQueue[WorkKey] = WorkQueue(self._handle)
        self._world = World(self._cache, CONTROLLER, self._queue.add)
        self.kinds = kinds(self._world, self._cache)
        self._relister = Relister(self._kube, self.kinds, settings.relist_every)
        self._tasks: list[asyncio.Task[None]] = []
        self._parts: _Parts | None = None
        self.ending = asyncio.Event()
        """Set when a signal came, or a task ended that never should: a process that went on would be a living dead."""
        self.asked_to_end = False

    def end(self) -> None:
        """End soon, because somebody wants it."""
        self.asked_to_end = True
        self.ending.set()

    async def login(self) -> Connection:
        """A session for Kopf and for us; Kopf closes it and asks for another when the server says 401."""
        connection, self._first_login = self._first_login, None
        if connection is None:
            # Read anew: whatever the credentials come from may have new ones.
            connection = connect(await asyncio.to_thread(load_configuration), self._heard_list)
            self._kube.use(connection)
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
            task.add_done_callback(lambda _: self.ending.set())
            self._tasks.append(task)

    async def stop(self) -> None:
        """Stop at any moment: nothing that counts is only in memory."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._queue.stop()
        if self._parts is not None:
            self._parts.sts.close()

    def raise_what_died(self) -> None:
        """Raise what ended a task that never should end."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    def alive(self) -> dict[str, Any]:
        """For `/healthz`: it answers, and that is what is asked; a part that dies ends the process."""
        return {"ready": self._parts is not None, "queue": len(self._queue), "runs": len(self._cache.runs)}

    async def _work(self) -> None:
        """Decide nothing before everything is listed: what is not seen yet would pass for gone."""
        installation = self._settings.installation or await self._cluster_uid()
        self._parts = parts = self._make_parts(installation)
        self._world.on_lost_run(parts.executor.leftover_of)
        await self._relister.first()
        parts.executor.inherit(run for _, run in self._cache.runs.items())
        self._queue.start()
        log.info(
            "ready as installation %s: %d AwsIntegrations, %d Runs",
            installation,
            len(self._cache.integrations),
            len(self._cache.runs),
        )
        await self._relister.run()

    def _heard_list(self, path: str) -> None:
        self._relister.heard_list(path)

    async def _cluster_uid(self) -> str:
        """The installation's name where none is configured: it dies with the cluster."""
        while True:
            try:
                body = await self._kube.get(NAMESPACES, None, "kube-system")
            except KubeError as error:
                log.warning("asking for the UID of kube-system: %s; again in %.0f s", error, RETRY)
                await asyncio.sleep(RETRY)
            else:
                return str(body["metadata"]["uid"])

    def _make_parts(self, installation: str) -> _Parts:
        settings = self._settings
        sts = Sts(home_region=settings.region, settings=_sts_settings(settings))
        integrations = IntegrationReconciler(
            view=self._world,
            kube=self._kube,
            recorder=self._recorder,
            sts=sts,
            identity=OwnIdentity(sts, os.environ, configured_principal=settings.principal),
            settings=IntegrationSettings(
                installation=installation,
                suggested_policies=settings.suggested_policies,
                schedule=_schedule(settings),
            ),
            clock=_now,
            wake=lambda key: self._queue.add(IntegrationKey(*key)),
            on_verdict=self._world.wake_runs_of,
            is_awaited=self._world.awaited,
        )
        executor = Executor(
            name=CONTROLLER,
            view=self._world,
            policy=ControllerPolicy(self._cache, integrations, installation, sts.home_region),
            kube=self._kube,
            sts=sts,
            recorder=self._recorder,
            limits=Limits(creation_in_doubt=settings.creation_in_doubt, denied=settings.denied_for),
            clock=_now,
        )
        return _Parts(sts, integrations, executor)

    async def _handle(self, key: WorkKey) -> float | None:
        parts = self._parts
        if parts is None:
            raise RuntimeError("the queue was opened before its handlers were made")
        match key:
            case RunKey(namespace, name):
                return await parts.executor.reconcile((namespace, name))
            case IntegrationKey(namespace, name):
                return await parts.integrations.reconcile((namespace, name))
            case Leftover():
                return await self._clean(parts.executor, key)

    async def _clean(self, executor: Executor, leftover: Leftover) -> float | None:
        """A pod may be seen before its Run is: only the API server knows that there is none."""
        key = (leftover.namespace, leftover.run_name)
        if leftover.run_name:
            try:
                run = Run.model_validate(await self._kube.get(RUNS, *key))
            except NotFound:
                run = None
            if run is not None and run_id(run.metadata.creation_timestamp, run.metadata.uid) == leftover.run_id:
                self._world.saw_run(run)
                self._queue.add(RunKey(*key))
                return None
        return await executor.clean(leftover, self._world.pod_named(leftover.namespace, leftover.run_id))


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


def _now() -> datetime:
    return datetime.now(UTC)
