"""Deletions that no watch ever reports, and calls to the API server that are lost, late, refused or in doubt."""

import pytest

from sandbox.apiproxy import ApiProxy, Deafen, Fault, Lose, Refuse
from sandbox.objects import complete, condition
from sandbox.process import wait_until
from sandbox.stage import HAS_CREDENTIALS, Stage
from spacelift_aws.api.run import Run
from spacelift_aws.names import child_name, run_id

PODS = "/api/v1/pods"
RUNS = "/apis/aws.spacelift.io/v1beta1/runs"

pytestmark = [pytest.mark.usefixtures("stage", "api"), pytest.mark.slow]


def child(stage: Stage, namespace: str, name: str) -> str:
    """The name of a Run's Secret and pod."""
    run = Run.model_validate(stage.objects.get("Run", namespace, name))
    return child_name(run_id(run.metadata.creation_timestamp, run.metadata.uid))


def running(stage: Stage, namespace: str, script: str = "sleep 600") -> str:
    """A Run whose pod runs; its name."""
    stage.integration(namespace)
    name = stage.run(namespace, script)
    stage.objects.wait("Run", namespace, name, lambda run: (run or {})["status"]["phase"] == "Running")
    return name


def secrets(stage: Stage, namespace: str) -> list[str]:
    return [secret["metadata"]["name"] for secret in stage.objects.list("Secret", namespace)]


def calls(stage: Stage, namespace: str, verb: str, resource: str) -> list[int]:
    """The answers of the API server to such calls, in a namespace."""
    return [
        event.code
        for event in stage.cluster.audit_events(namespace)
        if (event.verb, event.resource, event.subresource) == (verb, resource, "")
    ]


def test_a_pod_deleted_in_a_gap_of_the_watch_is_noticed_at_its_end(stage: Stage, api: ApiProxy, namespace: str) -> None:
    name = running(stage, namespace)
    pod = child(stage, namespace, name)
    wait_until(lambda: api.watches(PODS) == 1, timeout=30, what="the watch")
    with api.gap(PODS):
        wait_until(lambda: api.watches(PODS) == 1, timeout=30, what="the watch's return")
        stage.objects.delete("Pod", namespace, pod, gracePeriodSeconds=0)
        stage.objects.wait("Pod", namespace, pod, lambda body: body is None)
    run = stage.objects.wait("Run", namespace, name, complete, timeout=15, what="the gap was not looked into")
    assert condition(run, "Succeeded")["reason"] == "PodDeleted"
    assert secrets(stage, namespace) == []


def test_a_run_deleted_in_a_gap_of_the_watch_takes_its_secret_along(
    stage: Stage, api: ApiProxy, namespace: str
) -> None:
    name = running(stage, namespace)
    secret = child(stage, namespace, name)
    # The pods' watch would show that the pod has lost its owner.
    with api.gap(PODS):
        with api.gap(RUNS):
            wait_until(lambda: api.watches(RUNS) == 1, timeout=30, what="the watch's return")
            stage.objects.delete("Run", namespace, name, propagationPolicy="Orphan")
            stage.objects.wait("Run", namespace, name, lambda run: run is None)
            assert secrets(stage, namespace) == [secret]
        stage.objects.wait("Secret", namespace, secret, lambda body: body is None, timeout=15)
    stage.objects.wait("Pod", namespace, secret, lambda pod: pod is None or "deletionTimestamp" in pod["metadata"])


def test_a_run_made_anew_in_a_gap_is_another_run(stage: Stage, api: ApiProxy, namespace: str) -> None:
    name = running(stage, namespace)
    first = child(stage, namespace, name)
    with api.gap(PODS):
        with api.gap(RUNS):
            wait_until(lambda: api.watches(RUNS) == 1, timeout=30, what="the watch's return")
            stage.objects.delete("Run", namespace, name, propagationPolicy="Orphan")
            stage.objects.wait("Run", namespace, name, lambda run: run is None)
            stage.run(namespace, "aws sts get-caller-identity", name=name)
        stage.objects.wait("Secret", namespace, first, lambda body: body is None, timeout=15)
    assert stage.objects.wait("Run", namespace, name, complete)["status"]["phase"] == "Finished"
    assert child(stage, namespace, name) != first
    assert secrets(stage, namespace) == []


def test_a_secret_whose_creation_is_not_answered_is_issued_anew(stage: Stage, api: ApiProxy, namespace: str) -> None:
    stage.integration(namespace)
    with api.fault(Fault("POST", f"/namespaces/{namespace}/secrets", Deafen(504), times=1)):
        name = stage.run(namespace, "aws sts get-caller-identity")
        run = stage.objects.wait("Run", namespace, name, complete)
    assert run["status"]["phase"] == "Finished"
    assert calls(stage, namespace, "create", "secrets")[-1] == 201
    assert secrets(stage, namespace) == []


