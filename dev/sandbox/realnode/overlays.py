"""Whether overlays, which make a container's file system in no time, work here."""

import subprocess
from pathlib import Path


def overlays_work(folder: Path) -> bool:
    """Whether the file system under `folder` can carry overlays, as root; one that is an overlay itself cannot."""
    trial = folder / "overlay"
    for name in ("lower", "upper", "work", "merged"):
        (trial / name).mkdir(parents=True)
    options = f"lowerdir={trial / 'lower'},upperdir={trial / 'upper'},workdir={trial / 'work'}"
    mount = ["mount", "--types", "overlay", "overlay", "--options", options, str(trial / "merged")]
    return subprocess.run(["unshare", "--mount", *mount], capture_output=True).returncode == 0
