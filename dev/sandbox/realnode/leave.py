"""What a real node leaves behind on its machine, and its end: cgroups, and sysctls that a kubelet sets.

The supervisor runs this after all processes are dead; a node that starts runs it too, in case nobody could before.

    python -I -S leave.py CGROUP SYSCTLS

CGROUP is the name of the node's cgroup in every hierarchy; SYSCTLS a JSON file with the values to restore, by path
under /proc/sys, or nothing. Only the standard library is used.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

_HIERARCHIES = Path("/sys/fs/cgroup")
_WITHIN = 10.0


def remove_cgroups(name: str) -> None:
    """Remove the cgroup `name` with all below it; those whose last process is still dying within some seconds."""
    deadline = time.monotonic() + _WITHIN
    for top in (_HIERARCHIES / name, *_HIERARCHIES.glob(f"*/{name}")):
        while top.is_dir() and time.monotonic() < deadline:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if top.is_dir():
                time.sleep(0.1)


def restore_sysctls(file: Path) -> None:
    if not file.exists():
        return
    for name, value in json.loads(file.read_text()).items():
        with contextlib.suppress(OSError):
            Path("/proc/sys", name).write_text(value)


if __name__ == "__main__":
    remove_cgroups(sys.argv[1])
    restore_sysctls(Path(sys.argv[2]))
