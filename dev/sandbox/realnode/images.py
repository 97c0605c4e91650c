"""Images for the real node's pods, made here from Debian packages and kept in the project's cache folder.

Each function gives the path of a docker-archive, made first if this user never did; a file's name tells what it is made
of, so a change leads to another one.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from sandbox import paths
from sandbox.progress import Say, to_stderr
from sandbox.realnode import archive, config, packages

BUSYBOX = "localhost/busybox:1"

_USERS = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUPS = b"root:x:0:\nnogroup:x:65534:\n"


def pause(say: Say = to_stderr) -> Path:
    """The image that holds a pod's namespaces: a program that sleeps."""
    return _made("pause", config.PAUSE, _pause, say)


def busybox(say: Say = to_stderr) -> Path:
    """A shell and the small programs that go with it: `BUSYBOX`."""
    return _made("busybox", BUSYBOX, _busybox, say)


def _made(name: str, reference: str, make: Callable[[Path, Path], Path], say: Say) -> Path:
    packages.ensure(packages.NODE, say)
    program = Path(shutil.which("busybox") or "/usr/bin/busybox")
    key = hashlib.sha256(program.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
    target = folder() / f"{name}-{key}.tar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=paths.SCRATCH_PREFIX) as scratch:
            command = ["sleep", "1000000000"] if name == "pause" else ["sh"]
            archive.write(target, reference, make(Path(scratch) / "layer.tar", program), command=command)
    return target


def folder() -> Path:
    """Where all archives of images are kept."""
    return paths.cache_folder() / "images"


def _pause(target: Path, program: Path) -> Path:
    return archive.layer(target, {"bin/busybox": program}, {"bin/sleep": "busybox"}, {"bin": 0o755})


def _busybox(target: Path, program: Path) -> Path:
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files: dict[str, bytes | Path] = {"bin/busybox": program, "etc/passwd": _USERS, "etc/group": _GROUPS}
    links = {f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"}
    return archive.layer(target, files, links, {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777})
