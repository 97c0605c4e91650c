"""The parent of all processes of all containers: it alone starts them, sees them end, and leaves none behind.

Started as a script of its own by `sandbox.node.containers`, in a session of its own. It adopts whatever its descendants
orphan (`PR_SET_CHILD_SUBREAPER`), so that a daemon that detached itself is found too. A container has ended when its
first process has; then everything that came of it is killed, and only when nothing is left the end is told, just as the
end of a container's first process ends the container. The end of standard input means that the node is gone, however it
went: everything is killed and the folder with logs and scratch space is removed.

Requests and reports are JSON, one a line; `{"folder": PATH}` comes first and unasked.
    {"do": "start", "id", "argv", "env", "cwd", "log", "mounts"}  ->  {"id", "started": true} or {"id", "failed": text}
    {"do": "signal", "id", "signal": int}               ->  nothing; goes to the process group
    (unasked, once, after "started")                        {"id", "exited": code}, negative: the signal that ended it
`mounts` are a folder, the place below /run where this container alone sees it, and whether it can write; only root can.
Environments may hold secrets: they travel in the pipe only and are never shown. Only the standard library is used
(`python -I -S`).
"""

import contextlib
import ctypes
import functools
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

_TRIES = 1000
"""Milliseconds for which a process that shows no environment is looked at; it may really have none."""

MARKER = "SANDBOX_CONTAINER_ID"
"""The variable by which a process that left its session is still known as part of its container."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl

SECRETS = "/run/secrets"
"""Under this folder alone something is mounted: in a container it is a file system of its own."""


class Keeper:
    """The containers that run, and those whose first process has ended but which left others behind."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
        self._pids: dict[str, int] = {}
        self._leaving: dict[str, tuple[int, int]] = {}

    def start(self, request: dict[str, Any]) -> None:
        container = request["id"]
        try:
            with Path(request["log"]).open("ab") as log:
                child = subprocess.Popen(
                    request["argv"],
                    executable=_executable(request["argv"][0], request["env"].get("PATH", ""), request["cwd"]),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**request["env"], MARKER: container},
                    cwd=request["cwd"],
                    start_new_session=True,
                    preexec_fn=functools.partial(_become_container, request["mounts"]),
                )
        except subprocess.SubprocessError:
            _tell({"id": container, "failed": "mounting a volume"})
            return
        except OSError as error:
            reason = error.strerror or type(error).__name__
            _tell({"id": container, "failed": f'exec: "{request["argv"][0]}": {reason[0].lower()}{reason[1:]}'})
            return
        except ValueError:
            # Python's own words would quote nothing either, but say so by construction.
            _tell({"id": container, "failed": "invalid argument: a NUL byte in the command or the environment"})
            return
        self._running[child.pid] = (container, child)
        self._pids[container] = child.pid
        _tell({"id": container, "started": True})

    def signal(self, request: dict[str, Any]) -> None:
        pid = self._pids.get(request["id"])
        if pid is not None:
            _kill_group(pid, request["signal"])

    def reap(self) -> None:
        """Take note of all that ended: first processes and adopted ones."""
        while (peeked := _peek()) is not None:
            container, child = self._running.pop(peeked, (None, None))
            if container is None or child is None:
                os.waitpid(peeked, 0)
                continue
            # Not waited for yet, so the number cannot belong to another group.
            _kill_group(peeked, signal.SIGKILL)
            child.returncode = os.waitstatus_to_exitcode(os.waitpid(peeked, 0)[1])
            del self._pids[container]
            self._leaving[container] = (peeked, child.returncode)
        self._finish_leaving()

    def _finish_leaving(self) -> None:
        if not self._leaving:
            return
        left = set(self._left_behind())
        for container in [name for name in self._leaving if name not in left]:
            _tell({"id": container, "exited": self._leaving.pop(container)[1]})

    def _left_behind(self) -> Iterator[str]:
        """The leaving containers of which a process is still there; it is killed, and its children come to us then."""
        sessions = {pid: container for container, (pid, _) in self._leaving.items()}
        for pid in _children():
            if pid in self._running:
                continue
            container = sessions.get(_session(pid)) or _marker(pid)
            if container in self._leaving:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                yield container


