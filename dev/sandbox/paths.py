"""Where the sandbox keeps what outlives one command."""

import os
import platform
import sys
from pathlib import Path

MODULES = Path(__file__).with_name("modules")
"""The pinned Go modules that the binaries can be built from, one folder each."""

SCRATCH_PREFIX = ".partial-"
"""What folders of unfinished downloads and builds are called, beside the finished programs."""


def cache_folder() -> Path:
    """The project's folder under the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "spacelift-aws"


def go_platform() -> tuple[str, str]:
    """This machine as Go names it: operating system and processor, such as `("linux", "arm64")`."""
    machine = platform.machine().lower()
    return sys.platform, {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def binary_folder(version: str) -> Path:
    """Where binaries of `version` (`v1.37.2`) for this machine are cached."""
    return cache_folder() / "bin" / version / "-".join(go_platform())
