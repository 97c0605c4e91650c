"""The process that outlives a crash of the sandbox's owner by just long enough to clean up behind it.

Started as a script of its own by `sandbox.process.Supervisor`. It makes the working folder, starts every program of
the sandbox as its own child, and reads requests from a pipe that only the owner holds open. The end of that pipe means
that the owner is gone, however it went (a return, an exception, `kill -9`): the programs are killed and the folder is
removed. It sits in a session of its own, so that a Ctrl-C in the terminal reaches the owner alone.

Requests and answers are JSON, one a line, one answer a request, carrying its `id`; `{"folder": PATH}` comes unasked.
    {"do": "start", "name", "argv", "env", "cwd", "log"}  ->  {"pid": int}
    {"do": "poll", "name"}                                ->  {"code": int | null}
    {"do": "stop", "name", "grace": seconds}              ->  {"code": int}
    {"do": "at_end", "argv"}                              ->  {}
An `{"error": text}` answers a request that failed. What `at_end` names is run when all programs are dead, before the
folder goes: for what no death of a process takes away. Only the standard library is used: it starts with
`python -I -S`.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_PR_SET_PDEATHSIG = 1
_AT_END_WITHIN = 30.0


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does before it becomes its program: on Linux, ask to die should even this process be killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Children:
    """The programs started so far, by name; each leads a session, so that what it started itself dies with it."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._at_end: list[list[str]] = []
        self._die_with_parent = _die_with_parent()

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        if name in self._running and self._running[name].poll() is None:
            return {"error": f"{name} runs already"}
        with Path(request["log"]).open("ab") as log:
            self._running[name] = subprocess.Popen(
                request["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=request["env"],
                cwd=request["cwd"],
                start_new_session=True,
                preexec_fn=self._die_with_parent,
            )
        return {"pid": self._running[name].pid}

    def poll(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"code": _poll(self._running[request["name"]])}

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._running[request["name"]]
        if _poll(child) is None and request["grace"] > 0:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(request["grace"])
                _kill_group(child.pid)
        return {"code": _end(child)}

    def at_end(self, request: dict[str, Any]) -> dict[str, Any]:
        self._at_end.append(request["argv"])
        return {}

    def kill_all(self) -> None:
        for child in reversed(self._running.values()):
            _end(child)
        for argv in reversed(self._at_end):
            # Nobody is left to be told of a failure.
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_AT_END_WITHIN)


def _poll(child: subprocess.Popen[bytes]) -> int | None:
    """The exit code of `child`, None while it runs. What it leaves behind in its group goes when its end is noticed."""
    if child.returncode is None and child.poll() is not None:
        _kill_group(child.pid)
    return child.returncode


def _end(child: subprocess.Popen[bytes]) -> int:
    """Kill `child` with its group. One whose end was noticed is left alone: its number may be another's by now."""
    if _poll(child) is None:
        _kill_group(child.pid)
    return child.wait()


def _kill_group(leader: int) -> None:
    # macOS says "not permitted" for a group of which only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _remove(folder: Path) -> None:
    """Remove `folder`; a killed process may add a last file while it dies, so more than once if need be."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _serve(children: Children) -> None:
    actions = {"start": children.start, "poll": children.poll, "stop": children.stop, "at_end": children.at_end}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = actions[request["do"]](request)
        except (OSError, KeyError, subprocess.SubprocessError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"id": request["id"], **answer}), flush=True)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children = Children()
    folder = Path(tempfile.mkdtemp(prefix=sys.argv[1]))
    try:
        print(json.dumps({"folder": str(folder)}), flush=True)
        _serve(children)
    except BrokenPipeError:
        pass  # the owner died while it was being answered
    finally:
        children.kill_all()
        _remove(folder)
        # Python would try once more to flush what the dead owner cannot read.
        os._exit(0)


if __name__ == "__main__":
    main()
