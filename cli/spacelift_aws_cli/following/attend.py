"""Being there for a Run: its phases and logs as they come, Ctrl-C, and its end."""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.following.logs import LogStream
from spacelift_aws_cli.following.watch import passes, versions
from spacelift_aws_cli.kube.errors import KubeError
from spacelift_aws_cli.kube.resources import POD, RUN
from spacelift_aws_cli.model.objects import Object, name_of, namespace_of, status_of
from spacelift_aws_cli.model.runs import containers_of, has_ended, phase_cell, phase_of
from spacelift_aws_cli.model.story import pod_trouble, step
from spacelift_aws_cli.output.console import say, show
from spacelift_aws_cli.output.tables import Cell, Tone

if TYPE_CHECKING:
    from spacelift_aws_cli.kube.client import Client

LOOK_AT_POD_EVERY = 2.0
"""Seconds between two looks at a pod that has not started yet, for what keeps it."""


STOP_SECONDS = 10.0
"""For which whoever leaves waits until the API server has heard `stop`."""


STOP_TRIES = 60
"""Once a second, while the API server is away."""


class Left(UserError):
    """The second Ctrl-C: nobody waits for the Run any more."""


def attend(
    client: "Client", run: Object, *, stop_on_interrupt: bool, logs: bool = True, timeout: float | None
) -> Object:
    """Show a Run until it has ended; its last version. Raises Left, Gone, and UserError after `timeout` seconds."""
    namespace, name = namespace_of(run), name_of(run)
    containers = containers_of(run)
    out = _Output(containers)
    streams = [LogStream(client, namespace, one, out.line, say) for one in containers] if logs else []
    progress = _Progress(client)
    with interrupts(client, namespace, name) if stop_on_interrupt else _plainly():
        for run in versions(client, RUN, namespace, name, say=say, timeout=timeout):
            progress.tell(run)
            pod = status_of(run).get("podName")
            for stream in streams if pod else ():
                stream.start(str(pod))
            if has_ended(run):
                break
        progress.end()
        for stream in streams:
            stream.finish()
    out.close()
    return run


class _Output:
    """Standard output for lines of several threads; with several containers each line says whose it is."""

    def __init__(self, containers: list[str]) -> None:
        self._lock = threading.Lock()
        self._stream = sys.stdout.buffer
        self._named = len(containers) > 1
        self._broken = False

    def line(self, container: str, line: bytes) -> None:
        """Write one line."""
        with self._lock:
            if self._broken:
                return
            try:
                self._stream.write(f"[{container}] ".encode() + line if self._named else line)
                if self._named and not line.endswith(b"\n"):
                    self._stream.write(b"\n")
                self._stream.flush()
            except OSError:
                # Whoever read has gone. The Run goes on, and so does waiting for it.
                self._broken = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def close(self) -> None:
        """All lines are written."""
        with self._lock:
            self._broken = True


class _Progress:
    """Says each step once, with the time since the first; and what keeps a pod from starting, from its own status."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._began = time.monotonic()
        self._told = ""
        self._lock = threading.Lock()
        self._run: Object | None = None
        self._over = threading.Event()
        self._looker: threading.Thread | None = None

    def tell(self, run: Object) -> None:
        """The Run has changed."""
        with self._lock:
            self._run = run
        self._line(run, step(run))
        if self._looker is None and phase_of(run) == "Preparing":
            self._looker = threading.Thread(target=self._look, name="pod", daemon=True)
            self._looker.start()

    def end(self) -> None:
        """Nothing more will come."""
        self._over.set()

    def _line(self, run: Object, words: str, tone: Tone = Tone.PLAIN) -> None:
        with self._lock:
            if words == self._told:
                return
            self._told = words
            seconds = f"{time.monotonic() - self._began:6.1f} s  "
            rest = words.removeprefix(phase_of(run))
            show([[Cell(seconds, Tone.QUIET), phase_cell(run), Cell(rest, tone)]], sys.stderr)

    def _look(self) -> None:
        while not self._over.wait(LOOK_AT_POD_EVERY):
            run = self._run
            if run is None or phase_of(run) != "Preparing":
                return
            try:
                pod = self._client.get(POD, namespace_of(run), str(status_of(run).get("podName")))
            except KubeError:
                return  # whoever may not read pods is told by the Run alone
            if trouble := pod_trouble(pod):
                self._line(run, f"Preparing: {trouble}", Tone.BUSY)


@contextmanager
def interrupts(client: "Client", namespace: str, name: str) -> Iterator[None]:
    """Ctrl-C, or a CI system's SIGTERM: the first stops the Run, the second leaves it."""
    said: list[int] = []
    # Reentrant: a second signal may come while the first one's handler still runs.
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()

    def stop() -> None:
        asked.get()
        for remaining in reversed(range(STOP_TRIES)):
            try:
                client.patch(RUN, namespace, name, {"spec": {"stop": True}})
                return
            except KubeError as error:
                if not passes(error) or not remaining:
                    say(f"The Run could not be stopped: {error}")
                    return
            time.sleep(1)

    stopping = threading.Thread(target=stop, name="stop", daemon=True)
    stopping.start()

    def interrupted(number: int, _frame: FrameType | None) -> None:
        said.append(number)
        asked.put(number)
        if len(said) > 1:
            raise Left(f"Left while Run {name} is being stopped; see `wait {name} -n {namespace}`.", Exit.INTERRUPTED)
        say(f"Stopping Run {name}; press Ctrl-C again to leave at once.")

    with _handlers(interrupted):
        try:
            yield
        finally:
            # Whoever leaves at once still leaves a Run that was told to stop.
            if said:
                stopping.join(STOP_SECONDS)


@contextmanager
def _plainly() -> Iterator[None]:
    yield


@contextmanager
def _handlers(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
