"""What the API server wrote into its audit log about the requests it answered."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_LEFT_OUT: list[dict[str, Any]] = [
    {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
    {
        "level": "None",
        "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
        "namespaces": ["kube-system", "kube-node-lease"],
    },
]

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [*_LEFT_OUT, {"level": "Metadata"}],
}
"""Who did what to which object, without any content; one entry a request, when it was answered."""

WITH_REQUESTS = {
    **POLICY,
    "rules": [
        *_LEFT_OUT,
        {"level": "Metadata", "verbs": ["create"], "resources": [{"group": "", "resources": ["secrets"]}]},
        {
            "level": "Request",
            "userGroups": ["system:serviceaccounts"],
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        },
        {"level": "Metadata"},
    ],
}
"""The same, and what service accounts send, but for what is in the Secrets that they create."""


@dataclass(frozen=True)
class AuditEvent:
    """One answered request. Fields that a request has no use for are empty; `namespace` and `name` often are."""

    user: str
    verb: str
    api_group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    """HTTP status of the answer."""
    uri: str
    received: dt.datetime
    completed: dt.datetime
    raw: dict[str, Any]
    """The whole entry, an `audit.k8s.io/v1` Event."""


def read(log: Path, namespace: str = "") -> Iterator[AuditEvent]:
    """The entries of `log` so far, of one namespace or of all, in the order in which the requests were completed.

    An entry is written just after its answer was sent: who looks for the last one has to look more than once. A watch
    has its entry when it ends.
    """
    # Most lines are of other namespaces: that is seen without reading them as JSON.
    mark = f'"{namespace}"'.encode() if namespace else b""
    with log.open("rb") as lines:
        for line in lines:
            # The last line may be half written still.
            if line.endswith(b"\n") and mark in line:
                event = _event(orjson.loads(line))
                if namespace in ("", event.namespace):
                    yield event


def read_from(log: Path, offset: int) -> tuple[list[AuditEvent], int]:
    """The whole entries of `log` from a byte on, and the byte from which to read on."""
    with log.open("rb") as lines:
        lines.seek(offset)
        whole, _, _ = lines.read().rpartition(b"\n")
    return [_event(orjson.loads(line)) for line in whole.splitlines()], offset + len(whole) + bool(whole)


def _event(raw: dict[str, Any]) -> AuditEvent:
    target = raw.get("objectRef", {})
    return AuditEvent(
        user=raw["user"].get("username", ""),
        verb=raw["verb"],
        api_group=target.get("apiGroup", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=raw.get("responseStatus", {}).get("code", 0),
        uri=raw["requestURI"],
        received=dt.datetime.fromisoformat(raw["requestReceivedTimestamp"]),
        completed=dt.datetime.fromisoformat(raw["stageTimestamp"]),
        raw=raw,
    )
