"""What a Run costs: writes and processor time, which depend on no clock and no neighbour."""

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT
from sandbox.objects import condition
from sandbox.process import wait_until
from sandbox.stage import Stage

RUNS = 100
WRITES = {"secrets": 2.2, "pods": 1.2, "runs": 1.1, "runs/status": 4.2}
"""At most so many a Run. A Secret and a pod are created, the Secret is deleted; a status marks that the pod may exist,
tells that it runs, how it ended, and where its start takes long that it prepares; an ended Run is marked. The rest is
for conflicts."""
CPU = 0.060
"""Seconds at most. Beside others the same work takes two to three times as long as alone on a machine."""
QUIET = 8.0
"""Seconds for which is looked at what the controller does anyway."""
WRITING = ("create", "update", "patch", "delete")


@pytest.mark.slow
def test_a_run_keeps_to_its_budget(stage: Stage) -> None:
    namespace = stage.namespace()
    stage.integration(namespace)
    stage.objects.wait(
        "AwsIntegration", namespace, "prod", lambda body: condition(body, "Ready").get("status") == "True"
    )
    # What the controller does beside, for the integrations of other tests, is not this test's.
    idle, began = _idle_load(stage), time.monotonic()
    before = _cpu_seconds(stage)
    for _ in range(RUNS):
        stage.run(namespace, "sleep 3")

    def finished() -> int:
        return sum(condition(run, "Succeeded").get("status") == "True" for run in stage.objects.list("Run", namespace))

    wait_until(lambda: finished() == RUNS, timeout=240, what=f"{RUNS} Runs to finish", interval=1)
    used = (_cpu_seconds(stage) - before - idle * (time.monotonic() - began)) / RUNS
    writes = _writes(stage, namespace)
    print(f"{used * 1000:.1f} ms of CPU and these writes a Run: {writes}")
    assert used <= CPU, f"{used * 1000:.1f} ms of CPU a Run"
    over = {resource: count for resource, count in writes.items() if count > WRITES.get(resource, 0)}
    assert over == {}, "writes a Run"


def _idle_load(stage: Stage) -> float:
    """CPU seconds a second that the controller takes without a Run of this test's."""
    before, began = _cpu_seconds(stage), time.monotonic()
    time.sleep(QUIET)
    return (_cpu_seconds(stage) - before) / (time.monotonic() - began)


def _writes(stage: Stage, namespace: str) -> dict[str, float]:
    """The controller's writes a Run, by resource. Events may be dropped, and are none of a Run's course."""
    user = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
    counted = Counter(
        f"{event.resource}/{event.subresource}".rstrip("/")
        for event in stage.cluster.audit_events()
        if event.user == user and event.verb in WRITING and event.namespace == namespace
    )
    return {resource: count / RUNS for resource, count in counted.items() if resource not in _OTHERS}


_OTHERS = ("events", "awsintegrations/status")


def _cpu_seconds(stage: Stage) -> float:
    """User and system time of the controller; see proc(5)."""
    fields = Path(f"/proc/{stage.controller.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
