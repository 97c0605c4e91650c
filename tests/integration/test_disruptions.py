"""A drain waits for runs: the chart's budget, Kubernetes' own disruption controller, and the API server's evictions."""

import json

import pytest

from sandbox import charts
from sandbox.controller import NAMESPACE
from sandbox.objects import Answer, Object, complete
from sandbox.process import wait_until
from sandbox.stage import Stage

pytestmark = pytest.mark.slow

BUDGET = "spacelift-aws-runs"


def evict(stage: Stage, namespace: str, pod: str) -> Answer:
    """What `kubectl drain` asks for each pod of a node, tried out."""
    body: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    body["deleteOptions"] = {"dryRun": ["All"]}
    return stage.objects.request("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body)


def test_no_pod_of_a_run_is_evicted_under_the_charts_budget(stage: Stage, namespace: str) -> None:
    stage.integration(namespace)
    name = stage.run(namespace, "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    run = stage.objects.wait("Run", namespace, name, lambda run: (run or {})["status"]["phase"] == "Running")
    pod = run["status"]["podName"]
    assert evict(stage, namespace, pod).status == 201

    rendered = charts.render(charts.OPERATOR, NAMESPACE, {"runDisruptionBudget": {"namespaces": [namespace]}})
    (budget,) = [body for body in charts.documents(rendered) if body["metadata"]["name"] == BUDGET]
    kubectl, where = stage.cluster.kubectl, f"--namespace={namespace}"
    kubectl("create", "--filename=-", input=json.dumps(budget))

    def counted() -> bool:
        status = json.loads(kubectl("get", "poddisruptionbudget", BUDGET, where, "--output=json").stdout)["status"]
        return bool(status.get("expectedPods"))

    wait_until(counted, timeout=30, what="the disruption controller")
    refused = evict(stage, namespace, pod)
    assert refused.status == 429
    assert "needs 1000000 healthy pods" in json.dumps(refused.content)

    stage.objects.patch("Run", namespace, name, {"spec": {"stop": True}})
    stage.objects.wait("Run", namespace, name, complete)
    # A pod that has ended is nobody's to protect: it is gone, or goes.
    assert evict(stage, namespace, pod).status in (201, 404)