def test_a_secret_that_arrives_late_is_deleted_before_the_end_is_written(
    stage: Stage, api: ApiProxy, namespace: str
) -> None:
    stage.integration(namespace)
    with api.fault(Fault("POST", f"/namespaces/{namespace}/secrets", Lose(after=2.5), times=1)) as lost:
        name = stage.run(namespace)
        wait_until(lambda: lost.used > 0, timeout=30, what="the Secret's creation")
        stage.objects.patch("Run", namespace, name, {"spec": {"stop": True}})
    secret = child(stage, namespace, name)
    stage.objects.wait("Run", namespace, name, complete)
    assert calls(stage, namespace, "create", "secrets") == [201], "nothing arrived late"
    assert stage.objects.get("Secret", namespace, secret) is None


def test_a_pod_whose_creation_is_not_answered_is_made_once(stage: Stage, api: ApiProxy, namespace: str) -> None:
    stage.integration(namespace)
    with api.fault(Fault("POST", f"/namespaces/{namespace}/pods", Deafen(500), times=1)):
        name = stage.run(namespace, "aws sts get-caller-identity")
        run = stage.objects.wait("Run", namespace, name, complete)
    assert run["status"]["phase"] == "Finished"
    assert calls(stage, namespace, "create", "pods").count(201) == 1


@pytest.mark.parametrize("end", ["secrets", "pods"])
def test_a_busy_api_server_delays_and_harms_nothing(stage: Stage, api: ApiProxy, namespace: str, end: str) -> None:
    stage.integration(namespace)
    busy = Refuse(429, "TooManyRequests", "please try again later", retry_after=1)
    with api.fault(Fault("POST", f"/namespaces/{namespace}/{end}", busy, times=2)):
        name = stage.run(namespace)
        run = stage.objects.wait("Run", namespace, name, complete)
    assert run["status"]["phase"] == "Finished"
    assert secrets(stage, namespace) == []


def test_a_status_that_cannot_be_written_is_written_later(stage: Stage, api: ApiProxy, namespace: str) -> None:
    stage.integration(namespace)
    name = stage.fresh("run")
    conflict = Refuse(409, "Conflict", "the object has been modified")
    with (
        api.fault(Fault("PATCH", f"/runs/{name}/status", conflict, times=2)),
        api.fault(Fault("PATCH", f"/runs/{name}/status", Refuse(500), times=1)),
    ):
        stage.run(namespace, name=name)
        run = stage.objects.wait("Run", namespace, name, complete)
    assert run["status"]["phase"] == "Finished"


def test_a_token_that_is_refused_for_a_while_costs_no_run(stage: Stage, api: ApiProxy, namespace: str) -> None:
    stage.integration(namespace)
    refused = Refuse(401, "Unauthorized", "Unauthorized")
    # Kopf hears it when it lists after a gap, closes its session, and logs in anew; so do we.
    with api.fault(Fault("GET", RUNS, refused, times=1)) as unauthorized:
        with api.gap(RUNS):
            names = [stage.run(namespace, f"sleep 1; {HAS_CREDENTIALS}") for _ in range(20)]
        wait_until(lambda: unauthorized.used == 1, timeout=30, what="the refusal")
    for name in names:
        run = stage.objects.wait("Run", namespace, name, complete)
        assert run["status"]["phase"] == "Finished"
    assert secrets(stage, namespace) == []
    assert stage.controller.process.exit_code() is None


def everything(method: str, status: int) -> Fault:
    return Fault(method, "", Refuse(status, "Unavailable"))


def test_an_outage_of_the_api_server_is_waited_for(stage: Stage, api: ApiProxy, namespace: str) -> None:
    gate = stage.gate()
    name = running(stage, namespace, gate.wait)
    # That the tries never end is shown with Kopf alone, in tests/unit/runtime/kopf_adapter.
    with api.fault(everything("GET", 503)) as refused, api.gap(PODS), api.gap(RUNS):
        wait_until(lambda: refused.used >= 6, timeout=60, what="refused lists and watches", interval=0.5)
        assert stage.controller.process.exit_code() is None
        # The pod ends in the middle of the outage.
        gate.open()
    run = stage.objects.wait("Run", namespace, name, complete, timeout=60)
    assert run["status"]["phase"] == "Finished"
    assert stage.controller.process.exit_code() is None
