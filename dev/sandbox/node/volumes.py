"""Secrets as files in containers, with what matters of the kubelet's behaviour; ConfigMaps and empty folders simpler.

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
    """The volumes of one pod, in a folder of the pod's own."""

    def __init__(self, spec: Mapping[str, Any], folder: Path, read: Read, read_config: Read) -> None:
        volumes = spec.get("volumes") or ()
        self._secrets = {one["name"]: one["secret"] for one in volumes if "secret" in one}
        self._config = {one["name"]: one["configMap"] for one in volumes if "configMap" in one}
        self._empty = {one["name"] for one in volumes if "emptyDir" in one}
        self._folder = folder
        self._read = read
        self._read_config = read_config

    async def bring(self) -> bool:
        """Write what Secrets and ConfigMaps hold now; False where one is missing that has to be there."""
        complete = await self._bring_config()
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

    async def _bring_config(self) -> bool:
        """Once: what changes in a ConfigMap later is not brought."""
        for name in self._empty:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        for name, source in self._config.items():
            if (self._folder / name).exists():
                continue
            try:
                content = await self._read_config(source["name"])
            except (ApiError, *UNREACHABLE) as error:
                log.info("volume %s: %s", name, error)
                content = None
            if content is None:
                return False
            place(self._folder / name, content, source)
        return True

    async def keep(self) -> None:
        """Bring what changes, until cancelled."""
        while self._secrets:
            await asyncio.sleep(SYNC_EVERY)
            await self.bring()

    def mounts(self, container: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
        """Of each that a container mounts: the folder, the place, and whether it can write there."""
        for mount in container.get("volumeMounts") or ():
            name = mount["name"]
            if name in self._secrets or name in self._config or name in self._empty:
                yield str(self._folder / name), mount["mountPath"], name in self._empty and not mount.get("readOnly")


def place(folder: Path, content: Mapping[str, str], source: Mapping[str, Any]) -> None:
    """Write a ConfigMap's keys as files, or those of them that the volume's items name, under the items' paths."""
    mode = source.get("defaultMode", _READABLE)
    items = source.get("items") or [{"key": key, "path": key} for key in content]
    folder.mkdir(parents=True)
    for item in items:
        file = folder / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content[item["key"]].encode(errors="surrogateescape"))
        file.chmod(item.get("mode", mode))


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
