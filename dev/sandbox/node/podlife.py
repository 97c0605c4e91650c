"""One pod of this node, from its binding to its removal."""

import asyncio
import contextlib
import itertools
import os
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sandbox.node import environment, refusals, status
from sandbox.node.apiserver import UNREACHABLE, ApiError, ApiServer
from sandbox.node.containers import Container, Launch, Runtime, StartFailed
from sandbox.node.environment import Place, SourceMissing
from sandbox.node.podapi import PodApi
from sandbox.node.status import TERMINAL, Running, Terminated, Verdict, Waiting
from sandbox.node.volumes import Volumes

_RUNC = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
_SOURCE_RETRIES = (0.25, 0.5, 1.0)
"""Seconds between looks for a missing Secret or ConfigMap; the last one for ever."""
_SIDECAR_BACKOFF = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEADLINE = Verdict("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


@dataclass(frozen=True)
class Surroundings:
    """What all pods of the node share. `variables` are set in every container whose template does not set them
    itself.
    """

    api: ApiServer
    runtime: Runtime
    place: Place
    path: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


class PodLife:
    """Drives one pod. `observe` and `vanish` tell it what the API server says of the pod; `run` does the rest."""

    def __init__(self, pod: Mapping[str, Any], around: Surroundings) -> None:
        metadata = pod["metadata"]
        self.uid: str = metadata["uid"]
        self.name = (metadata["namespace"], metadata["name"])
        self.folder: Path = around.runtime.folder / self.uid
        self._pod = pod
        self._spec: Mapping[str, Any] = pod["spec"]
        self._around = around
        self._api = PodApi(around.api, pod, around.place.node_name)
        self._volumes = Volumes(
            self._spec,
            self.folder / "volumes",
            partial(self._api.source, "secret"),
            partial(self._api.source, "configmap"),
        )
        kinds = [
            (one, "sidecar" if one.get("restartPolicy") == "Always" else "init")
            for one in self._spec.get("initContainers", [])
        ]
        kinds += [(one, "main") for one in self._spec["containers"]]
        idle = Waiting("PodInitializing" if self._spec.get("initContainers") else "ContainerCreating")
        self._templates = {one["name"]: one for one, _ in kinds}
        self._state = status.PodState(
            containers=[status.Container(one["name"], one.get("image", ""), kind, idle) for one, kind in kinds],
            started_at=datetime.now(UTC),
            address=around.place.address,
            conditions=status.transitions(pod.get("status", {})),
            node_name_preset=bool(self._spec.get("nodeName")),
        )
        self._processes: dict[str, Container] = {}
        self._stopping = asyncio.Event()
        self._deletion = asyncio.Event()
        self._hands_off = False
        self._kill_timer: asyncio.TimerHandle | None = None
        self._kill_at: float | None = None
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._dirty = False
        self._reported: dict[str, Any] = {}

    # -- what the API server says of the pod --------------------------------------------------------------------------

    def observe(self, pod: Mapping[str, Any]) -> None:
        """The pod as it is now: a deletion, another deadline, or an end that another hand has written."""
        self._pod = pod
        metadata = pod["metadata"]
        if pod.get("status", {}).get("phase") in TERMINAL and self._state.phase not in TERMINAL:
            # Somebody evicted it or declared its node lost: theirs is the last word.
            self._hands_off = True
            self._stop(0)
        if metadata.get("deletionTimestamp"):
            self._deletion.set()
            self._stop(metadata.get("deletionGracePeriodSeconds") or 0)
        elif pod["spec"].get("activeDeadlineSeconds") != self._spec.get("activeDeadlineSeconds"):
            self._spec = pod["spec"]
            self._watch_deadline()

    def vanish(self) -> None:
        """The pod is no more."""
        self._api.gone = True
        self._deletion.set()
        self._stop(0)

    # -- what logs.py asks --------------------------------------------------------------------------------------------

    def container(self, name: str) -> status.Container | None:
        return next((one for one in self._state.containers if one.name == name), None)

    @property
    def over(self) -> bool:
        """Nothing of it runs any more."""
        return self._state.over

    def log_file(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    # -- the course of things -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Bind the pod if nobody did, run it to its end, report it, and see it off. Returns when the pod is gone."""
        try:
            if self._spec.get("nodeName") or await self._api.bind():
                await self._live()
        finally:
            for timer in (self._kill_timer, self._deadline_timer):
                if timer is not None:
                    timer.cancel()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _live(self) -> None:
        problem = self._reason_to_refuse()
        if self._spec.get("nodeName") and self._pod.get("status", {}).get("startTime"):
            # An earlier life of this node had it; whatever ran then was killed with that life.
            self._adopt_lost(self._pod["status"])
        elif problem:
            await self._refuse(problem)
        else:
            self._watch_deadline()
            if await self._volumes_brought():
                keeping = asyncio.create_task(self._volumes.keep())
                try:
                    await self._run_containers()
                finally:
                    keeping.cancel()
        self._change(over=True, containers=self._final_containers())
        await self._report_to_the_end()
        await self._deletion.wait()
        await self._api.confirm_deletion()

    async def _volumes_brought(self) -> bool:
        """Wait for all Secrets that are mounted; False if the pod is stopped before."""
        waits = iter(_SOURCE_RETRIES)
        while not await self._volumes.bring():
            self._report()
            if await self._stopped_within(next(waits, _SOURCE_RETRIES[-1])):
                return False
        return True

    async def _run_containers(self) -> None:
        """Init containers in their order, then the main ones together; sidecars end last, the youngest first."""
        sidecars: list[tuple[str, asyncio.Task[None]]] = []
        try:
            if await self._initialise(sidecars):
                self._begin_main()
                names = [one.name for one in self._state.containers if one.kind == "main"]
                await asyncio.gather(*(self._run_once(name) for name in names))
        finally:
            if not self._stopping.is_set():
                self._stop(self._spec.get("terminationGracePeriodSeconds", 30), signalling=False)
            for name, task in reversed(sidecars):
                self._signal(name, signal.SIGTERM)
                await task

    async def _initialise(self, sidecars: list[tuple[str, asyncio.Task[None]]]) -> bool:
        for one in [one for one in self._state.containers if one.kind != "main"]:
            if one.kind == "sidecar":
                started = asyncio.Event()
                sidecars.append((one.name, asyncio.create_task(self._keep_running(one.name, started))))
                waits = [asyncio.create_task(event.wait()) for event in (started, self._stopping)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
            else:
                await self._run_once(one.name)
                after = self.container(one.name)
                if after is None or not isinstance(after.state, Terminated) or after.state.exit_code:
                    return False
            if self._stopping.is_set():
                return False
        return True

    def _begin_main(self) -> None:
        if self._spec.get("initContainers"):
            for one in self._state.containers:
                if one.kind == "main":
                    self._change_container(one.name, state=Waiting("ContainerCreating"), report=False)

    async def _keep_running(self, name: str, started: asyncio.Event) -> None:
        """A sidecar: started again whenever it ends, until the pod stops."""
        for attempt in itertools.count():
            await self._run_once(name, started)
            before = self.container(name)
            if self._stopping.is_set() or before is None:
                return
            self._change_container(name, state=Waiting("CrashLoopBackOff"), last=before.state)
            if await self._stopped_within(_SIDECAR_BACKOFF[min(attempt, len(_SIDECAR_BACKOFF) - 1)]):
                return
            self._change_container(name, restarts=before.restarts + 1, report=False)

    async def _run_once(self, name: str, started: asyncio.Event | None = None) -> None:
        """Start a container as soon as its environment is complete, and wait for its end; its state tells of both."""
        launch = await self._prepare(name)
        if launch is None or self._stopping.is_set():
            return
        began = datetime.now(UTC)
        try:
            process = await self._around.runtime.start(launch)
        except StartFailed as error:
            message = f"{_RUNC}unable to start container process: {error}: unknown"
            self._change_container(name, state=status.start_failed(message, datetime.now(UTC), _reference(launch)))
            return
        self._processes[name] = process
        self._change_container(name, state=Running(began, _reference(launch)))
        if started is not None:
            started.set()
        if self._stopping.is_set():
            # The request to stop came while the process was being started, and missed it.
            process.send(signal.SIGTERM)
        code = await process.exited
        del self._processes[name]
        self._change_container(name, state=status.ended(code, began, datetime.now(UTC), _reference(launch)))

    async def _prepare(self, name: str) -> Launch | None:
        """What to start, once all sources of the environment exist; None if the pod is stopped before."""
        template = self._templates[name]
        waits = iter(_SOURCE_RETRIES)
        while not self._stopping.is_set():
            try:
                found = {source: await self._api.source(*source) for source in environment.sources(template)}
                variables = environment.resolve(template, self._pod, found, self._around.place)
                return self._launch(name, template, variables)
            except SourceMissing as missing:
                self._change_container(name, state=Waiting("CreateContainerConfigError", str(missing)))
            except (ApiError, *UNREACHABLE) as error:
                self._change_container(name, state=Waiting("CreateContainerConfigError", _public(error)))
            if await self._stopped_within(next(waits, _SOURCE_RETRIES[-1])):
                break
        return None

    def _launch(self, name: str, template: Mapping[str, Any], variables: Mapping[str, str]) -> Launch:
        scratch = self.folder / name
        scratch.mkdir(parents=True, exist_ok=True)
        given = {
            "PATH": ":".join([*self._around.path, _SYSTEM_PATH]),
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "HOSTNAME": environment.hostname(self._pod),
        }
        return Launch(
            container_id=secrets.token_hex(32),
            argv=environment.command_line(template, variables),
            env={**given, **self._around.variables, **variables},
            cwd=Path(template.get("workingDir") or scratch),
            log=self.log_file(name),
            mounts=list(self._volumes.mounts(template)),
        )

    # -- stopping -----------------------------------------------------------------------------------------------------

    def _stop(self, grace: float, *, signalling: bool = True) -> None:
        """Start nothing more; end what runs, and kill it after `grace` seconds, which a later call can only shorten."""
        loop = asyncio.get_running_loop()
        first = not self._stopping.is_set()
        self._stopping.set()
        if self._kill_at is None or loop.time() + grace < self._kill_at:
            if self._kill_timer is not None:
                self._kill_timer.cancel()
            self._kill_at = loop.time() + grace
            self._kill_timer = loop.call_later(grace, self._kill)
        if first and signalling:
            for one in self._state.containers:
                if one.kind != "sidecar":
                    self._signal(one.name, signal.SIGTERM)

    def _kill(self) -> None:
        for process in self._processes.values():
            process.send(signal.SIGKILL)
        if self._processes or self._starting():
            # A process that was just being started is met on the next round.
            self._kill_timer = asyncio.get_running_loop().call_later(0.2, self._kill)

    def _starting(self) -> bool:
        return any(isinstance(one.state, Waiting) for one in self._state.containers) and not self._state.over

    def _signal(self, name: str, number: signal.Signals) -> None:
        if name in self._processes:
            self._processes[name].send(number)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _watch_deadline(self) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        seconds = self._spec.get("activeDeadlineSeconds")
        if seconds is not None:
            left = seconds - (datetime.now(UTC) - self._state.started_at).total_seconds()
            self._deadline_timer = asyncio.get_running_loop().call_later(max(left, 0), self._exceed_deadline)

    def _exceed_deadline(self) -> None:
        if not self._stopping.is_set():
            self._change(verdict=_DEADLINE)
            self._stop(self._spec.get("terminationGracePeriodSeconds", 30))

    # -- pods that are not run ----------------------------------------------------------------------------------------

    def _reason_to_refuse(self) -> str | None:
        problem = refusals.refusal(self._pod)
        if not problem and os.geteuid() and any(list(self._volumes.mounts(one)) for one in self._templates.values()):
            problem = "spec.volumes: only root can mount a volume for a local process"
        for name, template in self._templates.items():
            folder = template.get("workingDir")
            if folder and not problem and not (folder.startswith("/") and Path(folder).is_dir()):
                problem = (
                    f"container {name}: workingDir {folder} is no folder of this machine, and this node makes none"
                )
        return problem

    async def _refuse(self, problem: str) -> None:
        self._change(verdict=Verdict(refusals.REASON, problem), containers=[])
        await self._api.warn_of_refusal(problem)

    def _adopt_lost(self, reported: Mapping[str, Any]) -> None:
        entries = [*reported.get("initContainerStatuses", []), *reported.get("containerStatuses", [])]
        states = {entry["name"]: status.read_state(entry) for entry in entries}
        self._change(
            started_at=datetime.fromisoformat(reported["startTime"]),
            phase=reported.get("phase", "Pending"),
            containers=[
                replace(one, state=states[one.name]) if one.name in states else one for one in self._state.containers
            ],
        )
        # Of a pod that had ended nothing is left to say.
        self._hands_off = self._state.phase in TERMINAL

    # -- reporting ----------------------------------------------------------------------------------------------------

    def _final_containers(self) -> Sequence[status.Container]:
        """The containers now that nothing runs: those of which no end is known count as failed."""
        containers = self._state.containers
        settled = status.phase(containers) in TERMINAL and not any(isinstance(one.state, Running) for one in containers)
        return containers if settled else status.located_no_more(containers)

    def _change_container(self, name: str, *, report: bool = True, **changes: Any) -> None:
        containers = [replace(one, **changes) if one.name == name else one for one in self._state.containers]
        self._state = replace(self._state, containers=containers)
        if report:
            self._report()

    def _change(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)

    def _report(self) -> None:
        """Have the latest state reported soon; states that pass while a report is under way are passed over."""
        self._dirty = True
        if self._reporting is None or self._reporting.done():
            self._reporting = asyncio.create_task(self._report_changes())

    async def _report_to_the_end(self) -> None:
        self._report()
        if self._reporting is not None:
            await self._reporting

    async def _report_changes(self) -> None:
        while self._dirty and not self._hands_off and not self._api.gone:
            self._dirty = False
            wanted = status.pod_status(self._state, datetime.now(UTC))
            if wanted == self._reported:
                continue
            # Before the answer: the watch may be faster, and what it brings is ours then.
            self._change(phase=wanted["phase"], conditions=status.transitions(wanted))
            if await self._api.patch_status(wanted):
                self._reported = wanted


def _reference(launch: Launch) -> str:
    return f"sandbox://{launch.container_id}"


def _public(error: Exception) -> str:
    """What may be shown of a source that could not be read; an API server's refusal names the object, never its
    content.
    """
    return error.message if isinstance(error, ApiError) else "the API server could not be reached"
