"""`maskLogs` on a real API server: what is told and refused, and that Pod Security takes the pods with the helper.

That it masks is seen on a real node (`tests/e2e`): the stand-in for one runs no images.
"""

import asyncio
import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox import controlplane
from sandbox.cluster import Cluster
from sandbox.objects import Object, RefusedError, complete, condition
from sandbox.stage import INSTALLATION, Stage
from sandbox.worker import Tenant, Worker, tenant
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.helper_choice import HelperChoice
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.pod.helper import Helper, HelperDelivery
from spacelift_aws.controllers.run.pod.masking import INIT_CONTAINER, VOLUME

pytestmark = pytest.mark.slow

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
    assert message.endswith('To mask its output, add it, such as `command: ["terraform"]`.')
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
    with worker_in(with_helper, namespace, owner):
        yield namespace


@contextmanager
def worker_in(stage: Stage, namespace: str, owner: Tenant) -> Iterator[None]:
    settings = {"SPACELIFT_AWS_INSTALLATION": INSTALLATION, "SPACELIFT_AWS_HELPER_IMAGE": IMAGE}
    aws = stage.aws.environment(owner.identity, endpoint=stage.proxy.endpoint)
    worker = Worker(stage.cluster, {**aws, **settings}, namespace)
    worker.install()
    worker.start()
    yield
    worker.stop()


def test_the_pod_that_is_made_has_the_helper_and_the_condition_shows_it(with_helper: Stage, place: str) -> None:
    namespace = place
    name = with_helper.run(namespace, maskLogs="Required")
    run = with_helper.objects.wait("Run", namespace, name, lambda run: condition(run, "LogsMasked"))
    assert reason(run) == ("True", "Masked")
    pod = with_helper.objects.get("Pod", namespace, run["status"]["podName"])
    assert pod is not None
    assert image_volume(pod) == {"reference": IMAGE, "pullPolicy": "IfNotPresent"}
    assert "initContainers" not in pod["spec"]
    described = with_helper.cluster.kubectl("describe", "run", name, f"--namespace={namespace}").stdout
    assert "replaced by ***** in what `main` prints" in described
    with_helper.objects.delete("Run", namespace, name)


def test_what_is_masked_besides_is_told_to_the_helper_with_either_delivery(with_helper: Stage) -> None:
    namespace = with_helper.namespace()
    with_helper.integration(namespace)
    found = {}
    for delivery in ("Environment", "File"):
        name = with_helper.run(namespace, delivery=delivery, maskFrom=["TF_VAR_password", "TOKEN"])
        run = with_helper.objects.wait("Run", namespace, name, lambda run: run and run["status"].get("podName"))
        pod = with_helper.objects.get("Pod", namespace, run["status"]["podName"])
        assert pod is not None
        command = pod["spec"]["containers"][0]["command"]
        found[delivery] = command[1 : command.index("--")]
        with_helper.objects.delete("Run", namespace, name)
    besides = ["--mask", "TF_VAR_password", "--mask", "TOKEN"]
    assert found == {"Environment": besides, "File": ["--files", "/var/run/secrets/aws.spacelift.io", *besides]}


def image_volume(pod: Object) -> Any:
    return next((volume.get("image") for volume in pod["spec"]["volumes"] if volume["name"] == VOLUME), None)


