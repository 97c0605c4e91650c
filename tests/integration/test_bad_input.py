"""What the API server cannot refuse, refused by the controller, at nobody else's cost."""

import pytest

from sandbox.objects import condition
from sandbox.stage import API_VERSION, Stage

BEYOND_PYTHON = 1500
"""Levels: deeper than Python's recursion limit and than orjson goes."""
BEYOND_NEARLY_EVERYTHING = 9500
"""Levels: the API server takes 10,000."""


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
    assert phase.startswith("Failed template.spec.x.x"), (deep.stderr, phase)
    assert "nested more than" in phase
    assert stage.controller.process.exit_code() is None
