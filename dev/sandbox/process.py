"""Programs that run beside the sandbox's owner and never outlive it; see `supervisor.py` for how that is kept."""

import collections
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class ProcessError(RuntimeError):
    """A program could not be started, ended too early or did not become ready; the text shows the end of its log."""


_CROWDED = 3
"""How many times as long a crowded machine may take as a quiet one: the limits that callers give are a quiet one's."""


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str, interval: float = 0.02) -> None:
    """Ask `condition` until it is true; TimeoutError naming `what` once a crowded machine's `timeout` seconds are over.

    The pauses begin with `interval` seconds and grow to a tenth of the time waited so far, at most half a second: who
    waits long takes little from the processor that the others wait for.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > timeout * _CROWDED:
            raise TimeoutError(f"waited {waited:.0f} s in vain for {what}")
        time.sleep(max(interval, min(waited / 10, 0.5)))


def log_tail(log: Path, lines: int = 20) -> str:
    """The last `lines` lines of `log`, or a note that there are none."""
    try:
        with log.open(errors="replace") as stream:
            return "".join(collections.deque(stream, maxlen=lines)).rstrip() or "(the log is empty)"
    except FileNotFoundError:
        return "(there is no log)"


class Process:
    """One program under a supervisor; `log` receives its standard output and error, across restarts."""

    def __init__(self, supervisor: "Supervisor", name: str, pid: int, log: Path) -> None:
        self._supervisor = supervisor
        self.name = name
        self.pid = pid
        self.log = log

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        code: int | None = self._supervisor.request("poll", name=self.name)["code"]
        return code

    def check(self) -> None:
        """ProcessError if the program has ended."""
        code = self.exit_code()
        if code is not None:
            raise ProcessError(f"{self.name} ended with exit code {code}; {self._end_of_log()}")

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until `ready()`; ProcessError with the end of the log if the program ends first or takes too long."""

        def ready_or_dead() -> bool:
            self.check()
            return ready()

        try:
            wait_until(ready_or_dead, timeout=timeout, what=self.name)
        except TimeoutError:
            raise ProcessError(f"{self.name} was not ready after {timeout:g} s; {self._end_of_log()}") from None

    def stop(self, grace: float = 5.0) -> int:
        """Ask it to end (SIGTERM), kill it with its whole group after `grace` seconds; its exit code.

        With `grace=0` it is killed at once.
        """
        code: int = self._supervisor.request("stop", name=self.name, grace=grace)["code"]
        return code

    def _end_of_log(self) -> str:
        return f"the last lines of {self.log}:\n{log_tail(self.log)}"


class Supervisor:
    """Owns a folder (mode 0700) and the programs started by `start`; both are gone soon after this process is.

    They go when `stop` is called or the context left, and also when this process ends in any other way.
    """

    def __init__(self, prefix: str = "spacelift-aws-sandbox-") -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SUPERVISOR), prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._supervisor.pid
        self.folder = Path(self._read()["folder"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start `argv` under the unique `name`, its output appended to `<folder>/<name>.log`.

        `env` is the whole environment (default: this process's); `cwd` defaults to the folder. Anybody on the machine
        can read `argv`: nothing secret belongs there.
        """
        log = self.folder / f"{name}.log"
        answer = self.request(
            "start",
            name=name,
            argv=[str(part) for part in argv],
            env=dict(os.environ if env is None else env),
            cwd=str(cwd or self.folder),
            log=str(log),
        )
        return Process(self, name, answer["pid"], log)

    def stop(self) -> None:
        """Kill every program and remove the folder; done when this returns. A second call does nothing."""
        with self._lock:
            if self._supervisor.stdin is None or self._supervisor.stdin.closed:
                return
            # The end of this pipe is the sign; see supervisor.py.
            with contextlib.suppress(BrokenPipeError):
                self._supervisor.stdin.close()
            self._supervisor.wait()
            # Left only by a supervisor that was killed itself.
            shutil.rmtree(self.folder, ignore_errors=True)
            if self._supervisor.stdout is not None:
                self._supervisor.stdout.close()

    def request(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one request of supervisor.py's protocol; its answer, or ProcessError."""
        with self._lock:
            stdin = self._supervisor.stdin
            if stdin is None or stdin.closed:
                raise ProcessError("the sandbox is stopped")
            self._requests += 1
            try:
                print(json.dumps({"id": self._requests, "do": do, **arguments}), file=stdin, flush=True)
            except BrokenPipeError:
                raise ProcessError("the sandbox's supervisor was killed") from None
            # An earlier request that Ctrl-C cut short has left its answer behind.
            while (answer := self._read())["id"] != self._requests:
                pass
        if "error" in answer:
            raise ProcessError(answer["error"])
        return answer

    def _read(self) -> dict[str, Any]:
        stdout = self._supervisor.stdout
        line = stdout.readline() if stdout is not None else ""
        if not line:
            raise ProcessError("the sandbox's supervisor was killed")
        answer: dict[str, Any] = json.loads(line)
        return answer
