"""The few calls the node makes to the API server, over one connection pool, and the kubeconfig that leads there."""

import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson
import yaml

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

_CONNECTIONS = 24
_WATCH_SECONDS = 300
_WATCH_SILENCE = 150
"""Bookmarks come about once a minute: a watch that stays silent for longer than this is dead."""


class ApiError(Exception):
    """The API server's refusal."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)
"""What a call raises when no answer came."""


@dataclass(frozen=True)
class Access:
    """Where the API server is and who we are there."""

    server: str
    tls: ssl.SSLContext
    token: str | None = field(repr=False)
    authority: str | None
    """The cluster's certificate authority (PEM); None: the system's."""


def read_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig with a token or a client certificate; ValueError for other kinds of login."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    if unsupported := user.keys() & {"exec", "auth-provider", "username"}:
        raise ValueError(f"the kubeconfig logs in by {unsupported.pop()}, which this node does not support")
    authority = _content(cluster, "certificate-authority", path.parent)
    trusted = authority.decode() if authority else None
    tls = ssl.create_default_context(cadata=trusted)
    certificate, key = _content(user, "client-certificate", path.parent), _content(user, "client-key", path.parent)
    if certificate and key:
        # ssl reads certificates from files only.
        with tempfile.NamedTemporaryFile() as both:
            both.write(certificate + b"\n" + key)
            both.flush()
            tls.load_cert_chain(both.name)
    token = user.get("token")
    if token_file := user.get("tokenFile"):
        token = (path.parent / token_file).read_text().strip()
    return Access(cluster["server"].rstrip("/"), tls, token, trusted)


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _content(section: Mapping[str, str], name: str, folder: Path) -> bytes | None:
    if data := section.get(f"{name}-data"):
        return base64.b64decode(data)
    file = section.get(name)
    return (folder / file).read_bytes() if file else None


class ApiServer:
    """An API server to talk to; open while the context is."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __aenter__(self) -> Self:
        headers = {"User-Agent": "sandbox-node", "Accept": "application/json"}
        if self._access.token:
            headers["Authorization"] = f"Bearer {self._access.token}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._access.tls),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=30),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, **parameters: str) -> dict[str, Any]:
        return await self._call("GET", path, parameters=parameters)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("POST", path, body)

    async def patch(self, path: str, body: Mapping[str, Any], kind: str = STRATEGIC) -> dict[str, Any]:
        return await self._call("PATCH", path, body, kind)

    async def delete(self, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("DELETE", path, options)

    async def watch(self, path: str, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Type and object of each event after `version`, until the API server ends the watch.

        Raises ApiError with status 410 when that version is too old.
        """
        parameters = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SILENCE)
        async with self._session.get(self._access.server + path, params=parameters, timeout=timeout) as answer:
            if answer.status >= 400:
                raise _error(answer.status, await answer.read())
            unread = b""
            async for chunk in answer.content.iter_any():
                *lines, unread = (unread + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(status.get("code", 500), status.get("reason", ""), status.get("message", ""))
                    yield event["type"], event["object"]

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        async with self._session.request(
            method,
            self._access.server + path,
            params=parameters,
            data=orjson.dumps(body) if body is not None else None,
            headers={"Content-Type": kind},
        ) as answer:
            content = await answer.read()
            if answer.status >= 400:
                raise _error(answer.status, content)
            result: dict[str, Any] = orjson.loads(content)
            return result


def _error(status: int, content: bytes) -> ApiError:
    try:
        answer = orjson.loads(content)
        return ApiError(status, answer.get("reason", ""), answer.get("message", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return ApiError(status, "", content[:200].decode(errors="replace"))
