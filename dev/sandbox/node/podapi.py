"""What the node says to the API server about one pod, repeated until it is heard."""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from sandbox.node import refusals
from sandbox.node.apiserver import UNREACHABLE, ApiError, ApiServer
from sandbox.node.environment import Kind
from sandbox.node.status import timestamp

log = logging.getLogger(__name__)

T = TypeVar("T")

_RETRIES = (0.1, 0.5, 2.0)
"""Seconds before a call is repeated; the last one for ever."""


class PodApi:
    """The calls about one pod. Those that change something are repeated until they are answered or `gone` is set."""

    def __init__(self, api: ApiServer, pod: Mapping[str, Any], node_name: str) -> None:
        metadata = pod["metadata"]
        self._api = api
        self._name: str = metadata["name"]
        self._namespace: str = metadata["namespace"]
        self._uid: str = metadata["uid"]
        self._node_name = node_name
        self._namespace_path = f"/api/v1/namespaces/{self._namespace}"
        self._path = f"{self._namespace_path}/pods/{self._name}"
        self.gone = False

    async def bind(self) -> bool:
        """Bind the pod to this node; False if it is gone or another's."""
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": self._name, "uid": self._uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self._node_name},
        }

        async def bind() -> bool:
            try:
                await self._api.post(f"{self._path}/binding", body)
            except ApiError as error:
                if error.status != 409:
                    raise
                # Bound already: perhaps by us, if the answer to an earlier try was lost.
                pod = await self._api.get(self._path)
                return bool(pod["metadata"]["uid"] == self._uid and pod["spec"].get("nodeName") == self._node_name)
            return True

        return await self._until_heard("bind", bind) or False

    async def patch_status(self, status: Mapping[str, Any]) -> bool:
        """Report; False if nobody will ever know, because the pod is gone or the API server refuses."""
        body = {"metadata": {"uid": self._uid}, "status": status}
        return await self._until_heard("status", lambda: self._api.patch(f"{self._path}/status", body)) is not None

    async def confirm_deletion(self) -> None:
        """Tell the API server that nothing of the deleted pod runs any more, so that it can go."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self._uid},
        }
        await self._until_heard("deletion", lambda: self._api.delete(self._path, options))

    async def warn_of_refusal(self, message: str) -> None:
        now = timestamp(datetime.now(UTC))
        pod = {"apiVersion": "v1", "kind": "Pod", "name": self._name, "namespace": self._namespace, "uid": self._uid}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{self._name}.", "namespace": self._namespace},
            "involvedObject": pod,
            "type": "Warning",
            "reason": refusals.REASON,
            "message": message,
            "source": {"component": "sandbox-node", "host": self._node_name},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._until_heard("event", lambda: self._api.post(f"{self._namespace_path}/events", event))

    async def source(self, kind: Kind, name: str) -> Mapping[str, str] | None:
        """What a Secret or ConfigMap holds, None without it.

        Bytes that are no UTF-8 come as surrogates, so that nothing is lost. Raises ApiError and apiserver.UNREACHABLE.
        """
        plural = "secrets" if kind == "secret" else "configmaps"
        try:
            found = await self._api.get(f"{self._namespace_path}/{plural}/{name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        data: Mapping[str, str] = found.get("data") or {}
        encoded = data if kind == "secret" else found.get("binaryData") or {}
        decoded = {key: base64.b64decode(value).decode(errors="surrogateescape") for key, value in encoded.items()}
        return decoded if kind == "secret" else {**data, **decoded}

    async def _until_heard(self, what: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, or None if the pod is not there or the call is refused for good.

        A conflict is repeated too: of another UID the watch will tell, and then `gone` is set.
        """
        waits = iter(_RETRIES)
        while not self.gone:
            try:
                return await call()
            except ApiError as error:
                if error.status == 404:
                    return None
                if error.status < 500 and error.status not in (409, 429):
                    log.error("pod %s/%s: %s refused: %s", self._namespace, self._name, what, error)
                    return None
                problem: Exception = error
            except UNREACHABLE as error:
                problem = error
            log.warning("pod %s/%s: %s not heard, repeating: %s", self._namespace, self._name, what, problem)
            await asyncio.sleep(next(waits, _RETRIES[-1]))
        return None
