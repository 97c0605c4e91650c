"""Kopf itself against an API server that does as it is told: nothing that it answers ends the watches for good."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from aiohttp import ClientMiddlewareType, web
from kubernetes import client

from spacelift_aws.kube.connection import Connection, connect
from spacelift_aws.kube.resources import PODS
from spacelift_aws.runtime.controller import Kind
from spacelift_aws.runtime.health import UNWATCHED_AFTER, Health
from spacelift_aws.runtime.kopf_adapter import watch as module
from spacelift_aws.runtime.kopf_adapter.watch import EndlessBackoffs, KopfWatch, settings
from spacelift_aws.runtime.store import Store

PATH = "/api/v1/pods"
STAYS_OPEN = None
"""In place of an event: nothing more comes, and the watch does not end."""


def pod(name: str, version: int = 1) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version)}}


def error(code: int) -> dict[str, Any]:
    status = {"kind": "Status", "status": "Failure", "code": code, "reason": "Odd", "message": "so it is"}
    return {"type": "ERROR", "object": status}


class Server:
    """Lists `listed`; each watch sends what is next in `watches` and ends, or stays open where there is no more."""

    def __init__(self) -> None:
        self.listed = [pod("listed")]
        self.watches: list[list[dict[str, Any] | None]] = []
        self.refusals: list[int] = []
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api":
            return web.json_response({"versions": ["v1"]})
        if request.path == "/apis":
            return web.json_response({"groups": []})
        if request.path == "/api/v1":
            verbs = ["list", "watch", "get"]
            pods = {"name": "pods", "kind": "Pod", "singularName": "pod", "namespaced": True, "verbs": verbs}
            kinds = [pods, {**pods, "name": "namespaces", "kind": "Namespace", "namespaced": False}]
            return web.json_response({"resources": kinds})
        self.asked.append("watch" if "watch" in request.query else "list")
        if self.refusals:
            return web.json_response({"kind": "Status"}, status=self.refusals.pop(0))
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": self.listed})
        response = web.StreamResponse()
        await response.prepare(request)
        for event in self.watches.pop(0) if self.watches else [STAYS_OPEN]:
            if event is STAYS_OPEN:
                await asyncio.sleep(60)
            await response.write(json.dumps(event).encode() + b"\n")
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = web.ServerRunner(web.Server(made.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


class Scene:
    """A watch of pods, and what it has told."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seen: list[str] = []
        self.relisted: list[str] = []
        self.health = Health()
        self.signals = 0
        self.asked_for = 0
        self.read: list[str] = []
        self.store: Store[str] = Store()
        kind = Kind(PODS, self._parse, self.seen.append, self._lost, self.store)
        self.watch = KopfWatch(
            (kind,),
            (),
            self._login,
            served=self._served,
            relisted=self.relisted.append,
            health=self.health,
            own_signals=self._own_signals,
        )

    def _parse(self, body: dict[str, Any]) -> str:
        self.read.append(body["metadata"]["resourceVersion"])
        return str(body["metadata"]["name"])

    def _lost(self, name: str) -> None:
        self.seen.append(f"not {name}")

    async def _served(self) -> None:
        self.asked_for += 1

    def _own_signals(self) -> None:
        self.signals += 1

    async def _login(self, hear: ClientMiddlewareType) -> Connection:
        return connect(client.Configuration(host=self.server.url), hear)

    async def until(self, *seen: str) -> None:
        async with asyncio.timeout(20):
            while not set(seen) <= set(self.seen):  # noqa: ASYNC110 - a fake gives no sign
                await asyncio.sleep(0.01)


@pytest.fixture
async def scene(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(module, "LAST_RETRY", 0.05)
    made = Scene(server)
    running = asyncio.create_task(made.watch.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_what_is_listed_and_watched_is_fed(server: Server, scene: Scene) -> None:
    told = [{"type": "ADDED", "object": pod("new", 6)}, {"type": "DELETED", "object": pod("listed", 7)}]
    server.watches = [[*told, STAYS_OPEN]]
    await scene.until("listed", "new", "not listed")
    assert scene.relisted == [PATH]
    assert scene.health.watches[PATH].answer is not None
    assert scene.signals == 1


async def test_an_echo_of_what_is_known_is_not_read(server: Server, scene: Scene) -> None:
    scene.store.put(("team", "new"), "new", 7, "by the answer to a write")
    echoes = [{"type": type_, "object": pod("new", version)} for type_, version in (("ADDED", 6), ("MODIFIED", 7))]
    # An object may be known in the version of its end, by the answer to a DELETE.
    news = [{"type": "MODIFIED", "object": pod("new", 8)}, {"type": "DELETED", "object": pod("new", 7)}]
    server.watches = [[*echoes, *news, STAYS_OPEN]]
    await scene.until("not new")
    assert scene.read == ["1", "8", "7"]


async def test_a_gap_is_told(server: Server, scene: Scene) -> None:
    server.watches = [[error(410)]]
    await scene.until("listed")
    async with asyncio.timeout(20):
        while len(scene.relisted) < 2:  # noqa: ASYNC110 - a fake gives no sign
            await asyncio.sleep(0.01)
    assert scene.signals == 1, "Kopf was not started again"


async def test_an_error_that_kopf_does_not_know_costs_a_new_start(
    server: Server, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    server.watches = [[error(500)], [{"type": "ADDED", "object": pod("later", 9)}]]
    await scene.until("later")
    assert scene.signals == 2
    assert "the watches have ended (WatchingError" in caplog.text


async def test_a_kind_that_is_not_there_for_a_while_costs_a_new_start(server: Server, scene: Scene) -> None:
    server.refusals = [404, 404]
    await scene.until("listed")
    assert (scene.signals, scene.asked_for) == (3, 3), "each start waits for the definitions"


async def test_an_outage_is_waited_for(server: Server, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    # More than all tries that Kopf makes by itself.
    server.refusals = [503, 403, 429] * 4
    await scene.until("listed")
    assert (scene.signals, len(server.asked)) == (1, 14)
    assert "the watches have ended" not in caplog.text


def test_backoffs_never_end_begin_anew_and_stay_within_what_health_allows() -> None:
    chosen = settings(())
    backoffs = chosen.networking.error_backoffs
    assert isinstance(backoffs, EndlessBackoffs)
    many = list(islice(backoffs, 1000))
    assert len(many) == 1000
    assert max(many) < UNWATCHED_AFTER / 2
    assert next(iter(backoffs)) < 2
    assert chosen.process.ultimate_exiting_timeout is None, "Kopf would kill the process after a new start"
