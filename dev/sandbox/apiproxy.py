"""An HTTP proxy in front of an API server that loses, delays and refuses what a test names, and cuts watches.

    with ApiProxy(cluster) as proxy, proxy.fault(Fault("POST", "/secrets", Lose(after=2.0), times=1)):
        ...

It runs in a thread of its own. Its front is plain HTTP on loopback; bearer tokens pass through.
"""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from sandbox import kubeconfig
from sandbox.cluster import Cluster
from sandbox.crashpoints.calls import Disturbance, Moment, Order, WatchFault, until

_OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
_LATE, _AGAIN = 3.0, 1.0
"""Seconds after which a late watch tells something, and after which one that tells twice does so again."""
_GONE = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}


@dataclass(frozen=True)
class Refuse:
    """The API server does not do it and says so."""

    status: int
    reason: str = ""
    message: str = "refused by the proxy"
    retry_after: int | None = None


@dataclass(frozen=True)
class Lose:
    """The connection is cut and no answer comes; the call is carried out, `after` seconds later."""

    after: float = 0.0


@dataclass(frozen=True)
class Deafen:
    """The call is carried out at once; its answer is replaced by this status."""

    status: int = 504


@dataclass(frozen=True)
class Hold:
    """The call waits until the fault is taken away, and is then carried out."""


@dataclass(frozen=True)
class Withhold:
    """The call is carried out at once; its answer waits until the fault is taken away."""


@dataclass(eq=False)
class Fault:
    """Happens to the calls of a method whose path ends like this and whose body holds `words`: the first `times` of
    them, or all."""

    method: str
    path_end: str
    what: Refuse | Lose | Deafen | Hold | Withhold
    times: int | None = None
    used: int = 0
    carried_out: int = 0
    """How many calls whose answer is withheld the API server has answered."""
    words: str = ""

    def takes(self, method: str, path: str, body: bytes = b"") -> bool:
        """Whether this happens to a call."""
        left = self.times is None or self.used < self.times
        return left and method == self.method and path.endswith(self.path_end) and self.words.encode() in body


@dataclass
class _Gap:
    over: asyncio.Event
    held: int = 0


@dataclass(eq=False)
class _Watch:
    path: str
    task: "asyncio.Task[object]" = field(repr=False)


