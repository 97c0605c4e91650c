"""A store that stays equal to what the API server has, whatever the watch goes through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from spacelift_aws.kube.errors import KubeError, Unanswered
from spacelift_aws.kube.resources import PODS
from spacelift_aws.runtime import reflector as module
from spacelift_aws.runtime.controller import Kind
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.reflector import Reflector
from spacelift_aws.runtime.store import Store, version_of

Event = tuple[str, dict[str, Any]]


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version)}}


GONE: Event = ("ERROR", {"code": 410, "reason": "Expired"})


class FakeKube:
    """Lists `pods`; each watch shows what is next in `watches`, then ends in good order, or never without more."""

    def __init__(self) -> None:
        self.pods = [pod("first", 3)]
        self.version = 5
        self.lists = 0
        self.since: list[str] = []
        self.watches: list[list[Event | KubeError]] = []
        self.fails: list[KubeError] = []

    async def pages(self, *_: object, **__: object) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        self.lists += 1
        if self.fails:
            raise self.fails.pop()
        yield self.pods, str(self.version)

    async def watch(self, *_: object, version: str, **__: object) -> AsyncIterator[Event]:
        self.since.append(version)
        if not self.watches:
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, KubeError):
                raise event
            yield event


class Scene:
    def __init__(self) -> None:
        self.kube = FakeKube()
        self.store: Store[str] = Store()
        self.running: asyncio.Task[None] | None = None
        self.read: list[int] = []
        kind = Kind(PODS, self._parse, self._saw, self._lost, self.store, reflected=True)
        self.reflector = Reflector(self.kube, kind, None, Health())  # type: ignore[arg-type]

    def _parse(self, body: dict[str, Any]) -> dict[str, Any]:
        self.read.append(version_of(body["metadata"]["resourceVersion"]))
        return body

    def _saw(self, body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        self.store.put(key, metadata["uid"], version_of(metadata["resourceVersion"]), metadata["name"])

    def _lost(self, what: Any) -> None:
        name = what if isinstance(what, str) else what["metadata"]["name"]
        self.store.remove(("team", name), name)

    def begin(self) -> None:
        self.running = asyncio.create_task(self.reflector.run())

    async def until_watching(self, watches: int) -> None:
        async with asyncio.timeout(5):
            while len(self.kube.since) < watches:  # noqa: ASYNC110 - a fake gives no sign
                await asyncio.sleep(0.001)

    def known(self) -> set[str]:
        return set(self.store.values())


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(module, "FIRST_RETRY", 0.001)
    made = Scene()
    yield made
    if made.running is not None:
        made.running.cancel()
        with suppress(asyncio.CancelledError):
            await made.running


async def test_what_is_listed_and_watched_is_known(scene: Scene) -> None:
    scene.kube.watches = [[("ADDED", pod("new", 6)), ("DELETED", pod("first", 7)), ("BOOKMARK", pod("", 9))]]
    scene.begin()
    await scene.until_watching(2)
    assert scene.known() == {"new"}
    assert (scene.kube.lists, scene.kube.since) == (1, ["5", "9"]), "a watch that ends goes on from its last word"


async def test_an_echo_of_what_is_known_is_not_read(scene: Scene) -> None:
    scene.store.put(("team", "new"), "new", 7, "new")
    echoes = [("ADDED", pod("new", 6)), ("MODIFIED", pod("new", 7))]
    scene.kube.watches = [[*echoes, ("MODIFIED", pod("new", 8)), ("DELETED", pod("new", 8))]]
    scene.begin()
    await scene.until_watching(2)
    assert scene.read == [3, 8, 8], "an object may be known in the version of its end, by the answer to a DELETE"
    assert scene.known() == {"first"}


async def test_a_list_after_a_gap_reads_only_what_is_news(scene: Scene) -> None:
    scene.kube.watches = [[GONE]]
    scene.begin()
    await scene.reflector.listed.wait()
    scene.kube.pods.append(pod("new", 4))
    await scene.until_watching(2)
    assert scene.read == [3, 4]


@pytest.mark.parametrize("end", [GONE, ("ERROR", {"code": 500}), Unanswered("cut")], ids=["gone", "error", "cut"])
async def test_what_a_gap_hid_is_listed(scene: Scene, end: Event | KubeError) -> None:
    scene.kube.watches = [[("ADDED", pod("new", 6)), end]]
    scene.begin()
    await scene.reflector.listed.wait()
    scene.kube.pods, scene.kube.version = [pod("later", 20)], 20
    await scene.until_watching(2)
    assert scene.known() == {"later"}
    assert scene.kube.since == ["5", "20"]


async def test_nothing_is_listed_until_a_list_succeeds(scene: Scene) -> None:
    scene.kube.fails = [Unanswered("busy")] * 5
    scene.begin()
    await asyncio.sleep(0)
    assert not scene.reflector.listed.is_set()
    await scene.until_watching(1)
    assert scene.kube.lists == 6
    assert scene.reflector.listed.is_set()
