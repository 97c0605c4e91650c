"""The node's main loop: sees pods come, change and go, and gives each one a life of its own."""

import asyncio
import logging
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.certificates import Authority
from sandbox.node import registration
from sandbox.node.apiserver import UNREACHABLE, Access, ApiError, ApiServer
from sandbox.node.containers import Runtime
from sandbox.node.environment import Place
from sandbox.node.logs import LogServer
from sandbox.node.podlife import PodLife, Surroundings
from sandbox.node.status import TERMINAL

log = logging.getLogger(__name__)

HOLD = "sandbox/hold"
"""A pod with this annotation set to `true` is left alone until it is taken off."""

_PODS = "/api/v1/pods"
_WATCH_PAUSE = 0.2


@dataclass(frozen=True)
class Settings:
    """How the node is called and what it gives to containers."""

    name: str = "sandbox-node"
    address: str = "127.0.0.1"
    """The InternalIP: where it serves logs, and the address every pod reports."""
    path: Sequence[str] = ()
    """Folders put before the system's in every container's PATH."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables for every container whose template does not set them itself; nothing secret."""


class Kubelet:
    """The node, running while `run` does."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._access = access
        self._lives: dict[str, PodLife] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, ready: asyncio.Event) -> None:
        """Serve until cancelled, or until the keeper of the processes is lost. Sets `ready` once the Node is."""
        async with ApiServer(self._access) as api, Runtime() as runtime:
            name, address = self._settings.name, self._settings.address
            self._around = Surroundings(
                api, runtime, Place(name, address), self._settings.path, self._settings.variables
            )
            async with LogServer(self._find, address, _log_tls(runtime.folder, address, self._access)) as logs:
                await registration.register(api, name, address, logs.port)
                ready.set()
                duties = [registration.stay_alive(api, name), self._watch(api), runtime.ended.wait()]
                tasks = [asyncio.ensure_future(duty) for duty in duties]
                try:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                    log.error("the keeper of the processes is gone, and with it every container")
                finally:
                    # Nobody reports how containers ended that the node itself has killed.
                    for task in [*tasks, *self._tasks]:
                        task.cancel()

    def _find(self, namespace: str, name: str) -> PodLife | None:
        return next((life for life in self._lives.values() if life.name == (namespace, name)), None)

    async def _watch(self, api: ApiServer) -> None:
        version = ""
        while True:
            try:
                if not version:
                    version = await self._relist(api)
                async for kind, pod in api.watch(_PODS, version):
                    version = pod["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        self._note(pod, gone=kind == "DELETED")
            except ApiError as error:
                log.info("watch ended, listing again: %s", error)
                version = ""
                await asyncio.sleep(_WATCH_PAUSE)
            except UNREACHABLE as error:
                log.info("watch broken, resuming: %s", error)
                await asyncio.sleep(_WATCH_PAUSE)

    async def _relist(self, api: ApiServer) -> str:
        """Take note of all pods as they are, and of those that are no more; the version to watch from."""
        answer = await api.get(_PODS)
        pods = answer.get("items") or []
        present = {pod["metadata"]["uid"] for pod in pods}
        for uid, life in list(self._lives.items()):
            if uid not in present:
                life.vanish()
        for pod in pods:
            self._note(pod)
        return str(answer["metadata"]["resourceVersion"])

    def _note(self, pod: Mapping[str, Any], *, gone: bool = False) -> None:
        uid = pod["metadata"]["uid"]
        if life := self._lives.get(uid):
            if gone:
                life.vanish()
            else:
                life.observe(pod)
        elif not gone and concerns(pod, self._settings.name):
            life = self._lives[uid] = PodLife(pod, self._around)
            task = asyncio.create_task(life.run())
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._over(uid, done))
            if pod["metadata"].get("deletionTimestamp"):
                life.observe(pod)

    def _over(self, uid: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        life = self._lives.pop(uid)
        if not task.cancelled() and (error := task.exception()):
            log.error("pod %s/%s was lost by a fault of this node", *life.name, exc_info=error)
            life.vanish()


def concerns(pod: Mapping[str, Any], node_name: str) -> bool:
    """Is this pod for this node to run: bound to it, or waiting for a node and not held back?"""
    spec, metadata = pod["spec"], pod["metadata"]
    if bound_to := spec.get("nodeName"):
        return bool(bound_to == node_name)
    return (
        spec.get("schedulerName") == "default-scheduler"
        and not spec.get("schedulingGates")
        and (metadata.get("annotations") or {}).get(HOLD) != "true"
        and not metadata.get("deletionTimestamp")
        and pod.get("status", {}).get("phase") not in TERMINAL
    )


def _log_tls(folder: Path, address: str, access: Access) -> ssl.SSLContext:
    """A certificate of our own, which the API server does not verify; of it we want one by the cluster's authority."""
    own = Authority(folder).server("node", [address])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(own.certificate, own.key)
    if access.authority is not None:
        tls.load_verify_locations(cadata=access.authority)
        tls.verify_mode = ssl.CERT_REQUIRED
    return tls
