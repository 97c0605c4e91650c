"""What the API server cannot refuse, refused by the controller, at nobody else's cost."""

from datetime import datetime

import pytest

from sandbox.faults import Match
from sandbox.objects import Object, condition
from sandbox.stage import API_VERSION, Stage
from spacelift_aws.names import run_id

pytestmark = pytest.mark.slow

BEYOND_PYTHON = 1500
"""Levels: deeper than Python's recursion limit and than orjson goes."""
BEYOND_NEARLY_EVERYTHING = 9500
"""Levels: the API server takes 10,000."""


def run_id_of(stage: Stage, namespace: str, name: str) -> str:
    metadata = (stage.objects.get("Run", namespace, name) or {})["metadata"]
    return run_id(datetime.fromisoformat(metadata["creationTimestamp"]), metadata["uid"])


@pytest.mark.parametrize("depth", [BEYOND_PYTHON, BEYOND_NEARLY_EVERYTHING])
def test_a_template_deeper_than_parsers_go_is_refused_and_stops_nobody_else(
    stage: Stage, namespace: str, depth: int
) -> None:
    stage.integration(namespace)
    nested = '{"x":' * depth + "1" + "}" * depth
    spec = f'{{"containers":[{{"name":"main","image":"none"}}],"x":{nested}}}'
    body = (
        f'{{"apiVersion":"{API_VERSION}","kind":"Run","metadata":{{"name":"deep","namespace":"{namespace}"}},'
        f'"spec":{{"integrationRef":{{"name":"prod"}},"template":{{"spec":{spec}}}}}}}'
    )
    # kubectl would go through it itself, and give up.
    path = f"/apis/aws.spacelift.io/v1beta1/namespaces/{namespace}/runs"
    stage.cluster.kubectl("create", f"--raw={path}", "--filename=-", input=body)
    other = stage.run(namespace)

    stage.objects.wait("Run", namespace, other, lambda run: condition(run, "Complete"))
    deep = stage.cluster.kubectl(
        "wait", f"--namespace={namespace}", "--for=condition=Complete", "awsrun/deep", "--timeout=20s", check=False
    )
    phase = stage.cluster.kubectl(
        "get", f"--namespace={namespace}", "awsrun/deep", "--output=jsonpath={.status.phase} {.status.message}"
    ).stdout
    assert phase.startswith("Failed template.spec: nested more than 50 levels deep"), (deep.stderr, phase)
    assert "nested more than" in phase
    assert stage.controller.process.exit_code() is None


@pytest.mark.parametrize("size", [1_200_000, 1_571_500], ids=["fits etcd", "leaves no room for a status"])
def test_a_run_that_barely_fits_is_refused_without_ever_having_credentials(
    stage: Stage, namespace: str, size: int
) -> None:
    stage.integration(namespace)
    container = {"name": "main", "image": "none", "env": [{"name": "PAD", "value": "x" * size}]}
    name = stage.run(namespace, pod={"containers": [container]})

    def told(run: Object | None) -> bool:
        events = stage.objects.list("Event", namespace)
        words = [event["message"] for event in events if event["involvedObject"]["name"] == name]
        return any("at most 1,000,000 are allowed" in message for message in words)

    stage.objects.wait("Run", namespace, name, told, what="no Event that tells the size")
    assert not stage.objects.list("Secret", namespace)
    assert not stage.objects.list("Pod", namespace)
    assert not stage.proxy.calls_of(Match(session_name_prefix=run_id_of(stage, namespace, name)))
