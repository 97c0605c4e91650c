"""Forged statuses, Secrets and pods do no harm; one slow role holds up nobody; a Run costs what it has to cost."""

from typing import Any

import pytest

from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT
from sandbox.faults import Match, Rule
from sandbox.objects import Object, RefusedError, complete, condition
from sandbox.process import wait_until
from sandbox.stage import Stage
from spacelift_aws.api.run import Run
from spacelift_aws.names import LABEL_EXECUTOR, LABEL_RUN_ID, SECRET_TYPE, child_name, run_id

USER = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"


def identifier(stage: Stage, namespace: str, name: str) -> str:
    run = Run.model_validate(stage.objects.get("Run", namespace, name))
    return run_id(run.metadata.creation_timestamp, run.metadata.uid)


def issued(run: Object | None) -> Object:
    return condition(run, "CredentialsIssued")


def running(stage: Stage, namespace: str, script: str = "sleep 600") -> str:
    """A Run whose pod runs; its name."""
    stage.integration(namespace)
    name = stage.run(namespace, script)
    stage.objects.wait("Run", namespace, name, lambda run: (run or {})["status"]["phase"] == "Running")
    return name


def waiting(stage: Stage, namespace: str, **spec: Any) -> tuple[str, str]:
    """A Run that has no integration yet; its name, and that of its Secret and pod."""
    name = stage.run(namespace, "aws sts get-caller-identity", **spec)
    stage.objects.wait("Run", namespace, name, lambda run: issued(run).get("reason") == "IntegrationNotFound")
    return name, child_name(identifier(stage, namespace, name))