def adopt_orphans() -> None:
    """From now on, processes that this process's descendants leave behind become its own children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants(patience: float = 10.0) -> None:
    """Kill the children, then what they orphan, until none is left or `patience` seconds are over."""
    deadline = time.monotonic() + patience
    while (pids := _children()) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.002)


def _executable(command: str, search: str, cwd: str) -> str:
    """The file that `command` means to a container runtime; FileNotFoundError or PermissionError in its words."""
    if "/" in command:
        path = Path(cwd, command)
        if not path.exists():
            raise FileNotFoundError(2, f"stat {command}: no such file or directory")
        if path.is_dir() or not os.access(path, os.X_OK):
            raise PermissionError(13, "permission denied")
        return str(path)
    found = shutil.which(command, path=search) if search else None
    if found is None:
        raise FileNotFoundError(2, "executable file not found in $PATH")
    return found


def _become_container(mounts: list[tuple[str, str, bool]]) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if not mounts:
        return
    _checked(_libc.unshare(_CLONE_NEWNS))
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    Path(SECRETS).mkdir(exist_ok=True)
    # Over it, so that the machine's own folder stays as it is.
    _mount("none", SECRETS, "tmpfs", 0)
    for source, place, writable in mounts:
        Path(place).mkdir(parents=True, exist_ok=True)
        _mount(source, place, None, _MS_BIND)
        if not writable:
            _mount("none", place, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _mount(source: str, place: str, kind: str | None, flags: int) -> None:
    encoded = kind.encode() if kind is not None else None
    _checked(_libc.mount(source.encode(), place.encode(), encoded, ctypes.c_ulong(flags), None))


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _peek() -> int | None:
    """A child that ended and was not waited for, if there is one."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _children() -> list[int]:
    """The children of this process, adopted ones included, those that wait to be reaped too.

    Every process of the machine is asked for its parent: the kernel's own list may lack some where others end
    meanwhile; see proc_tid_children(5).
    """
    own = str(os.getpid())
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if _stat(pid)[1:2] == [own]]


def _stat(pid: int) -> list[str]:
    """State, parent, group, session, … of /proc/PID/stat; nothing for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _session(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[3]) if fields else 0


def _marker(pid: int) -> str:
    """The container whose marker a process carries; empty where it carries none."""
    variables = _variables(pid)
    prefix = f"{MARKER}=".encode()
    return next((one[len(prefix) :].decode() for one in variables if one.startswith(prefix)), "")


def _variables(pid: int) -> list[bytes]:
    """A process's environment. While it turns into another program it shows none for a moment, which passes."""
    for _ in range(_TRIES):
        try:
            read = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return []
        if read or _stat(pid)[:1] in ([], ["Z"]):
            return read.split(b"\0")
        time.sleep(0.001)
    return []


def _tell(report: dict[str, Any]) -> None:
    line = json.dumps(report).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def _serve(keeper: Keeper) -> None:
    """Work off requests and ends of children until standard input ends."""
    actions = {"start": keeper.start, "signal": keeper.signal}
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    unread = b""
    while True:
        ready = {key.fd for key, _ in selector.select()}
        if woken in ready:
            os.read(woken, 4096)
            keeper.reap()
        if 0 in ready:
            chunk = os.read(0, 1 << 20)
            if not chunk:
                return
            *lines, unread = (unread + chunk).split(b"\n")
            for line in lines:
                request = json.loads(line)
                actions[request["do"]](request)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    keeper = Keeper()
    folder = Path(tempfile.mkdtemp(prefix=sys.argv[1]))
    try:
        _tell({"folder": str(folder)})
        _serve(keeper)
    except BrokenPipeError:
        pass  # the node died while it was being told something
    finally:
        kill_descendants()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
