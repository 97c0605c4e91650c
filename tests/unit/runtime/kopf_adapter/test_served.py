"""Nothing is watched before it is defined."""

from typing import Any

import pytest

from spacelift_aws.controllers.kinds import kinds
from spacelift_aws.kube.errors import KubeError, Unanswered
from spacelift_aws.kube.resources import Resource
from spacelift_aws.runtime.kopf_adapter import served as module
from spacelift_aws.runtime.kopf_adapter.served import until_served


class FakeKube:
    """Fails as it is told, then knows one kind only after a second question; notes what is said meanwhile."""

    def __init__(self, sight: Any) -> None:
        self.sight = sight
        self.fails: list[KubeError] = [Unanswered("not up yet")]
        self.known = False
        self.said: list[str | None] = []

    async def served(self, resource: Resource) -> bool:
        self.said.append(self.sight.health.why_not_ready())
        if self.fails:
            raise self.fails.pop()
        known, self.known = self.known, True
        return known


async def test_nothing_begins_before_all_kinds_are_served(
    sight: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.001)
    kube = FakeKube(sight)
    sight.health.waits_for = None
    await until_served(kube, kinds(sight.router, sight.stores, namespaces_too=True, jobs_too=False), sight.health)  # type: ignore[arg-type]
    assert "not up yet" in caplog.text
    assert "apply the CRDs" in caplog.text
    first, *others = ("namespaces", "awsintegrations", "runs", "pods")
    assert kube.said == [f"waiting for the definition of {kind}" for kind in (first, first, first, *others)]
    assert sight.health.why_not_ready() is None, "as it was before"