class ApiProxy:
    """A context manager. Calls are forwarded as they come unless a fault takes them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.endpoint = ""
        self.orders: Callable[[str, str, str], Order | None] = lambda _method, _path, _query: None
        """Asked about every call but watches: method, path, query."""
        self._faults: tuple[Fault, ...] = ()
        self._lifted: dict[Fault, asyncio.Event] = {}
        self._gaps: dict[str, _Gap] = {}
        self._watches: set[_Watch] = set()
        self._watches_are: WatchFault | None = None
        self._late: set[asyncio.Task[object]] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="api-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise RuntimeError("The API proxy did not start") from self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def kubeconfig(self, original: Path) -> Path:
        """A kubeconfig like the original that leads here."""
        content = json.loads(original.read_text())
        return kubeconfig.write(
            original.with_name(f"proxied.{original.name}"),
            cluster={"server": self.endpoint},
            user=content["users"][0]["user"],
            name=content["current-context"],
        )

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[Fault]:
        """The fault happens inside the `with` block."""
        self._lifted[fault] = asyncio.Event()
        self._faults = (fault, *self._faults)
        try:
            yield fault
        finally:
            self._faults = tuple(other for other in self._faults if other is not fault)
            self._loop.call_soon_threadsafe(self._lifted.pop(fault).set)

    @contextmanager
    def gap(self, path: str) -> Iterator[None]:
        """Cut all watches of this collection and let none see anything until the block ends; then answer them 410."""
        self._on_loop(self._open_gap, path)
        try:
            yield
        finally:
            self._on_loop(self._close_gap, path)

    @contextmanager
    def watches_are(self, how: WatchFault) -> Iterator[None]:
        """All watches tell what happens inside the `with` block like this; afterwards they are cut, and begin anew."""
        self._watches_are = how
        try:
            yield
        finally:
            self._watches_are = None
            self._on_loop(self._cut_watches, "")

    def watches(self, path: str) -> int:
        """How many watches of this collection are open, or wait for the end of a gap."""
        gap = self._gaps.get(path)
        return sum(watch.path == path for watch in self._watches) + (gap.held if gap else 0)

    # On the proxy's own thread

    def _on_loop(self, function: Callable[[str], None], path: str) -> None:
        done = threading.Event()

        def call() -> None:
            function(path)
            done.set()

        self._loop.call_soon_threadsafe(call)
        done.wait()

    def _open_gap(self, path: str) -> None:
        self._gaps[path] = _Gap(asyncio.Event())
        self._cut_watches(path)

    def _cut_watches(self, path: str) -> None:
        """Those of one collection, or all."""
        for watch in self._watches:
            if path in ("", watch.path):
                watch.task.cancel()

    def _close_gap(self, path: str) -> None:
        self._gaps.pop(path).over.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve_until_stopped())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()
            self._loop.run_until_complete(_end_tasks())
            self._loop.close()

    async def _serve_until_stopped(self) -> None:
        trust = ssl.create_default_context(cafile=self._cluster.ca)
        connector = aiohttp.TCPConnector(limit=0, ssl=trust)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._upstream:
            server = web.Server(self._handle, access_log=None)
            runner = web.ServerRunner(server, shutdown_timeout=0.5)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
                self._ready.set()
                await self._stop.wait()
            finally:
                await runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        body = await http.read()
        if "watch" in http.query:
            return await self._watch(http)
        order = self.orders(http.method, http.path, http.query_string)
        if order is not None:
            return await self._obey(order, http, body)
        fault = next((fault for fault in self._faults if fault.takes(http.method, http.path, body)), None)
        if fault is None:
            return await self._forward(http, body)
        fault.used += 1
        match fault.what:
            case Refuse() as refusal:
                return _refusal(refusal)
            case Deafen(status):
                await self._forward(http, body)
                return _refusal(Refuse(status))
            case Hold():
                await self._lift(fault)
                return await self._forward(http, body)
            case Withhold():
                answer = await self._forward(http, body)
                fault.carried_out += 1
                await self._lift(fault)
                return answer
            case Lose(after):
                self._carry_out_later(http, body, after)
                return _cut(http)

    async def _obey(self, order: Order, http: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """The call is where its client dies, or where something goes wrong."""
        match order.what:
            case Moment() | None:
                return await self._die(order, http, body)
            case Disturbance.CONFLICT:
                return _refusal(Refuse(409, "Conflict", "the object has been modified"))
            case Disturbance.BUSY:
                return _refusal(Refuse(429, "TooManyRequests", "please try again later", retry_after=1))
            case Disturbance.FAILED:
                return _refusal(Refuse(500, "InternalError"))
            case Disturbance.UNAVAILABLE:
                return _refusal(Refuse(503, "ServiceUnavailable"))
            case Disturbance.DONE_AND_FAILED:
                await self._forward(http, body)
                return _refusal(Refuse(500, "InternalError"))
            case Disturbance.RESET:
                self._carry_out_later(http, body, 0)
            case Disturbance.LOST | Disturbance.LATE:
                if order.what is Disturbance.LOST:
                    await self._forward(http, body)
                await until(lambda: http.transport is None or http.transport.is_closing())
                if order.what is Disturbance.LATE:
                    self._carry_out_later(http, body, 1)
            case Disturbance.NO_CONNECTION:
                pass
        return _cut(http)

    async def _die(self, order: Order, http: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """The client is killed around this call, or was to be killed before it."""
        if order.what in (Moment.BETWEEN, Moment.AFTER):
            answer = await self._forward(http, body)
            if order.what is Moment.AFTER:
                await answer.prepare(http)
                await answer.write_eof()
                order.reached()
                return answer
        if order.what is not None:
            order.reached()
        await order.released()
        return _cut(http)

    async def _lift(self, fault: Fault) -> None:
        """Until the fault is taken away, which it may be already."""
        if (lifted := self._lifted.get(fault)) is not None:
            await lifted.wait()

    def _carry_out_later(self, http: web.BaseRequest, body: bytes, after: float) -> None:
        async def carry_out() -> None:
            await self._forward(http, body)

        self._do_later(carry_out, after)

    def _do_later(self, what: Callable[[], Awaitable[None]], after: float) -> None:
        async def later() -> None:
            await asyncio.sleep(after)
            await what()

        task = asyncio.create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _forward(self, http: web.BaseRequest, body: bytes) -> web.Response:
        try:
            async with self._request(http, body) as answer:
                return web.Response(status=answer.status, body=await answer.read(), headers=_passed_on(answer.headers))
        except aiohttp.ClientError:
            return _refusal(Refuse(502))

    async def _watch(self, http: web.BaseRequest) -> web.StreamResponse:
        if (gap := self._gaps.get(http.path)) is not None:
            gap.held += 1
            await gap.over.wait()
            return web.Response(body=json.dumps({"type": "ERROR", "object": _GONE}).encode() + b"\n")
        task = asyncio.current_task()
        assert task is not None
        watch = _Watch(http.path, task)
        self._watches.add(watch)
        try:
            async with self._request(http, b"") as answer:
                out = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
                await out.prepare(http)
                async for event in _lines(answer.content):
                    await self._tell(event, out)
                return out
        except (asyncio.CancelledError, aiohttp.ClientError):
            # Cut by a gap, or either side has gone: what remains of the connection goes too.
            return _cut(http)
        finally:
            self._watches.discard(watch)

    async def _tell(self, event: bytes, out: web.StreamResponse) -> None:
        async def tell() -> None:
            # The watch may be over by then; who watches begins again from what it was told last.
            with contextlib.suppress(ConnectionError, RuntimeError):
                await out.write(event)

        match self._watches_are:
            case WatchFault.SILENT:
                pass
            case WatchFault.LATE:
                self._do_later(tell, _LATE)
            case WatchFault.TWICE:
                await tell()
                self._do_later(tell, _AGAIN)
            case None:
                await out.write(event)

    def _request(
        self, http: web.BaseRequest, body: bytes
    ) -> "contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]":
        url = URL(self._cluster.server + http.raw_path, encoded=True)
        return self._upstream.request(http.method, url, headers=_passed_on(http.headers), data=body or None)


def _cut(http: web.BaseRequest) -> web.Response:
    """End the connection without an answer."""
    if http.transport is not None:
        http.transport.abort()
    return web.Response(status=500)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The events of a watch, however long they are."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"


async def _end_tasks() -> None:
    """What still waits, for the end of a gap or for its time to come, waits no more."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _passed_on(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _OF_ONE_CONNECTION]


def _refusal(refusal: Refuse) -> web.Response:
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": refusal.reason,
        "message": refusal.message,
        "code": refusal.status,
    }
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after is not None else {}
    return web.json_response(status, status=refusal.status, headers=headers)
