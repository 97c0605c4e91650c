"""The Node object and its Lease: how the cluster knows that the node is there and alive."""

import asyncio
import logging
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.node.apiserver import MERGE, STRATEGIC, UNREACHABLE, ApiError, ApiServer
from sandbox.node.status import timestamp

log = logging.getLogger(__name__)

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_RENEW_EVERY = 10.0
_LEASE_SECONDS = 40
"""As a kubelet does: four chances to renew before the node counts as lost."""


async def register(api: ApiServer, name: str, address: str, port: int) -> None:
    """Make the Node, or take over the one of an earlier life, and report it ready, with nothing keeping pods away."""
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": _architecture(),
            },
        },
        "spec": {},
    }
    try:
        await api.post("/api/v1/nodes", node)
    except ApiError as error:
        if error.status != 409:
            raise
    path = f"/api/v1/nodes/{name}"
    await api.patch(f"{path}/status", {"status": _status(address, port)}, STRATEGIC)
    # The admission plugin TaintNodesByCondition taints every new node until somebody sees that it is ready.
    await api.patch(path, {"spec": {"taints": None}}, MERGE)


async def stay_alive(api: ApiServer, name: str) -> None:
    """Renew the Lease for ever; the first time it is made."""
    while True:
        try:
            await _renew(api, name)
        except (ApiError, *UNREACHABLE) as error:
            # Also while the API server has not yet made the namespace of the leases.
            log.warning("lease not renewed: %s", error)
        await asyncio.sleep(_RENEW_EVERY)


async def _renew(api: ApiServer, name: str) -> None:
    spec = {
        "holderIdentity": name,
        "leaseDurationSeconds": _LEASE_SECONDS,
        "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    try:
        await api.patch(f"{_LEASES}/{name}", {"spec": spec}, MERGE)
    except ApiError as error:
        if error.status != 404:
            raise
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        await api.post(_LEASES, lease)


def _status(address: str, port: int) -> Mapping[str, Any]:
    now = timestamp(datetime.now(UTC))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    capacity = {"cpu": str(os.cpu_count() or 1), "memory": str(memory), "pods": "10000"}
    return {
        # No Hostname: an API server that prefers it would try to resolve it when it is asked for logs.
        "addresses": [{"type": "InternalIP", "address": address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "SandboxNodeReady",
                "message": "runs containers as local processes",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
        ],
        "nodeInfo": {
            "kubeletVersion": "v0.0.0-sandbox",
            "containerRuntimeVersion": "sandbox://0",
            "operatingSystem": "linux",
            "architecture": _architecture(),
            "osImage": "local processes",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
