"""Kubeconfig files with one cluster, one user and one context."""

import base64
import json
from pathlib import Path
from typing import Any

from sandbox.certificates import KeyPair


def cluster_entry(server: str, authority: Path) -> dict[str, Any]:
    """The `cluster` of a kubeconfig for `server`, whose certificate `authority` (a PEM file) signed."""
    return {"server": server, "certificate-authority-data": _encoded(authority)}


def client_certificate(pair: KeyPair) -> dict[str, Any]:
    """The `user` of a kubeconfig who presents a client certificate."""
    return {"client-certificate-data": _encoded(pair.certificate), "client-key-data": _encoded(pair.key)}


def write(path: Path, *, cluster: dict[str, Any], user: dict[str, Any], name: str, namespace: str = "default") -> Path:
    """Write a kubeconfig (JSON, which is YAML too) that only its owner can read, from the first byte on; its path."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": "sandbox", "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(content, indent=2))
    return partial.replace(path)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
