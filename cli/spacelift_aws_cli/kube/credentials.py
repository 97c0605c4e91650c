"""Who is asking: bearer tokens, client certificates, and the programs that a kubeconfig names for them."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from spacelift_aws_cli.kube.errors import ConfigError
from spacelift_aws_cli.kube.kubeconfig import Access

EARLY = timedelta(seconds=30)
"""How long before it expires a program's credential is asked for anew."""


@dataclass(frozen=True)
class Credential:
    """One way to prove who is asking. Certificate and key are PEM."""

    authorization: str | None = field(default=None, repr=False)
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    def is_fresh(self, now: datetime) -> bool:
        """Whether it can still be used."""
        return self.expires_at is None or now < self.expires_at - EARLY


class Credentials:
    """The credential of a kubeconfig's user, renewed when it runs out. Token files are read anew for each call."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._known: Credential | None = None

    def current(self) -> Credential:
        """What to send now. Raises ConfigError."""
        known = self._known
        if known is None or self._access.user.get("tokenFile") or not known.is_fresh(datetime.now(UTC)):
            known = self._known = self._ask()
        return known

    def forget(self) -> bool:
        """The API server refused it; whether asking again can help."""
        self._known = None
        return "exec" in self._access.user

    def _ask(self) -> Credential:
        user = self._access.user
        if "exec" in user:
            return from_program(user["exec"], self._access)
        if "auth-provider" in user:
            raise ConfigError(
                "The kubeconfig's `auth-provider` is no longer supported by clients: use the provider's `exec` plugin."
            )
        return Credential(
            authorization=_authorization(user),
            certificate=_bytes(user, "client-certificate"),
            key=_bytes(user, "client-key"),
        )


def _authorization(user: Mapping[str, Any]) -> str | None:
    token = user.get("token")
    if file := user.get("tokenFile"):
        token = _file(file).decode().strip()
    if token:
        return f"Bearer {token}"
    if "username" in user:
        pair = f"{user['username']}:{user.get('password', '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return None


def _bytes(entry: Mapping[str, Any], name: str) -> bytes | None:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data)
    return _file(entry[name]) if entry.get(name) else None


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"The kubeconfig names {path}, which cannot be read: {error.strerror}.") from None


def from_program(spec: Mapping[str, Any], access: Access) -> Credential:
    """Run the program of a kubeconfig's `exec` (client.authentication.k8s.io) and take what it prints."""
    command = spec["command"]
    if shutil.which(command) is None:
        hint = spec.get("installHint") or f"install {command}, or choose another --context"
        raise ConfigError(f"The kubeconfig logs in with `{command}`, which is not on the PATH: {hint}")
    done = subprocess.run(
        [command, *(spec.get("args") or ())],
        env=_program_environment(spec, access),
        stdin=None if sys.stdin.isatty() else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ConfigError(f"`{command}` of the kubeconfig ended with {done.returncode}: log in again.")
    try:
        status = json.loads(done.stdout)["status"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"`{command}` of the kubeconfig printed no ExecCredential: look at its version.") from None
    expiry = status.get("expirationTimestamp")
    return Credential(
        authorization=f"Bearer {status['token']}" if status.get("token") else None,
        certificate=status["clientCertificateData"].encode() if status.get("clientCertificateData") else None,
        key=status["clientKeyData"].encode() if status.get("clientKeyData") else None,
        expires_at=datetime.fromisoformat(expiry) if expiry else None,
    )


def _program_environment(spec: Mapping[str, Any], access: Access) -> dict[str, str]:
    cluster = {
        "server": access.server,
        "certificate-authority-data": access.cluster.get("certificate-authority-data"),
        "insecure-skip-tls-verify": access.cluster.get("insecure-skip-tls-verify"),
        "tls-server-name": access.cluster.get("tls-server-name"),
    }
    info: dict[str, Any] = {
        "apiVersion": spec.get("apiVersion", "client.authentication.k8s.io/v1"),
        "kind": "ExecCredential",
        "spec": {"interactive": sys.stdin.isatty()},
    }
    if spec.get("provideClusterInfo"):
        info["spec"]["cluster"] = {key: value for key, value in cluster.items() if value}
    added = {one["name"]: one["value"] for one in spec.get("env") or ()}
    return {**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)}
