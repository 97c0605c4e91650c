"""Python programs that cannot share our environment, each in one of its own, made once in the user's cache folder.

ministack and the AWS CLI pin a botocore of their own. What is installed stands in ``requirements/<tool>.txt``, with
versions and hashes; a change of that file, or another Python, leads to another folder.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.paths import cache_folder
from sandbox.progress import Say, to_stderr

_HERE = Path(__file__).resolve().parent


class ToolError(RuntimeError):
    """A tool could not be installed; the text says which command failed, whose own words are on the screen."""


def tool(name: str, say: Say = to_stderr) -> Path:
    """The ``bin`` folder of a tool's environment, installed first if this user never did; raises `ToolError`."""
    requirements = _HERE / "requirements" / f"{name}.txt"
    version = f"{sys.implementation.cache_tag}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    home = cache_folder() / "tools" / f"{name}-{version}"
    if not _whole(home):
        home.parent.mkdir(parents=True, exist_ok=True)
        # Two commands started at the same moment must not install into one folder.
        with locked(home.with_suffix(".lock")):
            if not _whole(home):
                say(f"Installing {name} into {home} (once)")
                _install(requirements, home)
    return home / "bin"


def only(command: str, bin_folder: Path) -> Path:
    """A folder that holds this one command, to be put on a PATH without the rest of its environment."""
    folder = bin_folder.parent / f"only-{command}"
    folder.mkdir(exist_ok=True)
    link = folder / command
    if not link.exists():
        # Renamed into place, because another process may be making it too.
        partial = folder / f".{command}.{os.getpid()}"
        partial.symlink_to(bin_folder / command)
        partial.replace(link)
    return folder


def _install(requirements: Path, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    uv = find_uv()
    _run([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(home)])
    # fmt: off
    _run([uv, "pip", "install", "--python", str(home / "bin" / "python"), "--require-hashes", "--compile-bytecode",
          "-r", str(requirements)])
    # fmt: on
    (home / "complete").touch()


def _whole(home: Path) -> bool:
    """Installed to the end, and the Python it was made with is still there."""
    return (home / "complete").exists() and (home / "bin" / "python").exists()


def find_uv() -> str:
    """uv: the one that runs us, else the one on the PATH, else our own pinned copy."""
    return os.environ.get("UV") or shutil.which("uv") or str(_HERE.parent / "uv")


def _run(command: list[str]) -> None:
    # uv's output is progress and goes to the screen; VIRTUAL_ENV would only make it warn.
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    try:
        subprocess.run(command, check=True, env=environment, stdout=2)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError(f"{' '.join(command)}: {error}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, made if need be, while the context lasts; others wait."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
