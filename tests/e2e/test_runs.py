"""Every way in which a Run can end, in real containers under a real kubelet."""

import json
from typing import Any

import pytest

from sandbox.eviction import evict, protect
from sandbox.objects import Object, condition
from sandbox.realnode.stage import POOL, RESEARCH, RealStage
from sandbox.worker import TENANT

WHO = "aws sts get-caller-identity --query Arn --output text"
FOREVER = "sleep 100000"


def ended(stage: RealStage, namespace: str, run: str, timeout: float = 60) -> Object:
    """The Run after its end, whose Secret must be gone by then."""
    body = stage.objects.wait(
        "Run", namespace, run, lambda run: condition(run, "Complete"), timeout=timeout, what="not at its end"
    )
    secret = stage.objects.get("Secret", namespace, body["status"]["secretName"])
    assert secret is None, "the Run ended while its Secret was still there"
    return body


def reason(run: Object) -> str:
    """Why a Run ended as it did, with what its status says for the reader of a failed test."""
    told = condition(run, "Succeeded")
    assert told, run["status"]
    return str(told["reason"])


def running(stage: RealStage, namespace: str, run: str) -> Object:
    """The Run once a container of it runs, which is seen in its pod."""
    body = stage.objects.wait(
        "Run", namespace, run, lambda run: (run or {}).get("status", {}).get("podName"), what="without a pod"
    )
    pod = body["status"]["podName"]
    stage.cluster.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", f"--namespace={namespace}", "--timeout=60s")
    return body


def logs(stage: RealStage, namespace: str, run: Object) -> str:
    return stage.cluster.kubectl(
        "logs", run["status"]["podName"], f"--namespace={namespace}", "--container=main"
    ).stdout


def assert_acted_as_itself(stage: RealStage, namespace: str, run: Object) -> None:
    """The Run finished, and AWS told its container who it is: a session named after the run."""
    said = logs(stage, namespace, run)
    assert reason(run) == "Finished", (said, run["status"])
    assert said.strip().endswith(f"/{run['status']['runId']}")


def limited(stage: RealStage, script: str, **container: Any) -> Object:
    """A pod's spec whose container is as `stage.container` has it, with further fields."""
    return {"containers": [{**stage.container(script), **container}]}


@pytest.mark.parametrize("delivery", ["Environment", "File"])
def test_a_run_acts_as_itself_and_finishes(stage: RealStage, namespace: str, delivery: str) -> None:
    run = stage.run(namespace, WHO, delivery=delivery)
    assert_acted_as_itself(stage, namespace, ended(stage, namespace, run))


def test_what_a_container_prints_of_its_credentials_is_masked(stage: RealStage, namespace: str) -> None:
    run = stage.run(namespace, 'echo "key $AWS_ACCESS_KEY_ID secret $AWS_SECRET_ACCESS_KEY"', maskLogs="Required")
    body = ended(stage, namespace, run)
    assert reason(body) == "Finished", body["status"]
    assert condition(body, "LogsMasked")["status"] == "True"
    words = logs(stage, namespace, body).split()
    assert words[0] == "key"
    assert words[1].startswith("ASIA")
    assert words[2:] == ["secret", "*****"]


def test_an_exit_code_is_told(stage: RealStage, namespace: str) -> None:
    body = ended(stage, namespace, stage.run(namespace, "exit 3"))
    assert reason(body) == "ContainerFailed"
    assert body["status"]["exitCode"] == 3


def test_an_image_that_cannot_be_pulled_is_told_while_the_run_waits_for_it(stage: RealStage, namespace: str) -> None:
    # A registry that refuses at once: where there is no DNS, a name fails when it pleases.
    pod = limited(stage, WHO, image="127.0.0.1:1/nothing:1")
    run = stage.run(namespace, pod=pod, activeDeadlineSeconds=20)
    stage.objects.wait(
        "Run",
        namespace,
        run,
        lambda run: "its image cannot be pulled" in (run or {}).get("status", {}).get("message", ""),
        what="not told of the image",
    )
    assert reason(ended(stage, namespace, run)) == "DeadlineExceeded"


def test_a_container_without_enough_memory_is_told_apart(stage: RealStage, namespace: str) -> None:
    hungry = "python3 -c 'print(len(bytearray(500_000_000)))'"
    pod = limited(stage, hungry, resources={"limits": {"memory": "64Mi"}})
    body = ended(stage, namespace, stage.run(namespace, pod=pod))
    assert reason(body) == "OOMKilled"
    assert body["status"]["exitCode"] == 137


def test_a_run_is_ended_at_its_deadline(stage: RealStage, namespace: str) -> None:
    pod = {**limited(stage, FOREVER), "terminationGracePeriodSeconds": 1}
    body = ended(stage, namespace, stage.run(namespace, pod=pod, activeDeadlineSeconds=5))
    assert reason(body) == "DeadlineExceeded"
    pod_left = stage.objects.get("Pod", namespace, body["status"]["podName"])
    assert pod_left is None or pod_left["status"]["phase"] == "Failed", "the Run ended while its container ran"


def test_a_run_is_stopped(stage: RealStage, namespace: str) -> None:
    pod = {**limited(stage, FOREVER), "terminationGracePeriodSeconds": 1}
    run = stage.run(namespace, pod=pod)
    running(stage, namespace, run)
    stage.objects.patch("Run", namespace, run, {"spec": {"stop": True}})
    body = ended(stage, namespace, run)
    assert (body["status"]["phase"], reason(body)) == ("Stopped", "Stopped")


def test_a_run_is_evicted_through_the_api(stage: RealStage, namespace: str) -> None:
    pod = {**limited(stage, FOREVER), "terminationGracePeriodSeconds": 1}
    run = stage.run(namespace, pod=pod)
    name = running(stage, namespace, run)["status"]["podName"]
    assert evict(stage.objects, namespace, name).status == 201
    assert reason(ended(stage, namespace, run)) == "Evicted"


def test_an_eviction_waits_for_a_run_under_the_charts_budget(stage: RealStage, namespace: str) -> None:
    run = stage.run(namespace, pod=limited(stage, f"until [ -e /tmp/go ]; do sleep 0.2; done; {WHO}"))
    name = running(stage, namespace, run)["status"]["podName"]
    protect(stage.cluster, namespace)
    refused = evict(stage.objects, namespace, name)
    assert refused.status == 429
    assert "needs 1000000 healthy pods" in json.dumps(refused.content)
    stage.cluster.kubectl("exec", name, f"--namespace={namespace}", "--container=main", "--", "touch", "/tmp/go")
    assert_acted_as_itself(stage, namespace, ended(stage, namespace, run))


def test_a_workers_run_has_the_tenants_identity(stage: RealStage) -> None:
    stage.integration(
        RESEARCH, "research", trusted=False, roleArn=stage.tenant.role_arn, generateCredentialsInWorker=True
    )
    run = stage.run(RESEARCH, WHO, integration="research", workerPool=POOL)
    body = ended(stage, RESEARCH, run)
    assert_acted_as_itself(stage, RESEARCH, body)
    assert logs(stage, RESEARCH, body).startswith(f"arn:aws:sts::{TENANT}:")
