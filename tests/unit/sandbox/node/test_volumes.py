"""Secrets as files: a reader sees one version or the next."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.node.volumes import Volumes, publish

SPEC = {"volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 0o444}}, {"name": "w", "emptyDir": {}}]}


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith("..")}


def test_a_version_replaces_the_one_before_with_all_its_files(tmp_path: Path) -> None:
    publish(tmp_path, {"a": "1", "b": "1"}, 0o444)
    assert content(tmp_path) == {"a": "1", "b": "1"}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o444
    publish(tmp_path, {"b": "2", "c": "2"}, 0o444)
    assert content(tmp_path) == {"b": "2", "c": "2"}
    assert len(list(tmp_path.iterdir())) == 4, "two files, the link and one version"


def test_no_reader_ever_finds_a_file_missing_or_half(tmp_path: Path) -> None:
    publish(tmp_path, {"a": "0" * 5000}, 0o444)
    seen: set[str] = set()
    over = threading.Event()

    def version_now() -> Path | None:
        with suppress(FileNotFoundError):
            return (tmp_path / "..data").readlink()
        return None

    def content_now() -> str:
        while (version := version_now()) is not None:
            with suppress(FileNotFoundError):
                return (tmp_path / "a").read_text()
            # Who followed the link just before that version went looks again, as beside a real kubelet.
            if version_now() == version:
                break
        return "missing"

    def read() -> None:
        while not over.is_set():
            text = content_now()
            seen.add(text if len(text) != 5000 or len(set(text)) != 1 else text[0])

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(200):
        publish(tmp_path, {"a": str(version % 10) * 5000}, 0o444)
    over.set()
    reader.join()
    assert seen <= set("0123456789")


class Secrets:
    """What a namespace holds."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, str]] = {}

    async def read(self, name: str) -> Mapping[str, str] | None:
        return self.held.get(name)


async def test_a_secret_has_to_be_there_first_and_may_be_missing_later(tmp_path: Path) -> None:
    secrets = Secrets()
    volumes = Volumes(SPEC, tmp_path, secrets.read, secrets.read)
    assert not await volumes.bring()
    secrets.held["s"] = {"a": "1"}
    assert await volumes.bring()
    del secrets.held["s"]
    await volumes.bring()
    assert content(tmp_path / "v") == {"a": "1"}


async def test_only_what_a_container_mounts_is_mounted(tmp_path: Path) -> None:
    volumes = Volumes(SPEC, tmp_path, Secrets().read, Secrets().read)
    container: dict[str, Any] = {"volumeMounts": [{"name": "v", "mountPath": "/x"}, {"name": "t", "mountPath": "/y"}]}
    assert list(volumes.mounts(container)) == [(str(tmp_path / "v"), "/x", False)]
    assert list(volumes.mounts({})) == []


async def test_a_config_map_comes_once_under_the_paths_of_its_items(tmp_path: Path) -> None:
    held = Secrets()
    items = [{"key": "f0", "path": "dir/a/b", "mode": 0o755}]
    spec = {"volumes": [{"name": "c", "configMap": {"name": "m", "items": items}}, {"name": "e", "emptyDir": {}}]}
    volumes = Volumes(spec, tmp_path, Secrets().read, held.read)
    assert not await volumes.bring()
    held.held["m"] = {"f0": "1", "f1": "left out"}
    assert await volumes.bring()
    file = tmp_path / "c" / "dir" / "a" / "b"
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("1", 0o755)
    mounts = [{"name": name, "mountPath": f"/run/{name}"} for name in ("c", "e")]
    assert [writable for _, _, writable in volumes.mounts({"volumeMounts": mounts})] == [False, True]
