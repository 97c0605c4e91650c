"""Lists tell what watches did not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from spacelift_aws.controllers.kinds import kinds
from spacelift_aws.kube.errors import KubeError, Unanswered
from spacelift_aws.kube.resources import INTEGRATIONS, NAMESPACES, PODS, RUNS, Resource
from spacelift_aws.runtime import relist as module
from spacelift_aws.runtime.relist import Relister

LIVE = "status.phase!=Finished,status.phase!=Failed,status.phase!=Stopped"


class FakeKube:
    """Lists Runs, two a page; other kinds are empty."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.version = 10
        self.lists = 0
        self.selectors: list[str | None] = []
        self.fails: list[KubeError] = []

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        if resource is not RUNS:
            yield [], str(self.version)
            return
        self.lists += 1
        self.selectors.append(field_selector)
        for start in range(0, max(len(self.runs), 1), 2):
            yield self.runs[start : start + 2], str(self.version)
            if self.fails:
                raise self.fails.pop()


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    monkeypatch.setattr(module, "RETRY", 0.001)
    return FakeKube()


def relister(sight: Any, kube: FakeKube, every: float = 3600) -> Relister:
    seen = kinds(sight.router, sight.stores, namespaces_too=True, jobs_too=False)
    return Relister(
        kube,  # type: ignore[arg-type]
        seen,
        (),
        timedelta(seconds=every),
        sight.health,
        saw_everything=lambda: kube.selectors.append("told"),
    )


async def first(sight: Any, kube: FakeKube) -> Relister:
    """The lists at the start, after Kopf has begun to watch everything."""
    made = relister(sight, kube)
    for resource in (NAMESPACES, INTEGRATIONS, RUNS, PODS):
        made.heard_list(resource.path())
    async with asyncio.timeout(5):
        await made.first()
    return made


async def run_until(made: Relister, kube: FakeKube, lists: int) -> None:
    """Let it list until there were so many lists, and some time more."""
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(5):
        while kube.lists < lists:  # noqa: ASYNC110 - a fake gives no sign
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_nothing_is_listed_before_it_is_watched_and_then_what_is_watched(sight: Any, kube: FakeKube) -> None:
    made = relister(sight, kube)
    listing = asyncio.create_task(made.first())
    for resource in (NAMESPACES, INTEGRATIONS, PODS):
        made.heard_list(resource.path())
    await asyncio.sleep(0.01)
    assert kube.lists == 0
    assert sight.health.why_not_ready() == "waiting for the watch of runs"
    made.heard_list(RUNS.path())
    async with asyncio.timeout(5):
        await listing
    assert kube.selectors == [LIVE]


async def test_what_is_not_watched_is_listed_once_more_and_then_all_is_seen(sight: Any, kube: FakeKube) -> None:
    made = await first(sight, kube)
    await run_until(made, kube, 2)
    assert kube.selectors == [LIVE, None, "told"]


async def test_all_is_not_seen_while_a_list_fails(sight: Any, kube: FakeKube) -> None:
    made = await first(sight, kube)
    kube.fails = [Unanswered("in the middle")]
    await run_until(made, kube, 3)
    assert kube.selectors == [LIVE, None, None, "told"]


async def test_what_vanished_is_lost_and_what_came_later_is_not(sight: Any, kube: FakeKube) -> None:
    for name, version in (("gone", 3), ("later", 11)):
        sight.router.saw_run(sight.run(name=name, uid=name, version=version))
    kube.runs = [sight.body(name=f"listed-{n}", uid=f"listed-{n}", version=n) for n in range(1, 6)]
    await run_until(await first(sight, kube), kube, 2)
    names = {key[1] for key, _ in sight.stores.runs.items()}
    assert names == {"later", *(f"listed-{n}" for n in range(1, 6))}


async def test_half_a_list_loses_nothing(sight: Any, kube: FakeKube) -> None:
    sight.router.saw_run(sight.run(name="third", uid="uid-3", version=3))
    kube.runs = [sight.body(name=f"{n}", uid=f"uid-{n}", version=n) for n in range(1, 4)]
    made = await first(sight, kube)
    kube.fails = [Unanswered("in the middle")]
    await run_until(made, kube, 3)
    assert sight.stores.runs.get(("team", "third")) is not None


async def test_an_object_that_cannot_be_read_is_left_alone(
    sight: Any, kube: FakeKube, caplog: pytest.LogCaptureFixture
) -> None:
    kube.runs = [{"metadata": {"name": "odd", "namespace": "team", "uid": "odd"}, "spec": {"word": "confidential"}}]
    kube.runs.append(sight.body())
    await first(sight, kube)
    assert len(sight.stores.runs) == 1
    assert "team/odd" in caplog.text
    assert "confidential" not in caplog.text


async def test_a_list_of_kopfs_leads_to_one_of_ours(sight: Any, kube: FakeKube) -> None:
    made = await first(sight, kube)
    await run_until(made, kube, 2)
    made.heard_list("/api/v1/secrets")
    made.heard_list(RUNS.path())
    await run_until(made, kube, 3)
    assert kube.selectors == [LIVE, None, "told", None]


async def test_lists_come_again_and_again(sight: Any, kube: FakeKube) -> None:
    await run_until(relister(sight, kube, every=0.01), kube, 3)


async def test_who_asks_meanwhile_hears_what_is_missing(sight: Any, kube: FakeKube) -> None:
    await first(sight, kube)
    assert sight.health.why_not_ready() == "waiting for the list of pods"
