"""`maskLogs` on a real API server: what is told and refused, and that Pod Security takes the pods with the helper.

That it masks is seen on a real node (`tests/e2e`): the stand-in for one runs no images.
"""

import copy
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.objects import Object, RefusedError, complete, condition
from sandbox.stage import INSTALLATION, Stage
from sandbox.worker import Worker, tenant
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.pod.build import build_pod

IMAGE = "localhost/spacelift-aws-operator:test"
NO_HELPER = "No image with the helper that masks logs is configured: set SPACELIFT_AWS_HELPER_IMAGE."
WITHOUT_COMMAND = {"containers": [{"name": "main", "image": "hashicorp/terraform:1.13", "args": ["plan"]}]}

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
STRICT = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def reason(run: Object) -> tuple[str, str]:
    shown = condition(run, "LogsMasked")
    return shown["status"], shown["reason"]


def told(stage: Stage, namespace: str, run: str) -> list[tuple[str, str, str]]:
    found = (event for event in stage.objects.list("Event", namespace) if event["involvedObject"]["name"] == run)
    return [(event["type"], event["reason"], event["message"]) for event in found]


@pytest.fixture(scope="module")
def with_helper(_stage: Stage) -> Any:
    """The stage, its controller with an image of the helper; then without again."""
    _stage.controller.stop()
    _stage.controller.environment["SPACELIFT_AWS_HELPER_IMAGE"] = IMAGE
    _stage.controller.start()
    yield _stage
    _stage.controller.stop()
    del _stage.controller.environment["SPACELIFT_AWS_HELPER_IMAGE"]
    _stage.controller.start()


def test_without_a_helper_a_run_goes_on_and_says_so_unless_it_requires_one(stage: Stage, namespace: str) -> None:
    stage.integration(namespace)
    auto = stage.run(namespace)
    required = stage.run(namespace, maskLogs="Required")
    never = stage.run(namespace, maskLogs="Never")
    run = stage.objects.wait("Run", namespace, auto, complete)
    assert (run["status"]["phase"], reason(run)) == ("Finished", ("False", "NoHelper"))
    stage.objects.wait(
        "Namespace", None, namespace, lambda _: ("Warning", "NoHelper", NO_HELPER) in told(stage, namespace, auto)
    )
    run = stage.objects.wait("Run", namespace, required, complete)
    assert condition(run, "Succeeded")["reason"] == "TemplateRefused"
    assert run["status"]["message"] == condition(run, "LogsMasked")["message"] == NO_HELPER
    run = stage.objects.wait("Run", namespace, never, complete)
    assert (run["status"]["phase"], reason(run)) == ("Finished", ("False", "NotAsked"))
    assert [why for _, why, _ in told(stage, namespace, never)].count("NotAsked") == 0
    described = stage.cluster.kubectl("describe", "run", auto, f"--namespace={namespace}").stdout
    assert NO_HELPER in described


def test_what_cannot_be_masked_is_told_or_refused_in_the_same_words(with_helper: Stage) -> None:
    namespace = with_helper.namespace()
    with_helper.integration(namespace)
    # Whatever the stand-in node makes of this pod, it exists, and the condition tells.
    auto = with_helper.run(namespace, pod=WITHOUT_COMMAND)
    required = with_helper.run(namespace, pod=WITHOUT_COMMAND, maskLogs="Required")
    run = with_helper.objects.wait("Run", namespace, required, complete)
    message = run["status"]["message"]
    assert condition(run, "Succeeded")["reason"] == "TemplateRefused"
    assert message.endswith('to have its output masked, add it, such as `command: ["terraform"]`.')
    run = with_helper.objects.wait("Run", namespace, auto, lambda run: condition(run, "LogsMasked"))
    assert reason(run) == ("False", "NoCommand")
    assert condition(run, "LogsMasked")["message"] == message
    with_helper.objects.delete("Run", namespace, auto)


@pytest.fixture(params=["controller", "worker"])
def place(request: pytest.FixtureRequest, with_helper: Stage) -> Iterator[str]:
    """A namespace whose Runs the controller executes, and one of a worker's; both have the image."""
    namespace = with_helper.namespace()
    if request.param == "controller":
        with_helper.integration(namespace)
        yield namespace
        return
    owner = tenant(with_helper.aws, with_helper.fresh("owner"))
    with_helper.integration(namespace, roleArn=owner.role_arn, generateCredentialsInWorker=True)
    settings = {"SPACELIFT_AWS_INSTALLATION": INSTALLATION, "SPACELIFT_AWS_HELPER_IMAGE": IMAGE}
    aws = with_helper.aws.environment(owner.identity, endpoint=with_helper.proxy.endpoint)
    worker = Worker(with_helper.cluster, {**aws, **settings}, namespace)
    worker.install()
    worker.start()
    yield namespace
    worker.stop()


def test_the_pod_that_is_made_has_the_helper_and_the_condition_shows_it(with_helper: Stage, place: str) -> None:
    namespace = place
    name = with_helper.run(namespace, maskLogs="Required")
    run = with_helper.objects.wait("Run", namespace, name, lambda run: condition(run, "LogsMasked"))
    assert reason(run) == ("True", "Masked")
    pod = with_helper.objects.get("Pod", namespace, run["status"]["podName"])
    assert pod is not None
    assert [one["image"] for one in pod["spec"]["initContainers"]] == [IMAGE]
    described = with_helper.cluster.kubectl("describe", "run", name, f"--namespace={namespace}").stdout
    assert "replaced by ***** in what `main` prints" in described
    with_helper.objects.delete("Run", namespace, name)


def pod_of(namespace: str, spec: Mapping[str, Any], **run: Any) -> Object:
    """The pod that the operator would make of this template; without its Run the garbage collector soon finds it."""
    body = {
        "metadata": {
            "name": "plan",
            "namespace": namespace,
            "uid": "3c9a0b52-6f5e-4b8e-9f1c-0d4a3a1f7c11",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": {"integrationRef": {"name": "prod"}, "template": {"spec": spec}, **run},
    }
    return build_pod(
        Run.model_validate(body),
        "01M85C85X87P992KB9A3MRQFZD",
        role_arn="arn:aws:iam::222222222222:role/deploy",
        executor="controller",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        helper_image=IMAGE,
    )


@pytest.mark.parametrize("delivery", ["Environment", "File"])
def test_pod_security_restricted_takes_the_pod(stage: Stage, delivery: str) -> None:
    namespace = stage.namespace(RESTRICTED)
    main = {"name": "main", "image": "i", "command": ["true"], "securityContext": STRICT}
    pod = pod_of(namespace, {"containers": [main]}, delivery=delivery)
    weakened = copy.deepcopy(pod)
    del weakened["spec"]["initContainers"][0]["securityContext"]
    with pytest.raises(RefusedError, match=r'violates PodSecurity.*container "aws-run-mask" must set'):
        stage.objects.create(weakened)
    stage.objects.create(pod)


def test_the_quality_of_service_stays(stage: Stage, namespace: str) -> None:
    alike = {"cpu": "1", "memory": "1Gi"}
    main = {"name": "main", "image": "i", "command": ["true"], "resources": {"requests": alike, "limits": alike}}
    pod = pod_of(namespace, {"containers": [main]})
    created = stage.objects.create(pod)
    assert created["status"]["qosClass"] == "Guaranteed"
