"""What a Run costs: in calls, which depend on no clock and no neighbour, and in processor time beside other work."""

import json
import time
from collections import Counter

import pytest

from sandbox.bench.usage import usage
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT
from sandbox.objects import condition
from sandbox.process import wait_until
from sandbox.stage import Stage
from spacelift_aws.kube.client import CALLS_AT_ONCE
from spacelift_aws.kube.events import SENDERS

RUNS = 100
CALLS = {
    "create secrets": 1.1,
    "delete secrets": 1.1,
    "create pods": 1.1,
    "delete pods": 0.1,
    "patch runs": 1.1,
    "patch runs/status": 4.2,
    "get runs": 1.1,
    "assume role": 1.05,
}
"""At most so many a Run. A Secret and a pod are created, the Secret is deleted; a status marks that the pod may exist,
tells that it runs, how it ended, and where its start takes long that it prepares; an ended Run is marked. The rest is
for conflicts, and for ends that the watch shows before the answer to our own write is there. Nothing is ever read for a
Run's sake otherwise."""

ROUND_TRIPS = 700
"""Processor time of the controller a Run, at most, as a multiple of what it takes to write and read an AwsIntegration
as JSON once, with Python's own `json`, on the same machine at the same time. Usual is half of it."""


@pytest.mark.slow
def test_a_run_keeps_to_its_budget(stage: Stage) -> None:
    namespace = stage.namespace()
    stage.integration(namespace)
    stage.objects.wait(
        "AwsIntegration", namespace, "prod", lambda body: condition(body, "Ready").get("status") == "True"
    )
    before, round_trips = usage(stage.controller.process.pid), [_round_trip(stage, namespace)]
    for _ in range(RUNS):
        stage.run(namespace, "sleep 3")

    def finished() -> int:
        return sum(condition(run, "Succeeded").get("status") == "True" for run in stage.objects.list("Run", namespace))

    wait_until(lambda: finished() == RUNS, timeout=240, what=f"{RUNS} Runs to finish", interval=1)
    calls = {**_calls(stage, namespace), "assume role": _sessions(stage, namespace)}
    print(f"calls a Run: {calls}")
    assert {call: count for call, count in calls.items() if count > CALLS.get(call, 0)} == {}, "calls a Run"
    told = _calls(stage, namespace, of_events=True)["create events"]
    share = told / sum(_calls(stage, namespace).values())
    assert share < SENDERS / CALLS_AT_ONCE, "Events have a smaller share of the calls at once than of the calls"
    cpu = (usage(stage.controller.process.pid).cpu - before.cpu) / RUNS
    round_trips.append(_round_trip(stage, namespace))
    print(f"CPU a Run: {cpu * 1000:.1f} ms, a round trip: {round_trips} s")
    assert cpu / max(round_trips) < ROUND_TRIPS, "processor time a Run"


def _round_trip(stage: Stage, namespace: str) -> float:
    """Seconds of processor time that it takes here and now to write and read an AwsIntegration as JSON."""
    body = stage.objects.get("AwsIntegration", namespace, "prod")
    began = time.thread_time()
    for _ in range(2_000):
        json.loads(json.dumps(body))
    return (time.thread_time() - began) / 2_000


def _sessions(stage: Stage, namespace: str) -> float:
    """Calls of STS a Run: a session's name is the run's ID."""
    names = {run["status"]["runId"] for run in stage.objects.list("Run", namespace)}
    return sum(call.session_name in names for call in stage.proxy.calls) / RUNS


def _calls(stage: Stage, namespace: str, *, of_events: bool = False) -> dict[str, float]:
    """The controller's calls a Run, by verb and resource: all that no Event needs, or those alone."""
    user = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
    counted = Counter(
        f"{event.verb} {event.resource}/{event.subresource}".rstrip("/")
        for event in stage.cluster.audit_events(namespace)
        if event.user == user and event.resource != "awsintegrations" and (event.resource == "events") is of_events
    )
    return {call: count / RUNS for call, count in counted.items()}
