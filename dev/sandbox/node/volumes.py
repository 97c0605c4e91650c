"""Secrets as files in containers, with what matters of the kubelet's behaviour.

A volume is written as the kubelet's AtomicWriter does: every version into a folder of its own, to which `..data` is a
link that is swapped by a rename. A reader sees one version or the next, never a mixture. A pod starts only when all its
Secrets are there; what it has mounted stays as it is while a Secret is missing.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.node.apiserver import UNREACHABLE, ApiError

log = logging.getLogger(__name__)

SYNC_EVERY = 1.0
"""Seconds between two looks at the Secrets of running pods: a kubelet takes a minute and more, a test has none."""

_READABLE = 0o644
_LINK = "..data"

Read = Callable[[str], Awaitable[Mapping[str, str] | None]]
"""What a Secret holds, by its name; None without it."""


class Volumes:
    """The Secret volumes of one pod, in a folder of the pod's own."""

    def __init__(self, spec: Mapping[str, Any], folder: Path, read: Read) -> None:
        self._secrets = {one["name"]: one["secret"] for one in spec.get("volumes") or () if "secret" in one}
        self._folder = folder
        self._read = read

    async def bring(self) -> bool:
        """Write what the Secrets hold now; False where one is missing that has to be there."""
        complete = True
        for name, source in self._secrets.items():
            try:
                content = await self._read(source["secretName"])
            except (ApiError, *UNREACHABLE) as error:
                log.info("volume %s: %s", name, error)
                complete = False
                continue
            if content is None:
                complete = complete and bool(source.get("optional"))
                content = {} if source.get("optional") else None
            if content is not None:
                publish(self._folder / name, content, source.get("defaultMode", _READABLE))
        return complete

    async def keep(self) -> None:
        """Bring what changes, until cancelled."""
        while self._secrets:
            await asyncio.sleep(SYNC_EVERY)
            await self.bring()

    def mounts(self, container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Folder and place of each that a container mounts."""
        for mount in container.get("volumeMounts") or ():
            if mount["name"] in self._secrets:
                yield str(self._folder / mount["name"]), mount["mountPath"]


def publish(folder: Path, content: Mapping[str, str], mode: int) -> None:
    """Make these files the folder's content, all at once."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = {name: text.encode(errors="surrogateescape") for name, text in content.items()}
    before = folder / (folder / _LINK).readlink() if (folder / _LINK).is_symlink() else None
    if before is not None and {path.name: path.read_bytes() for path in before.iterdir()} == encoded:
        return
    version = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    version.chmod(0o755)
    for name, data in encoded.items():
        (version / name).write_bytes(data)
        (version / name).chmod(mode)
    swap = folder / "..data_tmp"
    swap.symlink_to(version.name)
    swap.rename(folder / _LINK)
    for name in encoded:
        with suppress(FileExistsError):
            (folder / name).symlink_to(f"{_LINK}/{name}")
    for path in folder.iterdir():
        if not path.name.startswith("..") and path.name not in encoded:
            path.unlink()
    if before is not None:
        shutil.rmtree(before)
