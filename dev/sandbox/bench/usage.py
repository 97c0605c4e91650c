"""What a process has used: processor time and memory by proc(5), instructions by perf where the machine counts them."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Of one process at one moment."""

    cpu: float
    """Seconds of user and system time since its start."""
    rss: float
    """MiB resident now."""
    peak: float
    """MiB resident at its highest."""
    at: float
    """When that was, by the monotonic clock."""


def usage(pid: int) -> Usage:
    """See proc(5)."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
    lines = (line.partition(":") for line in (process / "status").read_text().splitlines())
    memory = {name: int(value.split()[0]) / 1024 for name, _, value in lines if name in ("VmHWM", "VmRSS")}
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Usage(cpu, memory["VmRSS"], memory["VmHWM"], time.monotonic())


class Instructions:
    """Counts the instructions of a running process; None comes out where perf or the processor's counters are not."""

    def __init__(self, pid: int) -> None:
        perf = shutil.which("perf")
        self._perf = perf and subprocess.Popen(
            [perf, "stat", "-x,", "-e", "instructions", "-p", str(pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> int | None:
        """How many there were since the start of counting."""
        if not self._perf:
            return None
        self._perf.send_signal(signal.SIGINT)
        _, said = self._perf.communicate(timeout=10)
        for line in said.splitlines():
            with contextlib.suppress(ValueError):
                return int(line.split(",")[0])
        return None
