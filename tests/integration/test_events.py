"""Events are told also while the API server is slow."""

import pytest

from sandbox.apiproxy import ApiProxy, Fault, Hold
from sandbox.objects import complete, condition
from sandbox.process import wait_until
from sandbox.stage import Stage
from spacelift_aws.kube.client import CALLS_AT_ONCE


@pytest.mark.slow
def test_events_do_not_wait_behind_the_calls_for_runs(stage: Stage, api: ApiProxy) -> None:
    namespace = stage.namespace()
    stage.integration(namespace)
    stage.objects.wait(
        "AwsIntegration", namespace, "prod", lambda body: condition(body, "Ready").get("status") == "True"
    )

    def told() -> int:
        return sum(event["reason"] == "NoHelper" for event in stage.objects.list("Event", namespace))

    with api.fault(Fault("POST", "/pods", Hold())) as fault:
        runs = [stage.run(namespace) for _ in range(CALLS_AT_ONCE)]
        # More where a held call was given up and sent again.
        wait_until(lambda: fault.used >= CALLS_AT_ONCE, timeout=20, what="a call for each Run to be held", interval=0.2)
        # Every turn is taken. Each Run has said before that it has no helper.
        wait_until(lambda: told() == CALLS_AT_ONCE, timeout=5, what="the Events", interval=0.2)
    for run in runs:
        stage.objects.wait("Run", namespace, run, complete, timeout=60)
