"""One namespace that cannot be watched costs the others nothing."""

import asyncio

import pytest

from spacelift_aws.kube.errors import KubeError, Unanswered
from spacelift_aws.kube.resources import PODS, Resource
from spacelift_aws.runtime import namespaces as module
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.namespaces import NamespaceAccess, divide, until_one_is_permitted


class FakeKube:
    """Permits lists in `permitted`; after `grants` questions in all namespaces."""

    def __init__(self, *permitted: str, grants: int = 1000) -> None:
        self.permitted = set(permitted)
        self.no_pods: set[str] = set()
        self.fails: list[KubeError] = []
        self._grants = grants

    async def may_list(self, resource: Resource, namespace: str) -> bool:
        if self.fails:
            raise self.fails.pop()
        self._grants -= 1
        if resource is PODS and namespace in self.no_pods:
            return False
        return namespace in self.permitted or self._grants <= 0


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(module, "RETRY", 0.001)


async def test_what_is_permitted_is_watched_and_the_rest_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    found = await divide(FakeKube("a", "c"), ("a", "b", "c"), Health())  # type: ignore[arg-type]
    assert found == NamespaceAccess(("a", "c"), ("b",))
    assert "namespace b is left alone" in caplog.text


async def test_half_a_permission_is_none() -> None:
    kube = FakeKube("a", "b")
    kube.no_pods = {"b"}
    assert await divide(kube, ("a", "b"), Health()) == NamespaceAccess(("a",), ("b",))  # type: ignore[arg-type]


async def test_no_answer_is_no_refusal(caplog: pytest.LogCaptureFixture) -> None:
    kube = FakeKube("a", "b")
    kube.fails = [Unanswered("busy")]
    assert await divide(kube, ("a", "b"), Health()) == NamespaceAccess(("a", "b"))  # type: ignore[arg-type]
    assert "busy" in caplog.text


async def test_without_any_it_waits_and_says_so_instead_of_watching_all() -> None:
    health = Health()
    kube = FakeKube()
    waiting = asyncio.create_task(divide(kube, ("a", "b"), health))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert "any namespace that is to be watched" in (health.why_not_ready() or "")
    kube.permitted.add("b")
    async with asyncio.timeout(5):
        assert await waiting == NamespaceAccess(("b",), ("a",))


async def test_one_that_comes_later_is_noticed() -> None:
    async with asyncio.timeout(5):
        assert await until_one_is_permitted(FakeKube(grants=7), ("a", "b")) in ("a", "b")  # type: ignore[arg-type]
