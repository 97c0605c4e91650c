"""An HTTP proxy in front of an emulated AWS that gives the answers of `sandbox.faults` and records every call.

It runs in a thread of its own, so that synchronous tests can use it. The ``Host`` header goes through as the client
sent it: SigV4 signs it, and the emulator verifies signatures. Request and answer bodies are held in memory, which
suits STS and IAM.
"""

import asyncio
import contextlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from sandbox.crashpoints.calls import Disturbance, Moment, Order, until
from sandbox.faults import (
    Answer,
    Drop,
    Match,
    Pass,
    Plain,
    Refusal,
    Request,
    Rule,
    internal_failure,
    read_request,
    throttled,
)

# Headers about one connection (RFC 9110, 7.6.1), and those that each side writes anew.
_OF_ONE_CONNECTION = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "expect", "upgrade", "te", "trailer"}
)
_CODE = re.compile(rb"<Code>([^<]*)</Code>")
_REQUEST_ID = re.compile(rb"<RequestId>([^<]*)</RequestId>")
_SESSION = re.compile(rb"<AccessKeyId>([^<]*)</AccessKeyId>.*<Arn>([^<]*)</Arn>", re.DOTALL)
_HEARD_WITHIN = 0.05
"""Seconds until an answer that was sent is read."""
_UNKNOWN_CALLER = "arn:aws:iam::000000000000:user/unknown"


@dataclass(frozen=True, kw_only=True)
class Call(Request):
    """A request, and what became of it. Times are seconds since the epoch."""

    status: int | None
    """`None`: the connection was cut."""
    code: str | None = None
    """The error's code, where there was an error."""
    request_id: str | None = None
    started: float
    finished: float
    rule: Rule | None = None
    """The rule that was used, if one was."""


@dataclass(frozen=True)
class _Answered:
    """An answer ready to be sent; ``status`` is `None` where the connection is cut instead."""

    status: int | None
    body: bytes = b""
    headers: CIMultiDict[str] | None = None


