"""The one endpoint of a kubelet that the node serves: what `kubectl logs` asks for, through the API server.

Followed, tailed, cut to a number of bytes, and with times: those at which the node saw the lines, so several share one.
`--previous` is refused. Only clients with a certificate of the cluster's authority are let in: logs may hold anything.
"""

import asyncio
import io
import os
import ssl
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from sandbox.node.podlife import PodLife
from sandbox.node.status import Terminated, Waiting

_CHUNK = 1 << 16
_FOLLOW_EVERY = 0.1
"""Seconds between looks at a log that is followed."""
_UNSUPPORTED = ("previous", "sinceSeconds")


class LogServer:
    """Serves logs; `find` gives the pod of a namespace and name."""

    def __init__(self, find: Callable[[str, str], PodLife | None], address: str, tls: ssl.SSLContext) -> None:
        self._find = find
        self._address = address
        self._tls = tls
        self._times: dict[Path, LineTimes] = {}
        self.port = 0

    async def __aenter__(self) -> "LogServer":
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve)
        app.router.add_route("*", "/{rest:.*}", _refuse)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address, 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        pod = self._find(request.match_info["namespace"], request.match_info["pod"])
        name = request.match_info["container"]
        container = pod.container(name) if pod else None
        if pod is None or container is None:
            return web.Response(status=404, text="this node has no such container")
        if unsupported := [one for one in _UNSUPPORTED if request.query.get(one, "false") != "false"]:
            return web.Response(status=400, text=f"{unsupported[0]} is not supported by the sandbox's node")
        file = pod.log_file(name)
        if (isinstance(container.state, Waiting) and container.last is None) or not file.exists():
            reason = container.state.reason if isinstance(container.state, Waiting) else "no logs yet"
            text = f'container "{name}" in pod "{pod.name[1]}" is waiting to start: {reason}'
            return web.Response(status=400, text=text)

        def ended() -> bool:
            now = pod.container(name)
            return now is None or isinstance(now.state, Terminated) or pod.over

        follow = request.query.get("follow", "false") != "false"
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with suppress(ConnectionError, FileNotFoundError):
            if request.query.get("timestamps", "false") != "false" or "sinceTime" in request.query:
                times = self._times.setdefault(file, LineTimes())
                await _copy_with_times(file, times, response, request, ended if follow else None)
            else:
                await _copy(file, response, request, ended if follow else None)
        return response


class LineTimes:
    """When the lines of a log were first seen: of each look, how long the log was, and the time."""

    def __init__(self) -> None:
        self._looks: list[tuple[int, datetime]] = []

    def look(self, size: int, now: datetime) -> None:
        """The log has this many bytes now."""
        if not self._looks or size > self._looks[-1][0]:
            self._looks.append((size, now))

    def of(self, offset: int) -> datetime:
        """The time of the line that begins there."""
        return self._looks[bisect_right(self._looks, offset, key=lambda look: look[0])][1]

    def start(self, since: datetime) -> int:
        """Where the lines begin that are no older than this."""
        return max((size for size, time in self._looks if time < since), default=0)


async def _copy_with_times(
    file: Path,
    times: LineTimes,
    response: web.StreamResponse,
    request: web.Request,
    ended: Callable[[], bool] | None,
) -> None:
    """As `_copy`, whole lines only until the end, each behind its time."""
    since = request.query.get("sinceTime")
    stamped = request.query.get("timestamps", "false") != "false"
    with file.open("rb") as stream:
        position = None
        while True:
            over = ended is None or ended()
            size = stream.seek(0, os.SEEK_END)
            times.look(size, datetime.now(UTC))
            if position is None:
                position = times.start(datetime.fromisoformat(since)) if since else 0
                # The line that began before has an earlier time: on from its end.
                stream.seek(max(0, position - 1))
                position += len(stream.readline()) - 1 if position else 0
            stream.seek(position)
            # What is written from now on has no time yet.
            seen = stream.read(size - position)
            lines = []
            for line in io.BytesIO(seen if over else seen[: seen.rfind(b"\n") + 1]):
                lines.append((f"{times.of(position):%Y-%m-%dT%H:%M:%S.%f}000Z ".encode() if stamped else b"") + line)
                position += len(line)
            if lines:
                await response.write(b"".join(lines))
            if over or request.transport is None or request.transport.is_closing():
                return
            await asyncio.sleep(_FOLLOW_EVERY)


async def _copy(
    file: Path, response: web.StreamResponse, request: web.Request, ended: Callable[[], bool] | None
) -> None:
    """Send the log as asked; with `ended`, go on until that is true and all was sent, or until the reader has gone."""
    left = int(request.query.get("limitBytes", -1))
    with file.open("rb") as stream:
        if "tailLines" in request.query:
            stream.seek(start_of_tail(stream, int(request.query["tailLines"])))
        while left != 0:
            over = ended is None or ended()  # asked before reading: what was written before the end is read after it
            chunk = stream.read(_CHUNK if left < 0 else min(_CHUNK, left))
            if chunk:
                await response.write(chunk)
                left -= len(chunk) if left > 0 else 0
            elif over or request.transport is None or request.transport.is_closing():
                return
            else:
                await asyncio.sleep(_FOLLOW_EVERY)


def start_of_tail(stream: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines begin; a last line need not be finished. 0 if there are no more lines than that."""
    size = position = stream.seek(0, os.SEEK_END)
    if lines <= 0:
        return size
    seen = 0
    while position > 0:
        begin = max(0, position - _CHUNK)
        stream.seek(begin)
        block = stream.read(position - begin)
        for offset in range(len(block) - 1, -1, -1):
            if block[offset : offset + 1] == b"\n" and begin + offset != size - 1:
                seen += 1
                if seen == lines:
                    return begin + offset + 1
        position = begin
    return 0


async def _refuse(request: web.Request) -> web.Response:
    return web.Response(status=501, text=f"{request.path} is not supported by the sandbox's node: it only serves logs")
