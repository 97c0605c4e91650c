"""The node's side of the keeper: containers as awaitable things. See `keeper.py` for who owns the processes."""

import asyncio
import json
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KEEPER = Path(__file__).with_name("keeper.py")
_LONGEST_REPORT = 1 << 20


class StartFailed(Exception):
    """The container's command could not be executed; the text says why, in a container runtime's words."""


@dataclass(frozen=True)
class Launch:
    """What to start. The environment is left out of the representation: it holds secrets."""

    container_id: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    log: Path
    mounts: Sequence[tuple[str, str, bool]] = ()
    """Folders, the places where the container sees them, and whether it can write there."""


class Container:
    """A container that was started.

    `exited` gives its exit code (negative: the signal that ended it), once nothing of it runs any more.
    """

    def __init__(self, runtime: "Runtime", container_id: str) -> None:
        self._runtime = runtime
        self.id = container_id
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process group; nothing happens once it has ended."""
        if not self.exited.done():
            self._runtime.request("signal", id=self.id, signal=number)


class Runtime:
    """Starts containers through a keeper of its own, which is gone with all of them when the context is left."""

    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}
        self.ended = asyncio.Event()
        """Set when the keeper is gone; without one nothing can run."""

    async def __aenter__(self) -> "Runtime":
        self._keeper = await asyncio.create_subprocess_exec(
            *[sys.executable, "-I", "-S", str(_KEEPER), "spacelift-aws-sandbox-pods-"],
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
            limit=_LONGEST_REPORT,
        )
        self.keeper_pid = self._keeper.pid
        self.folder = Path((await self._next())["folder"])
        self._reader = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        await self._keeper.wait()
        await self._reader
        # The keeper removes it, unless it was killed itself.
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def start(self, launch: Launch) -> Container:
        """Start a container, or raise StartFailed."""
        container = self._containers[launch.container_id] = Container(self, launch.container_id)
        self.request(
            "start",
            id=launch.container_id,
            argv=list(launch.argv),
            env=dict(launch.env),
            cwd=str(launch.cwd),
            log=str(launch.log),
            mounts=list(launch.mounts),
        )
        await container.started
        return container

    def request(self, do: str, **arguments: Any) -> None:
        if self._keeper.stdin is not None and not self.ended.is_set():
            self._keeper.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")

    async def _next(self) -> dict[str, Any]:
        line = await self._keeper.stdout.readline() if self._keeper.stdout is not None else b""
        report: dict[str, Any] = json.loads(line) if line else {}
        return report

    async def _listen(self) -> None:
        with suppress(ConnectionResetError):
            while report := await self._next():
                self._note(report)
        # What still runs is being killed by the kernel or by the keeper; nobody will learn how it ended.
        self.ended.set()

    def _note(self, report: Mapping[str, Any]) -> None:
        container = self._containers[report["id"]]
        waited_for = container.exited if "exited" in report else container.started
        if "started" not in report:
            del self._containers[container.id]
        if waited_for.done():
            return  # whoever waited was cancelled
        if "failed" in report:
            container.started.set_exception(StartFailed(report["failed"]))
        elif "started" in report:
            container.started.set_result(None)
        else:
            container.exited.set_result(report["exited"])
