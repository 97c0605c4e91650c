"""The first process of the machine that a real node is: it owns the namespaces in which everything of the node lives.

Started by `sandbox.realnode` as process 1 of new PID, mount, network, IPC and UTS namespaces. Whatever runs in them
(containerd, its shims, the kubelet, containers) ends with this process, however it ends, and the kernel takes mounts
and network devices away with the namespaces: nothing has to be cleaned up, and nothing can be forgotten.

    python -I -S machine.py FOLDER LOCK

FOLDER keeps what a disk would: its `lib` and `log` are the machine's /var/lib and /var/log. LOCK is a file that only
one machine at a time can hold; another one waits. FOLDER/machine.pid, the number of this process outside, says that the
machine is there. Only the standard library is used.
"""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path


def main() -> None:
    folder, lock = Path(sys.argv[1]), Path(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    held = lock.open("a")
    fcntl.flock(held, fcntl.LOCK_EX)
    # /proc still is that of the machine outside.
    number = Path("/proc/self").readlink()
    _mount(folder)
    partial = folder / "machine.pid.partial"
    partial.write_text(str(number))
    partial.replace(folder / "machine.pid")
    _reap()


def _mount(folder: Path) -> None:
    """Make /run, /var/lib and /var/log the machine's own, so that every program can keep to its usual places."""
    for name in ("lib", "log"):
        (folder / name).mkdir(exist_ok=True)
    mounts = [
        ["--types", "proc", "proc", "/proc"],
        ["--types", "tmpfs", "tmpfs", "/run"],
        ["--bind", str(folder / "lib"), "/var/lib"],
        ["--bind", str(folder / "log"), "/var/log"],
        # As systemd has it: containers may ask for mounts that come later.
        ["--make-rshared", "/"],
    ]
    for arguments in mounts:
        subprocess.run(["mount", *arguments], check=True)


def _reap() -> None:
    """Collect what ends without a parent, for ever."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.sigtimedwait([signal.SIGCHLD], 0.5)


if __name__ == "__main__":
    main()