def secret(namespace: str, name: str, **metadata: Any) -> Object:
    """What somebody makes who wants a Run to use other credentials."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "metadata": {"namespace": namespace, "name": name, **metadata},
        "stringData": {"AWS_ACCESS_KEY_ID": "forged", "AWS_SECRET_ACCESS_KEY": "forged", "AWS_SESSION_TOKEN": "forged"},
    }


def secrets(stage: Stage, namespace: str) -> list[str]:
    return [body["metadata"]["name"] for body in stage.objects.list("Secret", namespace)]


def forge(stage: Stage, namespace: str, name: str, **status: Any) -> Object:
    return stage.objects.patch("Run", namespace, name, {"status": status}, subresource="status")


def test_a_forged_name_of_a_secret_is_not_deleted(stage: Stage, namespace: str) -> None:
    name = running(stage, namespace)
    own = child_name(identifier(stage, namespace, name))
    stage.objects.create(secret(namespace, "somebody-elses"))
    forge(
        stage, namespace, name, secretName="somebody-elses", podName="other", roleArn="arn:aws:iam::999999999999:role/x"
    )
    stage.objects.patch("Run", namespace, name, {"spec": {"stop": True}})
    run = stage.objects.wait("Run", namespace, name, complete)
    assert (run["status"]["phase"], run["status"]["secretName"], run["status"]["podName"]) == ("Stopped", own, own)
    assert secrets(stage, namespace) == ["somebody-elses"]


def test_whoever_forges_an_end_ends_the_run(stage: Stage, namespace: str) -> None:
    name = running(stage, namespace)
    own = child_name(identifier(stage, namespace, name))
    forge(stage, namespace, name, phase="Finished")
    stage.objects.wait("Secret", namespace, own, lambda body: body is None, timeout=30)
    stage.objects.wait(
        "Pod", namespace, own, lambda pod: pod is None or "deletionTimestamp" in pod["metadata"], timeout=30
    )


@pytest.mark.parametrize("status", [{"phase": "Queued"}, {"phase": "Running"}, {"phase": None}, None])
def test_a_terminal_phase_is_not_taken_back(stage: Stage, namespace: str, status: Object | None) -> None:
    stage.integration(namespace)
    name = stage.run(namespace)
    stage.objects.wait("Run", namespace, name, complete)
    with pytest.raises(RefusedError) as refused:
        stage.objects.patch("Run", namespace, name, {"status": status}, subresource="status")
    assert refused.value.status == 422
    assert "phase" in refused.value.message


def test_a_secret_that_was_there_before_is_replaced_and_never_used(stage: Stage, namespace: str) -> None:
    name, own = waiting(stage, namespace)
    stage.objects.create(secret(namespace, own))
    stage.integration(namespace)
    run = stage.objects.wait("Run", namespace, name, complete)
    assert run["status"]["phase"] == "Finished", "the run's container used forged credentials"
    assert secrets(stage, namespace) == []


def test_a_secret_that_cannot_be_replaced_is_named(stage: Stage, namespace: str) -> None:
    name, own = waiting(stage, namespace)
    stage.objects.create(secret(namespace, own, finalizers=["example.com/held"]))
    stage.integration(namespace)
    run = stage.objects.wait("Run", namespace, name, lambda run: "finalizer" in issued(run).get("message", ""))
    assert own in issued(run)["message"]
    assert run["status"]["phase"] == "Queued"
    stage.objects.patch("Secret", namespace, own, {"metadata": {"finalizers": None}})
    assert stage.objects.wait("Run", namespace, name, complete)["status"]["phase"] == "Finished"
    assert secrets(stage, namespace) == []


def test_a_secret_of_another_type_is_left_alone_and_named(stage: Stage, namespace: str) -> None:
    """Its deletion is refused to the controller: the Run says so, and so does its end, until somebody deletes it."""
    name, own = waiting(stage, namespace)
    theirs = stage.objects.create({**secret(namespace, own), "type": "Opaque"})
    stage.integration(namespace)
    words = f"Secret {namespace}/{own} is of type Opaque, not {SECRET_TYPE}"
    run = stage.objects.wait("Run", namespace, name, lambda run: words in issued(run).get("message", ""))
    assert run["status"]["phase"] == "Queued"
    stage.objects.patch("Run", namespace, name, {"spec": {"stop": True}})
    stage.objects.wait("Run", namespace, name, lambda run: "still there" in (run or {})["status"].get("message", ""))
    assert stage.objects.get("Secret", namespace, own) == theirs
    stage.objects.delete("Secret", namespace, own)
    assert stage.objects.wait("Run", namespace, name, complete)["status"]["phase"] == "Stopped"


def test_the_end_waits_for_a_secret_that_a_finalizer_holds(stage: Stage, namespace: str) -> None:
    name = running(stage, namespace)
    own = child_name(identifier(stage, namespace, name))
    stage.objects.patch("Secret", namespace, own, {"metadata": {"finalizers": ["example.com/held"]}})
    stage.objects.patch("Run", namespace, name, {"spec": {"stop": True}})
    run = stage.objects.wait(
        "Run", namespace, name, lambda run: "finalizer" in (run or {})["status"].get("message", "")
    )
    assert run["status"]["phase"] == "Running"
    stage.objects.patch("Secret", namespace, own, {"metadata": {"finalizers": None}})
    assert stage.objects.wait("Run", namespace, name, complete)["status"]["phase"] == "Stopped"
    assert secrets(stage, namespace) == []


@pytest.mark.parametrize("labels", [{}, {LABEL_EXECUTOR: "controller"}])
def test_a_foreign_pod_with_the_runs_name_is_neither_adopted_nor_deleted(
    stage: Stage, namespace: str, labels: dict[str, str]
) -> None:
    name, own = waiting(stage, namespace)
    labels = {**labels, LABEL_RUN_ID: identifier(stage, namespace, name)} if labels else {}
    stage.objects.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": namespace, "name": own, "labels": labels},
            "spec": {"containers": [stage.container("sleep 600")]},
        }
    )
    stage.integration(namespace)
    run = stage.objects.wait(
        "Run", namespace, name, lambda run: "not belong to this Run" in issued(run).get("message", "")
    )
    assert run["status"]["phase"] == "Queued"
    foreign = stage.objects.get("Pod", namespace, own)
    assert foreign is not None
    assert "deletionTimestamp" not in foreign["metadata"]
    wait_until(lambda: secrets(stage, namespace) == [], timeout=30, what="the Secret to go while the Run waits")
    stage.objects.delete("Pod", namespace, own, gracePeriodSeconds=0)
    assert stage.objects.wait("Run", namespace, name, complete)["status"]["phase"] == "Finished"


def test_a_foreign_pod_with_a_runs_labels_decides_nothing(stage: Stage, namespace: str) -> None:
    gate = stage.gate()
    name = running(stage, namespace, gate.wait)
    labels = {LABEL_RUN_ID: identifier(stage, namespace, name), LABEL_EXECUTOR: "controller"}
    stage.objects.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": namespace, "name": "stranger", "labels": labels},
            "spec": {"containers": [stage.container("exit 3")], "restartPolicy": "Never"},
        }
    )
    stage.objects.wait("Pod", namespace, "stranger", lambda pod: (pod or {})["status"]["phase"] == "Failed")
    stage.objects.delete("Pod", namespace, "stranger")
    gate.open()
    assert stage.objects.wait("Run", namespace, name, complete)["status"]["phase"] == "Finished"


def test_one_slow_role_holds_up_no_other(stage: Stage, namespace: str) -> None:
    slow, other = stage.integration(namespace, "slow"), stage.namespace()
    stage.integration(namespace, "quick")
    stage.integration(other)
    for place, name in ((namespace, "slow"), (namespace, "quick"), (other, "prod")):
        stage.objects.wait("AwsIntegration", place, name, lambda body: condition(body, "Ready").get("status") == "True")
    rule = stage.proxy.add(Rule(Match(role_arn=slow["spec"]["roleArn"]), delay=30))
    held = [stage.run(namespace, integration="slow") for _ in range(30)]
    wait_until(lambda: rule.used >= 2, timeout=5, what="calls that hang")
    beside = [(namespace, stage.run(namespace, integration="quick")), (other, stage.run(other))]
    for place, name in beside:
        run = stage.objects.wait("Run", place, name, complete, timeout=6, what="held up by another's role")
        assert run["status"]["phase"] == "Finished"
    phases = {(stage.objects.get("Run", namespace, name) or {})["status"]["phase"] for name in held}
    assert phases == {"Queued"}
    for name in held:
        stage.objects.patch("Run", namespace, name, {"spec": {"stop": True}})
