"""The Debian packages that a real node and its images are made with: looked for, and installed where they lack."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sandbox.progress import Say, to_stderr

NODE: Mapping[str, str] = {
    "/usr/bin/containerd": "containerd",
    "/usr/sbin/runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/bin/nsenter": "util-linux",
    "/usr/sbin/ip": "iproute2",
    "/usr/bin/busybox": "busybox-static",
}
"""What a node needs: the package of each file."""

IMAGES: Mapping[str, str] = {
    "/usr/bin/buildah": "buildah",
    "/usr/sbin/debootstrap": "debootstrap",
}
"""What images are made with: the package of each file."""


class PackageError(RuntimeError):
    """A package could not be installed; apt's own words are on the screen."""


def missing(wanted: Mapping[str, str]) -> list[str]:
    """The packages of `wanted` whose files are not there."""
    return sorted({package for file, package in wanted.items() if not _there(file)})


def installable() -> bool:
    """Whether packages can be installed here: by root, where there is apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def ensure(wanted: Mapping[str, str], say: Say = to_stderr) -> None:
    """Install what of `wanted` is missing; raises PackageError."""
    packages = missing(wanted)
    if not packages:
        return
    if not installable():
        raise PackageError(f"install the packages {', '.join(packages)} (here it takes root and apt-get)")
    say(f"installing the Debian packages {', '.join(packages)}, once")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *packages]
    # A machine whose lists are fresh needs no update; one without any fails at once.
    if subprocess.run(install, env=environment, stdout=2).returncode == 0:
        return
    update = ["apt-get", "update", "--quiet=2"]
    for command in (update, install):
        if subprocess.run(command, env=environment, stdout=2).returncode != 0:
            raise PackageError(f"{' '.join(command)} failed")


def _there(file: str) -> bool:
    """A program may lie anywhere on the PATH; what is no program has to lie where it is said."""
    name = Path(file).name
    return Path(file).exists() or shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is not None