class FaultProxy:
    """A context manager: ``with FaultProxy(upstream) as proxy:``. Rules may be added and removed at any time."""

    def __init__(self, upstream: str, caller_arn: Callable[[str], str | None] = lambda _access_key_id: None) -> None:
        """``caller_arn`` tells whose an access key is, for the text of a denial; sessions are learnt in passing."""
        self.upstream = upstream.rstrip("/")
        self.endpoint = ""
        self.overhear: Callable[[bytes], None] | None = None
        """Hears every answer as it is, secrets included: for who wants to find out where they turn up."""
        self.orders: Callable[[Request], Order | None] = lambda _request: None
        """Asked about every call that no rule takes."""
        self._caller_arn = caller_arn
        self._sessions: dict[str, str] = {}
        self._rules: tuple[Rule, ...] = ()
        self._removed: dict[Rule, asyncio.Event] = {}
        self._calls: list[Call] = []
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise RuntimeError("The fault proxy did not start") from self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    # Rules

    def add(self, rule: Rule) -> Rule:
        """From now on the rule is asked before all older ones."""
        self._rules = (rule, *self._rules)
        return rule

    def remove(self, rule: Rule) -> None:
        """Takes a rule away; requests that it still delays are answered at once."""
        self._rules = tuple(other for other in self._rules if other is not rule)
        self._loop.call_soon_threadsafe(self._release, rule)

    def clear(self) -> None:
        """Takes all rules away. The calls stay."""
        for rule in self._rules:
            self.remove(rule)

    @contextmanager
    def rule(self, rule: Rule) -> Iterator[Rule]:
        """The rule holds inside the ``with`` block."""
        self.add(rule)
        try:
            yield rule
        finally:
            self.remove(rule)

    # Calls

    @property
    def calls(self) -> list[Call]:
        """All finished calls so far, in the order of their answers."""
        with self._news:
            return list(self._calls)

    def calls_of(self, match: Match) -> list[Call]:
        return [call for call in self.calls if match(call)]

    def forget_calls(self) -> None:
        with self._news:
            self._calls.clear()

    def wait_for(self, match: Match, count: int = 1, timeout: float = 10.0) -> list[Call]:
        """Blocks until so many matching calls were answered; raises `TimeoutError` after ``timeout`` seconds."""

        def found() -> list[Call]:
            return [call for call in self._calls if match(call)]

        with self._news:
            if not self._news.wait_for(lambda: len(found()) >= count, timeout):
                raise TimeoutError(f"{len(found())} of {count} calls came within {timeout} s: {match}")
            return found()

    # Serving, on the proxy's own thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve_until_stopped())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve_until_stopped(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._upstream:
            runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.5)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                port = runner.addresses[0][1]
                self.endpoint = f"http://127.0.0.1:{port}"
                self._ready.set()
                await self._stop.wait()
            finally:
                for removed in self._removed.values():
                    removed.set()
                await runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        started = time.time()
        body = await http.read()
        form = body.decode(errors="replace") if http.content_type == "application/x-www-form-urlencoded" else ""
        request = read_request(
            URL(http.raw_path, encoded=True).raw_query_string, form, http.headers.get("Authorization", "")
        )
        rule = next((rule for rule in self._rules if rule.takes(request)), None)
        answer: Answer = Pass()
        if rule is not None:
            rule.used += 1
            answer = rule.answer
            await self._delay(rule)
        order = self.orders(request) if rule is None else None
        if order is None:
            answered = await self._answer(answer, request, http, body)
        else:
            answered = await self._obey(order, request, http, body)
        self._record(request, answered, started, rule)
        if answered.status is None:
            if http.transport is not None:
                http.transport.abort()
            return web.Response(status=500)
        return web.Response(status=answered.status, body=answered.body, headers=answered.headers)

    async def _delay(self, rule: Rule) -> None:
        if rule.delay <= 0:
            return
        removed = self._removed.setdefault(rule, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(removed.wait(), rule.delay)

    def _release(self, rule: Rule) -> None:
        removed = self._removed.pop(rule, None)
        if removed is not None:
            removed.set()

    async def _answer(self, answer: Answer, request: Request, http: web.BaseRequest, body: bytes) -> _Answered:
        match answer:
            case Refusal():
                return self._refuse(answer, self._arn(request.access_key_id), request.role_arn or "*")
            case Plain():
                return _Answered(
                    answer.status, answer.text.encode(), CIMultiDict({"Content-Type": answer.content_type})
                )
            case Drop():
                if answer.after_serving:
                    await self._forward(http, body)
                return _Answered(None)
            case Pass():
                return await self._forward(http, body)

    async def _obey(self, order: Order, request: Request, http: web.BaseRequest, body: bytes) -> _Answered:
        """The call is where its client dies, or where something goes wrong."""
        match order.what:
            case Moment() | None:
                return await self._die(order, http, body)
            case Disturbance.BUSY:
                return await self._answer(throttled(), request, http, body)
            case Disturbance.FAILED:
                return await self._answer(internal_failure(), request, http, body)
            case Disturbance.UNAVAILABLE:
                return await self._answer(Plain(), request, http, body)
            case Disturbance.LOST:
                await self._forward(http, body)
                await until(lambda: http.transport is None or http.transport.is_closing())
            case _:
                return await self._answer(Drop(after_serving=order.what is Disturbance.RESET), request, http, body)
        return _Answered(None)

    async def _die(self, order: Order, http: web.BaseRequest, body: bytes) -> _Answered:
        """The client is killed around this call, or was to be killed before it."""
        answered = _Answered(None)
        if order.what in (Moment.BETWEEN, Moment.AFTER):
            answered = await self._forward(http, body)
        if order.what is Moment.AFTER:
            order.scope.frozen = True
            asyncio.get_running_loop().call_later(_HEARD_WITHIN, order.reached)
            return answered
        if order.what is not None:
            order.reached()
        await order.released()
        return _Answered(None)

    def _refuse(self, refusal: Refusal, caller: str, role: str) -> _Answered:
        request_id = str(uuid.uuid4())
        headers = CIMultiDict({"Content-Type": "text/xml", "x-amzn-RequestId": request_id})
        return _Answered(refusal.status, refusal.body(request_id, caller, role), headers)

    async def _forward(self, http: web.BaseRequest, body: bytes) -> _Answered:
        headers = _passed_on(http.headers.items())
        url = URL(self.upstream + http.raw_path, encoded=True)
        skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        try:
            async with self._upstream.request(
                http.method, url, headers=headers, data=body, skip_auto_headers=skipped, allow_redirects=False
            ) as answer:
                return _Answered(answer.status, await answer.read(), _passed_on(answer.headers.items()))
        except aiohttp.ClientError as error:
            return self._refuse(Refusal("BadGateway", f"No answer from {self.upstream}: {error}", 502), "", "")

    def _arn(self, access_key_id: str | None) -> str:
        key = access_key_id or ""
        return self._sessions.get(key) or self._caller_arn(key) or _UNKNOWN_CALLER

    def _record(self, request: Request, answered: _Answered, started: float, rule: Rule | None) -> None:
        status, body = answered.status, answered.body
        if request.action == "AssumeRole" and status == 200 and (session := _SESSION.search(body)):
            self._sessions[session[1].decode()] = session[2].decode()
        code = _CODE.search(body) if status is not None and status >= 400 else None
        request_id = _REQUEST_ID.search(body)
        if self.overhear is not None:
            self.overhear(body)
        call = Call(
            action=request.action,
            parameters=request.parameters,
            region=request.region,
            access_key_id=request.access_key_id,
            status=status,
            code=code[1].decode() if code else None,
            request_id=request_id[1].decode() if request_id else None,
            started=started,
            finished=time.time(),
            rule=rule,
        )
        with self._news:
            self._calls.append(call)
            self._news.notify_all()


def _passed_on(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers if name.lower() not in _OF_ONE_CONNECTION)