def test_a_pod_that_its_node_refuses_is_made_again_with_an_init_container(with_helper: Stage) -> None:
    """By a worker of its own, because it remembers for its life. The test is the node: nobody else looks at the pod."""
    stage, namespace = with_helper, with_helper.namespace()
    owner = tenant(stage.aws, stage.fresh("owner"))
    stage.integration(namespace, roleArn=owner.role_arn, generateCredentialsInWorker=True)
    with worker_in(stage, namespace, owner):
        held = {"sandbox/hold": "true"}
        name = stage.run(namespace, annotations=held)
        run = stage.objects.wait("Run", namespace, name, lambda run: run and run["status"].get("podName"))
        pod = stage.objects.get("Pod", namespace, run["status"]["podName"])
        assert pod is not None
        assert image_volume(pod)
        uid = pod["metadata"]["uid"]
        refuse(stage, pod)
        again = stage.objects.wait(
            "Pod",
            namespace,
            run["status"]["podName"],
            lambda one: one and one["metadata"]["uid"] != uid,
        )
        assert [one["name"] for one in again["spec"]["initContainers"]] == [INIT_CONTAINER]
        assert again["spec"]["volumes"][-1] != pod["spec"]["volumes"][-1]
        stage.objects.wait(
            "Namespace",
            None,
            namespace,
            lambda _: "ImageVolumeRefused" in {why for _, why, _ in told(stage, namespace, name)},
        )
        run = stage.objects.wait("Run", namespace, name, lambda run: run and not run["status"].get("message"))
        assert (run["status"]["phase"], reason(run)) == ("Preparing", ("True", "Masked"))
        other = stage.run(namespace, annotations=held)
        run = stage.objects.wait("Run", namespace, other, lambda run: run and run["status"].get("podName"))
        pod = stage.objects.get("Pod", namespace, run["status"]["podName"])
        assert pod is not None
        assert not image_volume(pod), "it remembers"
        for each in (name, other):
            stage.objects.delete("Run", namespace, each)


def refuse(stage: Stage, pod: Object) -> None:
    """What a kubelet says of a container that a runtime without image volumes does not create."""
    waiting = {"reason": "CreateContainerError", "message": 'failed to mkdir "": mkdir : no such file or directory'}
    said = {
        "name": "main",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": waiting},
    }
    metadata = pod["metadata"]
    change = {"status": {"startTime": metadata["creationTimestamp"], "containerStatuses": [said]}}
    place = ("pod", metadata["name"], f"--namespace={metadata['namespace']}")
    stage.cluster.kubectl("patch", *place, "--subresource=status", "--type=merge", f"--patch={json.dumps(change)}")


def test_an_api_server_that_keeps_image_volumes_is_found_out(stage: Stage, namespace: str) -> None:
    assert asyncio.run(chosen(stage.cluster, namespace)) is HelperDelivery.IMAGE


def test_an_api_server_without_image_volumes_is_found_out() -> None:
    with controlplane.start(apiserver_args=["--emulated-version=1.34"]) as cluster:
        assert asyncio.run(chosen(cluster, "default")) is HelperDelivery.INIT_CONTAINER


async def chosen(cluster: Cluster, namespace: str) -> HelperDelivery:
    """By which way the helper comes where this API server is asked."""
    spec = {"containers": [{"name": "main", "image": "i", "command": ["true"]}]}

    async def try_out(helper: Helper) -> Object:
        body = json.dumps(pod_of(namespace, spec, helper))
        arguments = ("create", "--filename=-", "--dry-run=server", "--output=json", f"--namespace={namespace}")
        answer: Object = json.loads(cluster.kubectl(*arguments, input=body).stdout)
        return answer

    choice = HelperChoice(Helper(IMAGE, HelperDelivery.AUTO))
    helper = await choice.choose(run_of(namespace, spec), try_out, refused=False)
    assert helper is not None
    return helper.delivery


def pod_of(namespace: str, spec: Mapping[str, Any], helper: Helper | None = None, **run: Any) -> Object:
    """The pod that the operator would make of this template; without its Run the garbage collector soon finds it."""
    return build_pod(
        run_of(namespace, spec, **run),
        "01M85C85X87P992KB9A3MRQFZD",
        role_arn="arn:aws:iam::222222222222:role/deploy",
        executor="controller",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        helper=helper or Helper(IMAGE),
    )


def run_of(namespace: str, spec: Mapping[str, Any], **run: Any) -> Run:
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
    return Run.model_validate(body)


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
