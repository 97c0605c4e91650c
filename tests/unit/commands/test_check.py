"""Whether some replica acts, by what happens to a Lease while it is looked at."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from spacelift_aws import __main__ as program
from spacelift_aws.commands import check as command_check
from spacelift_aws.commands.check import NobodyActsError, renewal
from spacelift_aws.kube.client import Kube, Object
from spacelift_aws.kube.errors import Forbidden, KubeError, NotFound
from spacelift_aws.kube.resources import Resource
from spacelift_aws.runtime.role import LeaseName

LEASE = LeaseName("spacelift-aws", "spacelift-aws-controller")


class Seen(Kube):
    """A Lease as it looks one time after another, the last of them for ever."""

    def __init__(self, *looks: Object | KubeError) -> None:
        super().__init__()
        self._looks: Iterator[Object | KubeError] = iter(looks)
        self._look: Object | KubeError = {}

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        self._look = next(self._looks, self._look)
        if isinstance(self._look, KubeError):
            raise self._look
        return self._look


def held(holder: str, renewed: int) -> Object:
    spec: dict[str, Any] = {"holderIdentity": holder, "renewTime": f"2026-01-01T00:00:{renewed:02}.000000Z"}
    return {"spec": spec}


async def look(*looks: Object | KubeError) -> str:
    """By a clock of its own, on which each look takes a second."""
    seconds = count()
    return await renewal(Seen(*looks), LEASE, within=5, every=0, clock=lambda: float(next(seconds)))


@pytest.mark.parametrize(
    "looks",
    [
        [held("one", 1), held("one", 3)],
        [NotFound(404, "NotFound", "no lease"), held("one", 1), held("one", 3)],
        [held("", 1), held("one", 2), held("one", 4)],
        [held("other", 1), held("one", 2), held("one", 4)],
    ],
    ids=["at once", "made meanwhile", "taken meanwhile", "taken over meanwhile"],
)
async def test_a_replica_that_renews_acts(looks: list[Object | KubeError]) -> None:
    assert await look(*looks) == "one acts: it renews Lease spacelift-aws/spacelift-aws-controller"


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([NotFound(404, "NotFound", "no lease")], "there is no Lease"),
        ([held("one", 1)], "is held by one, who does not renew it"),
        ([held("", 1)], "nobody holds Lease"),
        ([held("", 1), held("", 2)], "nobody holds Lease"),
        ([held("other", 1), held("one", 2)], "is held by one, who does not renew it"),
        ([{"spec": None}], "nobody holds Lease"),
        ([Forbidden(403, "Forbidden", "leases is forbidden")], "cannot be read: .*leases is forbidden"),
    ],
)
async def test_what_was_seen_instead_is_told(looks: list[Object | KubeError], told: str) -> None:
    with pytest.raises(NobodyActsError, match=told):
        await look(*looks)


@pytest.mark.parametrize(
    ("command", "namespace", "wanted"),
    [
        ("controller", "spacelift-aws", LeaseName("spacelift-aws", "spacelift-aws-controller")),
        ("worker", "research-workers", LeaseName("research-workers", "spacelift-aws-worker-build")),
    ],
)
def test_the_command_looks_at_the_lease_of_what_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    namespace: str,
    wanted: LeaseName,
) -> None:
    looked_at: list[LeaseName] = []

    async def check(lease: LeaseName) -> str:
        looked_at.append(lease)
        if command == "worker":
            raise NobodyActsError("nobody holds it")
        return "one acts"

    monkeypatch.setattr(command_check, "check", check)
    monkeypatch.setenv("SPACELIFT_AWS_NAMESPACE", namespace)
    monkeypatch.setenv("SPACELIFT_AWS_INSTALLATION", "acme-prod")
    monkeypatch.setenv("SPACELIFT_AWS_POOL", "build")
    code = program.main(["check", command])
    said = capsys.readouterr()
    assert looked_at == [wanted]
    assert (code, said.out, said.err) == (
        (0, "one acts\n", "") if command == "controller" else (1, "", "nobody holds it\n")
    )


def test_outside_a_cluster_the_command_has_to_be_told_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPACELIFT_AWS_NAMESPACE", raising=False)
    assert program.main(["check", "controller"]) == 2
    assert capsys.readouterr().err.startswith("SPACELIFT_AWS_NAMESPACE: set it")
