"""`helm test` of both charts, in containers: a pod of the image itself finds a replica that acts."""

import pytest

from sandbox import charts
from sandbox.controller import NAMESPACE
from sandbox.realnode.stage import WORKERS, RealStage


@pytest.mark.parametrize(("release", "namespace"), [("operator", NAMESPACE), ("pool", WORKERS)])
def test_helm_test_finds_a_replica_that_acts(stage: RealStage, release: str, namespace: str) -> None:
    said = charts.helm(stage.cluster, "test", release, f"--namespace={namespace}", "--timeout=120s")
    assert "Phase:          Succeeded" in said
