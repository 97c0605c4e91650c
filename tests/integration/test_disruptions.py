"""A drain waits for runs: the chart's budget, Kubernetes' own disruption controller, and the API server's evictions."""

import json

import pytest

from sandbox.eviction import evict, protect
from sandbox.objects import complete
from sandbox.stage import Stage

pytestmark = pytest.mark.slow


def test_no_pod_of_a_run_is_evicted_under_the_charts_budget(stage: Stage, namespace: str) -> None:
    stage.integration(namespace)
    name = stage.run(namespace, "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    run = stage.objects.wait("Run", namespace, name, lambda run: (run or {})["status"]["phase"] == "Running")
    pod = run["status"]["podName"]
    assert evict(stage.objects, namespace, pod, really=False).status == 201

    protect(stage.cluster, namespace)
    refused = evict(stage.objects, namespace, pod, really=False)
    assert refused.status == 429
    assert "needs 1000000 healthy pods" in json.dumps(refused.content)

    stage.objects.patch("Run", namespace, name, {"spec": {"stop": True}})
    stage.objects.wait("Run", namespace, name, complete)
    # A pod that has ended is nobody's to protect: it is gone, or goes.
    assert evict(stage.objects, namespace, pod, really=False).status in (201, 404)
