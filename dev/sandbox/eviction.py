"""Evictions as a drain asks for them, and the budget of the chart that makes it wait for runs."""

import json

from sandbox import charts
from sandbox.cluster import Cluster
from sandbox.controller import NAMESPACE
from sandbox.objects import Answer, Object, Objects
from sandbox.process import wait_until

BUDGET = "spacelift-aws-runs"


def evict(objects: Objects, namespace: str, pod: str, *, really: bool = True) -> Answer:
    """Ask for a pod's eviction, as `kubectl drain` does for each pod of a node; or try out whether it would go."""
    body: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    if not really:
        body["deleteOptions"] = {"dryRun": ["All"]}
    return objects.request("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body)


def protect(cluster: Cluster, namespace: str) -> None:
    """Create the chart's budget for the runs of a namespace, and wait until the disruption controller counts pods."""
    rendered = charts.render(charts.OPERATOR, NAMESPACE, {"runDisruptionBudget": {"namespaces": [namespace]}})
    (budget,) = [body for body in charts.documents(rendered) if body["metadata"]["name"] == BUDGET]
    where = f"--namespace={namespace}"
    cluster.kubectl("create", "--filename=-", input=json.dumps(budget))

    def counted() -> bool:
        shown = cluster.kubectl("get", "poddisruptionbudget", BUDGET, where, "--output=json").stdout
        return bool(json.loads(shown)["status"].get("expectedPods"))

    wait_until(counted, timeout=30, what="the disruption controller")
