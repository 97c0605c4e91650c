"""Images as files: docker-archives, which `ctr images import` and `buildah` read, made without any engine."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox import paths

_TIME = "1970-01-01T00:00:00Z"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write(
    target: Path,
    reference: str,
    layer: Path,
    *,
    command: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    user: str = "",
) -> Path:
    """Write the docker-archive `target` of an image of one layer, a tar of its whole file system; its path.

    `reference` is the image's name with its tag. `user`: numbers, `65532:65532`. The file appears when it is whole.
    """
    digest = _sha256(layer)
    image = json.dumps(
        {
            "architecture": paths.go_platform()[1],
            "os": "linux",
            "created": _TIME,
            "config": {
                "Cmd": list(command),
                "Env": [f"{name}={value}" for name, value in {"PATH": _PATH, **(environment or {})}.items()],
                "User": user,
                "WorkingDir": "/",
            },
            # buildah counts layers by it.
            "history": [{"created": _TIME, "created_by": "spacelift-aws-sandbox"}],
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(image).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}.tar"]}]).encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{paths.SCRATCH_PREFIX}{target.name}")
    with tarfile.open(partial, "w") as archive:
        _add(archive, name, image)
        archive.add(layer, f"{digest}.tar")
        _add(archive, "manifest.json", manifest)
    return partial.replace(target)


def layer(
    target: Path, files: Mapping[str, bytes | Path], links: Mapping[str, str], folders: Mapping[str, int]
) -> Path:
    """Write the tar `target` of a small file system that root owns; its path.

    `files`: contents (mode 0644) or programs to copy (mode 0755), `links`: symbolic links and where they lead,
    `folders`: modes; all by path without the leading slash.
    """
    with tarfile.open(target, "w") as archive:
        for path, mode in folders.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for path, content in files.items():
            if isinstance(content, Path):
                _add(archive, path, content.read_bytes(), mode=0o755)
            else:
                _add(archive, path, content)
        for path, destination in links.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, destination
            archive.addfile(entry)
    return target


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
