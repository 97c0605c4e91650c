"""From a kubeconfig, or a pod's service account, to what a connection needs. As client-go reads it.

Several files of `KUBECONFIG` are merged, the first that says something wins; relative paths are relative to their file.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacelift_aws_cli.kube.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True)
class Access:
    """Where the API server is, and as whom to ask it. `cluster` and `user` are a kubeconfig's own entries."""

    cluster: Mapping[str, Any]
    user: Mapping[str, Any] = field(repr=False)
    namespace: str
    context: str

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self.cluster["server"]).rstrip("/")


def load(path: str | None, context: str | None, environment: Mapping[str, str] = os.environ) -> Access:
    """The access that kubectl would use. Raises ConfigError."""
    files = list(_files(path, environment))
    if not files:
        return _in_cluster(environment)
    config = _merged(files)
    name = context or config.get("current-context")
    if not name:
        raise ConfigError("The kubeconfig has no current context: choose one with --context.")
    entry = _named(config, "contexts", name, "context")
    return Access(
        cluster=_cluster(config, entry, name),
        user=_named(config, "users", entry["user"], "user") if entry.get("user") else {},
        namespace=str(entry.get("namespace") or "default"),
        context=str(name),
    )


def _files(path: str | None, environment: Mapping[str, str]) -> Iterator[Path]:
    if path is not None:
        if not Path(path).is_file():
            raise ConfigError(f"There is no kubeconfig {path}: correct --kubeconfig.")
        yield Path(path)
        return
    listed = environment.get("KUBECONFIG")
    candidates = [Path(one) for one in listed.split(os.pathsep) if one] if listed else [Path("~/.kube/config")]
    for candidate in candidates:
        if (file := candidate.expanduser()).is_file():
            yield file


def _merged(files: list[Path]) -> dict[str, Any]:
    config: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}}
    for file in files:
        content = _read(file)
        if content.get("current-context"):
            config.setdefault("current-context", content["current-context"])
        for kind, inner in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            for entry in content.get(kind) or ():
                config[kind].setdefault(entry["name"], _absolute(entry.get(inner) or {}, file.parent))
    return config


def _read(file: Path) -> Mapping[str, Any]:
    from spacelift_aws_cli.output.documents import parse_one

    try:
        content = parse_one(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"The kubeconfig {file} cannot be read: {error}") from None
    return content or {}


def _absolute(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {key: str(folder / value) if key in _PATHS and value else value for key, value in entry.items()}


def _named(config: Mapping[str, Any], kind: str, name: str, word: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = config[kind].get(name)
    if found is None:
        known = ", ".join(sorted(config[kind])) or "none"
        raise ConfigError(f"The kubeconfig has no {word} {name}: it knows {known}.")
    return found


def _cluster(config: Mapping[str, Any], context: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    cluster = _named(config, "clusters", context.get("cluster", ""), "cluster")
    if not cluster.get("server"):
        raise ConfigError(f"The cluster of context {name} has no server: correct the kubeconfig.")
    return cluster


def _in_cluster(environment: Mapping[str, str]) -> Access:
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (SERVICE_ACCOUNT / "token").exists():
        raise ConfigError("There is no kubeconfig: set KUBECONFIG, or give --kubeconfig.")
    address = f"[{host}]" if ":" in host else host
    namespace = SERVICE_ACCOUNT / "namespace"
    return Access(
        cluster={"server": f"https://{address}:{port}", "certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")},
        user={"tokenFile": str(SERVICE_ACCOUNT / "token")},
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        context="in-cluster",
    )
