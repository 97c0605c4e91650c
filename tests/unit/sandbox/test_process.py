"""Supervised programs: they die with their owner, with everything they started and the folder they ran in."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.process import ProcessError, Supervisor, wait_until

FAMILY = ["sh", "-c", "sleep 600 & echo $! > child.pid; wait"]
"""A program that starts another."""


def gone(pid: int) -> bool:
    """Whether no process has this number any more; a zombie that nobody has reaped yet counts as gone."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state in ("", "Z") or state.startswith("Z")


def child_of_family(folder: Path) -> int:
    file = folder / "child.pid"
    wait_until(lambda: file.is_file() and file.read_text().endswith("\n"), timeout=10, what="the family")
    return int(file.read_text())


def test_stopping_kills_descendants_and_removes_the_folder() -> None:
    with Supervisor() as supervisor:
        assert supervisor.folder.stat().st_mode & 0o777 == 0o700
        process = supervisor.start("family", FAMILY)
        pids = [process.pid, child_of_family(supervisor.folder), supervisor.pid]
    assert not supervisor.folder.exists()
    assert all(gone(pid) for pid in pids)
    supervisor.stop()


def test_a_program_that_ends_takes_its_descendants_along() -> None:
    with Supervisor() as supervisor:
        process = supervisor.start("family", ["sh", "-c", "sleep 600 & echo $! > child.pid"])
        child = child_of_family(supervisor.folder)
        wait_until(lambda: process.exit_code() == 0, timeout=10, what="the end of the program")
        wait_until(lambda: gone(child), timeout=10, what="the end of its child")


def test_a_program_that_dies_early_is_reported_with_the_end_of_its_log() -> None:
    with Supervisor() as supervisor:
        process = supervisor.start("unlucky", ["sh", "-c", "echo first; echo no such flag >&2; exit 3"])
        with pytest.raises(ProcessError, match=r"(?s)unlucky ended with exit code 3.*unlucky\.log.*no such flag"):
            process.wait_ready(lambda: False, timeout=10)


def test_a_program_that_is_never_ready_is_reported() -> None:
    with Supervisor() as supervisor:
        process = supervisor.start("lazy", ["sh", "-c", "echo still thinking; exec sleep 600"])
        wait_until(lambda: process.log.stat().st_size > 0, timeout=10, what="its first line")
        with pytest.raises(ProcessError, match=r"(?s)lazy was not ready after 0.1 s.*still thinking"):
            process.wait_ready(lambda: False, timeout=0.1)


def test_a_missing_program_is_reported() -> None:
    with Supervisor() as supervisor, pytest.raises(ProcessError, match="no-such-program"):
        supervisor.start("missing", ["/no-such-program"])


def test_stop_gives_time_to_end_gently() -> None:
    with Supervisor() as supervisor:
        gentle = supervisor.start(
            "gentle", ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"]
        )
        stubborn = supervisor.start("stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
        logs = (gentle.log, stubborn.log)
        wait_until(lambda: all(log.stat().st_size > 0 for log in logs), timeout=10, what="their traps")
        assert gentle.stop(grace=10) == 7
        assert stubborn.stop(grace=0.1) == -signal.SIGKILL


def test_a_stopped_program_can_be_started_again_into_the_same_log() -> None:
    with Supervisor() as supervisor:
        first = supervisor.start("twice", ["sh", "-c", "echo hello; exec sleep 600"])
        wait_until(lambda: first.log.stat().st_size > 0, timeout=10, what="its first line")
        first.stop()
        second = supervisor.start("twice", ["echo", "again"])
        wait_until(lambda: second.exit_code() == 0, timeout=10, what="its end")
        assert second.log.read_text() == "hello\nagain\n"


def test_the_same_name_cannot_run_twice() -> None:
    with Supervisor() as supervisor:
        supervisor.start("one", ["sleep", "600"])
        with pytest.raises(ProcessError, match="one runs already"):
            supervisor.start("one", ["sleep", "600"])


OWNER = """
import sys, time
from sandbox.process import Supervisor
supervisor = Supervisor()
process = supervisor.start("family", sys.argv[1:])
print(supervisor.folder, supervisor.pid, process.pid, flush=True)
while True:  # a signal that comes just before a sleep is noticed after it
    time.sleep(0.1)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_an_owner_that_a_signal_ends(number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, *FAMILY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout is not None
    folder, *numbers = owner.stdout.readline().split()
    pids = [child_of_family(Path(folder)), *map(int, numbers)]
    owner.send_signal(number)
    owner.communicate()
    wait_until(lambda: all(gone(pid) for pid in pids), timeout=10, what="the end of every process")
    wait_until(lambda: not Path(folder).exists(), timeout=10, what="the end of the folder")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_programs_die_with_a_killed_supervisor() -> None:
    with Supervisor() as supervisor:
        process = supervisor.start("patient", ["sleep", "600"])
        os.kill(supervisor.pid, signal.SIGKILL)
        wait_until(lambda: gone(process.pid), timeout=10, what="the end of the program")
        with pytest.raises(ProcessError, match="supervisor was killed"):
            process.check()
    assert not supervisor.folder.exists()
