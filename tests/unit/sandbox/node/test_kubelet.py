"""Which pods the node takes, and how it keeps up with them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import pytest

from sandbox.node.apiserver import ApiError, ApiServer
from sandbox.node.kubelet import HOLD, Kubelet, Settings, concerns
from sandbox.node.podlife import PodLife


def pod(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": name, "resourceVersion": "5"},
        "spec": {"schedulerName": "default-scheduler", **spec},
        "status": {"phase": "Pending"},
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (pod(), True),
        (pod(nodeName="node-1"), True),
        (pod(nodeName="node-1", schedulerName="other"), True),
        (pod(nodeName="node-2"), False),
        (pod(schedulerName="other"), False),
        (pod(schedulingGates=[{"name": "wait"}]), False),
        ({**pod(), "status": {"phase": "Failed"}}, False),
        ({**pod(), "metadata": {"uid": "a", "annotations": {HOLD: "true"}}}, False),
        ({**pod(), "metadata": {"uid": "a", "annotations": {HOLD: "false"}}}, True),
        ({**pod(), "metadata": {"uid": "a", "deletionTimestamp": "2026-01-02T03:04:05Z"}}, False),
    ],
)
def test_which_pods_concern_the_node(body: dict[str, Any], expected: bool) -> None:
    assert concerns(body, "node-1") is expected


class Lives:
    """Stands in for a pod's life and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def observe(self, _pod: Any) -> None:
        self.told.append("observed")

    def vanish(self) -> None:
        self.told.append("vanished")


class Scripted:
    """An API server whose watches end as scripted; each listing shows the pods that are left then."""

    def __init__(self, listings: list[list[dict[str, Any]]], watches: list[Any]) -> None:
        self.listings = listings
        self.watches = watches
        self.asked: list[str] = []
        self.done = asyncio.Event()

    async def get(self, _path: str) -> dict[str, Any]:
        self.asked.append("list")
        return {"metadata": {"resourceVersion": "10"}, "items": self.listings.pop(0)}

    async def watch(self, _path: str, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        self.asked.append(f"watch {version}")
        if not self.watches:
            self.done.set()
            await asyncio.Event().wait()
        outcome = self.watches.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        for event in outcome:
            yield event


async def followed(server: Scripted, *names: str) -> dict[str, list[str]]:
    kubelet = Kubelet(Settings(), cast("Any", None))
    lives = {name: Lives() for name in names}
    kubelet._lives.update(cast("dict[str, PodLife]", lives))
    task = asyncio.create_task(kubelet._watch(cast("ApiServer", server)))
    await asyncio.wait_for(server.done.wait(), 5)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return {name: life.told for name, life in lives.items()}


async def test_a_version_that_is_too_old_means_listing_again_and_missing_nothing() -> None:
    server = Scripted([[pod("a"), pod("b")], [pod("b")]], [ApiError(410, "Expired", "too old")])
    assert await followed(server, "a", "b") == {"a": ["observed", "vanished"], "b": ["observed", "observed"]}
    assert server.asked == ["list", "watch 10", "list", "watch 10"]


async def test_a_watch_that_ends_or_breaks_is_resumed_where_it_was() -> None:
    bookmark = ("BOOKMARK", {"metadata": {"resourceVersion": "12"}})
    server = Scripted([[pod("a")]], [[bookmark], OSError("reset"), [("DELETED", pod("a"))]])
    assert await followed(server, "a") == {"a": ["observed", "vanished"]}
    assert server.asked == ["list", "watch 10", "watch 12", "watch 12", "watch 5"]
