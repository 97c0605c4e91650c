"""A working directory that comes along: a ConfigMap, and how its files get back into a folder in the container.

A ConfigMap is flat and read-only, and tools want to write beside their files. So each file is a key, the volume's
`items` give it its path again, and a shell copies all of it into an empty folder before the command begins there.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spacelift_aws_cli.exits import UserError

LIMIT = 900_000
"""Bytes of files and paths. A request may have 1.5 MiB, and base64 makes 1.2 million of these."""
LEFT_OUT = frozenset({".git", ".terraform", "node_modules", "__pycache__"})
"""Folders that can be made again, and would be most of what is sent."""

SOURCE, WORKSPACE = "/run/workspace-source", "/run/workspace"
_SCRIPT = f'cp -RL {SOURCE}/dir/. {WORKSPACE}/ && cd {WORKSPACE} && exec "$@"'


@dataclass(frozen=True, slots=True)
class File:
    """One file of the folder; `path` is relative to it."""

    path: str
    content: bytes
    executable: bool = False


def check_size(sizes: Mapping[str, int], folder: str) -> None:
    """Raises UserError where the files, by path, are too many bytes for a ConfigMap, or none at all."""
    if not sizes:
        raise UserError(f"{folder} holds no file: give another --dir, or leave it out.")
    total = sum(sizes.values()) + sum(len(path) for path in sizes)
    if total > LIMIT:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        named = ", ".join(f"{path} ({sizes[path]:,} bytes)" for path in largest)
        raise UserError(
            f"{folder} is {total:,} bytes, and at most {LIMIT:,} can be sent: let the run fetch it (git, an image), "
            f"or leave out the largest: {named}."
        )


def config_map(name: str, files: Sequence[File], run: Mapping[str, Any]) -> dict[str, Any]:
    """The ConfigMap. It belongs to the Run, and is deleted with it."""
    metadata = run["metadata"]
    owner = {"apiVersion": run["apiVersion"], "kind": run["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": metadata["namespace"], "ownerReferences": [owner]},
        "immutable": True,
        "binaryData": {f"f{index}": base64.b64encode(one.content).decode() for index, one in enumerate(files)},
    }


def brought_along(run: Mapping[str, Any], name: str, files: Sequence[File]) -> dict[str, Any]:
    """The Run whose first container begins in the folder, from the ConfigMap of that name. Raises UserError."""
    spec = run["spec"]
    pod = spec["template"]["spec"]
    first, *others = pod["containers"]
    if not first.get("command"):
        raise UserError(
            "--dir needs the container's `command`: the plugin does not know what an image starts by itself."
        )
    items = [
        {"key": f"f{index}", "path": f"dir/{one.path}", "mode": 0o755 if one.executable else 0o644}
        for index, one in enumerate(files)
    ]
    volumes = [
        {"name": "workspace-source", "configMap": {"name": name, "items": items}},
        {"name": "workspace", "emptyDir": {}},
    ]
    mounts = [
        {"name": "workspace-source", "mountPath": SOURCE, "readOnly": True},
        {"name": "workspace", "mountPath": WORKSPACE},
    ]
    container = {
        **first,
        "command": ["/bin/sh", "-c", _SCRIPT, "sh", *first["command"]],
        "volumeMounts": [*(first.get("volumeMounts") or ()), *mounts],
    }
    whole = {**pod, "containers": [container, *others], "volumes": [*(pod.get("volumes") or ()), *volumes]}
    return {**run, "spec": {**spec, "template": {**spec["template"], "spec": whole}}}
