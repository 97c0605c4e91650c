"""Runs from their creation to their end, on a real API server, with pods that run and an STS that evaluates trust.

Most of them are created at once, by the fixture `cast`, and go their ways side by side while one test after the other
looks at how each has fared.
"""

from functools import partial
from typing import Any

import pytest

from sandbox.audit import AuditEvent
from sandbox.faults import Match
from sandbox.objects import RefusedError, condition
from sandbox.process import wait_until
from sandbox.stage import Stage

from .play import (
    CONTROLLER,
    FOREVER,
    FOUR,
    HOLD,
    HOLD_KEY,
    Play,
    container,
    gone,
    issued,
    phase,
    play,
    ready,
    says,
    terminated,
)

REFUSED_TEMPLATES: dict[str, tuple[dict[str, Any], str]] = {
    "one of the four variables": (
        {"containers": [container("main", env=[{"name": "AWS_SESSION_TOKEN", "value": "x"}])]},
        "template.spec.containers[0].env[0]: AWS_SESSION_TOKEN",
    ),
    "another run's Secret": (
        {"containers": [container("main", envFrom=[{"secretRef": {"name": "aws-run-other"}}])]},
        "template.spec.containers[0].envFrom[0].secretRef: `aws-run-other`",
    ),
    "a restart policy": (
        {"containers": [container("main", restartPolicy="Always")]},
        "template.spec.containers[0].restartPolicy",
    ),
    "a pod that is invalid": (
        {"containers": [container("main"), container("main")]},
        "The API server refuses the pod: Pod",
    ),
    "no containers": ({"containers": []}, "template.spec.containers: at least one"),
    "a nesting without end": ({"containers": [container("main")], "x": None}, "nested more than 50 levels deep"),
}


def _nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"x": value}
    return value


@pytest.fixture(scope="module")
def cast(_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """All Runs that need nothing but their own namespace."""
    on = play(_stage)
    on.folder = tmp_path_factory.mktemp("cast")
    facts = "for v in run_id run_type stack_id aws_role_arn; do eval echo $v=\\$TF_VAR_spacelift_$v; done"
    tokens = '[ -n "$AWS_SESSION_TOKEN" ] && [ "$AWS_SESSION_TOKEN" = "$AWS_SECURITY_TOKEN" ] && echo equal'
    own = {"name": "TF_VAR_spacelift_run_type", "value": "mine"}
    main = container("main", f"aws sts get-caller-identity --output text --query Arn; {tokens}; {facts}", env=[own])
    beside = container("beside", f"env | grep -c -E '{'|'.join(FOUR)}'; {facts}")
    on.run("used", pod={"containers": [main, beside]}, stack="vpc", type="Tracked")
    on.run("code", "exit 3")
    on.run("init", pod={"initContainers": [container("first", "exit 4")], "containers": [container("main")]})
    sidecar = container("proxy", FOREVER, restartPolicy="Always")
    on.run("sidecar", pod={"initContainers": [sidecar], "containers": [container("main", "exit 0")]})
    on.run("sidecar beside a failure", pod={"initContainers": [sidecar], "containers": [container("main", "exit 7")]})
    on.run("said too much", pod={"containers": [container("main", "env; exit 1", terminationMessagePolicy="File")]})
    on.run("deadline", FOREVER, activeDeadlineSeconds=3)
    on.run("deadline without a node", annotations=HOLD, activeDeadlineSeconds=3)
    on.run("stopped", FOREVER.replace("exit 0", f"touch {on.folder}/gently; exit 0"))
    on.run("deleted by hand", FOREVER)
    on.run("forged", FOREVER)
    on.run("ttl 0", ttlSecondsAfterFinished=0)
    on.run("ttl 1", ttlSecondsAfterFinished=1)
    for role in ("oom", "evicted", "lost", "preempted", "image", "unschedulable", "stopped before"):
        on.run(role, annotations=HOLD)
    reference = {"configMapRef": {"name": "settings"}}
    on.run("configmap", pod={"containers": [container("main", "echo $COLOUR", envFrom=[reference])]})
    for role in ("queued, stopped", "queued, goes on", "queued, deleted"):
        on.run(role, integration="later")
    on.run("starting deadline", integration="missing", startingDeadlineSeconds=3)
    on.run("proposed", type="Proposed")
    for role, (template, _) in REFUSED_TEMPLATES.items():
        deep = {**template, "x": _nested(80)} if "x" in template else template
        on.run(role, pod=deep)
    return on


def test_credentials_reach_the_container_and_are_traceable(cast: Play) -> None:
    run = cast.wait("used")
    status = run["status"]
    pod = status["podName"]
    main = cast.stage.cluster.kubectl("logs", f"--namespace={cast.namespace}", pod, "--container=main").stdout.split()
    assert main[0].endswith(f"/{status['runId']}")
    assert main[0] == status["assumedRoleArn"]
    assert main[1:] == [
        "equal",
        f"run_id={status['runId']}",
        "run_type=mine",
        "stack_id=vpc",
        f"aws_role_arn={status['roleArn']}",
    ]
    beside = cast.stage.cluster.kubectl("logs", f"--namespace={cast.namespace}", pod, "--container=beside").stdout
    assert beside.split()[:3] == ["0", f"run_id={status['runId']}", "run_type=Tracked"]
    assert cast.end("used") == ("Finished", "Finished")
    assert status["exitCode"] == 0
    assert condition(run, "CredentialsIssued")["status"] == "True"
    assert condition(run, "LogsMasked")["status"] == "False"


def test_the_secret_holds_four_keys_and_says_whose_it_is(cast: Play) -> None:
    name = cast.child("image")
    secret = cast.stage.objects.get("Secret", cast.namespace, name)
    run = cast.wait("image", phase("Preparing"))
    assert secret is not None
    assert secret["type"] == "aws.spacelift.io/run-credentials"
    assert sorted(secret["data"]) == FOUR
    assert secret["data"]["AWS_SECURITY_TOKEN"] == secret["data"]["AWS_SESSION_TOKEN"]
    metadata = secret["metadata"]
    assert metadata["labels"] == {
        "aws.spacelift.io/run-id": run["status"]["runId"],
        "velero.io/exclude-from-backup": "true",
    }
    assert metadata["annotations"]["aws.spacelift.io/credentials-expire-at"] == run["status"]["credentialsExpireAt"]
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Run", run["metadata"]["uid"], True)
    pod = cast.stage.objects.get("Pod", cast.namespace, name)
    assert pod is not None
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert pod["spec"]["restartPolicy"] == "Never"


def calls(on: Play) -> list[AuditEvent]:
    """The controller's calls for Runs of a namespace, in order."""
    ours = [
        event
        for event in on.stage.cluster.audit_events(on.namespace)
        if event.user == CONTROLLER and event.verb not in ("list", "watch")
    ]
    return sorted(
        (event for event in ours if event.resource in ("runs", "pods", "secrets")), key=lambda event: event.received
    )


def test_few_writes_no_reads_one_session_and_the_secret_goes_before_the_end(stage: Stage) -> None:
    if stage.cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read")
    on = play(stage)
    stage.objects.wait("AwsIntegration", on.namespace, "prod", lambda body: ready(body) == "True")
    on.run("steady", "sleep 0.5", maskLogs="Never")
    assert on.end("steady") == ("Finished", "Finished")

    def on_run(event: Any) -> bool:
        return (event.verb, event.resource, event.subresource) == ("patch", "runs", "")

    def all_written(_: Any) -> bool:
        return any(on_run(event) for event in calls(on)) and on.events("steady") == ["CredentialsIssued", "Finished"]

    stage.objects.wait("Namespace", None, on.namespace, all_written, what="the last write and two events")
    found = calls(on)
    made = [(event.verb, event.resource, event.subresource) for event in found]
    status = ("patch", "runs", "status")
    # First the mark without which a Run whose pod vanished would be executed again.
    assert made[:3] == [("create", "secrets", ""), status, ("create", "pods", "")]
    # That it runs is told where it runs long enough.
    assert made[3:-3] in ([], [status])
    # Last the mark of its life, by which what a backup brings back does not start.
    assert made[-3:] == [("delete", "secrets", ""), status, ("patch", "runs", "")]
    deletion, end, _ = found[-3:]
    assert deletion.code == 200
    assert deletion.completed <= end.received
    run_id = on.wait("steady")["status"]["runId"]
    assert len(stage.proxy.calls_of(Match(session_name_prefix=run_id))) == 1


def test_a_time_to_live_costs_one_deletion(stage: Stage) -> None:
    if stage.cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read")
    on = play(stage)
    stage.objects.wait("AwsIntegration", on.namespace, "prod", lambda body: ready(body) == "True")
    on.run("brief", maskLogs="Never", ttlSecondsAfterFinished=0)
    stage.objects.wait("Run", on.namespace, on.runs["brief"], gone)
    wait_until(lambda: not stage.objects.list("Pod", on.namespace), timeout=30, what="its pod's end")
    # Whatever the end of the first one's pod led to was asked before the next one has ended.
    on.run("next", maskLogs="Never")
    on.end("next")

    def last(_: Any) -> list[tuple[str, str]]:
        """What was asked about the first Run and its Secret, from the Run's deletion on."""
        found, name = calls(on), on.runs["brief"]
        secret = next((event.name for event in found if (event.verb, event.resource) == ("delete", "secrets")), "")
        asked = [(event.verb, event.resource) for event in found if event.name in (name, secret)]
        return asked[asked.index(("delete", "runs")) :] if ("delete", "runs") in asked else []

    stage.objects.wait("Namespace", None, on.namespace, last, what="the Run's deletion in the audit log")
    assert last(None) == [("delete", "runs")]


@pytest.mark.parametrize(
    ("role", "end", "code", "words"),
    [
        ("code", "ContainerFailed", 3, "Container `main` ended with exit code 3."),
        ("init", "ContainerFailed", 4, "Container `first` ended with exit code 4."),
        ("sidecar", "Finished", 0, "finished"),
        ("sidecar beside a failure", "ContainerFailed", 7, "Container `main`"),
        ("said too much", "ContainerFailed", 1, "Container `main` ended with exit code 1."),
        ("deadline", "DeadlineExceeded", None, "3 seconds"),
        ("deadline without a node", "DeadlineExceeded", None, "3 seconds"),
        ("starting deadline", "StartingDeadlineExceeded", None, "There is no AwsIntegration"),
        *((role, "TemplateRefused", None, words) for role, (_, words) in REFUSED_TEMPLATES.items()),
    ],
)
def test_how_a_run_ends(cast: Play, role: str, end: str, code: int | None, words: str) -> None:
    assert cast.end(role) == ("Finished" if end == "Finished" else "Failed", end)
    status = cast.wait(role)["status"]
    assert status.get("exitCode") == code
    assert words in status["message"]


@pytest.mark.parametrize(
    ("role", "status", "end", "code"),
    [
        ("oom", {"containerStatuses": [{"name": "main", "state": terminated(137, "OOMKilled")}]}, "OOMKilled", 137),
        ("evicted", {"reason": "Evicted", "message": "The node was low on resource: memory."}, "Evicted", None),
        ("lost", {"reason": "NodeLost", "message": "Node n was lost."}, "NodeLost", None),
        (
            "preempted",
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
            "Evicted",
            None,
        ),
    ],
)
def test_how_a_pod_ends_that_a_cluster_ends(
    cast: Play, role: str, status: dict[str, Any], end: str, code: int | None
) -> None:
    for one in status.get("containerStatuses", []):
        one |= {"image": "sandbox", "imageID": "", "ready": False, "restartCount": 0}
    cast.report(role, phase="Failed", **status)
    assert cast.end(role) == ("Failed", end)
    assert cast.wait(role)["status"].get("exitCode") == code


def test_what_troubles_a_pod_is_the_runs_message_while_it_lasts(cast: Play) -> None:
    one = {"name": "main", "image": "sandbox", "imageID": "", "ready": False, "restartCount": 0}
    pulling = {"reason": "ErrImagePull", "message": "manifest unknown"}
    cast.report("image", containerStatuses=[{**one, "state": {"waiting": pulling}}])
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    cast.report("unschedulable", conditions=[unschedulable])
    cast.wait("image", says("Container `main`: its image cannot be pulled: manifest unknown"))
    cast.wait("unschedulable", says("No node can take the pod: 0/3 nodes"))

    backing_off = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    cast.report("image", containerStatuses=[{**one, "state": {"waiting": backing_off}}])
    cast.wait("configmap", says('configmap "settings" not found'))
    body = {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": cast.namespace}}
    cast.stage.objects.create({**body, "data": {"COLOUR": "green"}})
    for role in ("image", "unschedulable"):
        cast.stage.objects.patch(
            "Pod", cast.namespace, cast.child(role), {"metadata": {"annotations": {HOLD_KEY: None}}}
        )
        assert cast.end(role) == ("Finished", "Finished")
        wait_until(partial(cast.told, role, "PodNotReady"), timeout=30, what="the Event")
        assert cast.events(role).count("PodNotReady") == 1
    assert cast.end("configmap") == ("Finished", "Finished")
    assert cast.logs("configmap") == "green\n"


def test_stopped_in_every_phase(cast: Play) -> None:
    cast.wait("stopped", phase("Running"))
    cast.wait("stopped before", phase("Preparing"))
    cast.wait("queued, stopped", issued("IntegrationNotFound"))
    for role in ("stopped", "stopped before", "queued, stopped"):
        cast.patch(role, stop=True)
    for role in ("stopped", "stopped before", "queued, stopped"):
        assert cast.end(role) == ("Stopped", "Stopped")
    assert (cast.folder / "gently").exists(), "the container was given its time"
    assert condition(cast.wait("queued, stopped"), "CredentialsIssued")["reason"] == "IntegrationNotFound"
    with pytest.raises(RefusedError, match="stop is immutable"):
        cast.patch("stopped", stop=False)


def test_a_pod_deleted_by_hand_fails_its_run(cast: Play) -> None:
    cast.wait("deleted by hand", phase("Running"))
    cast.stage.objects.delete("Pod", cast.namespace, cast.child("deleted by hand"))
    assert cast.end("deleted by hand") == ("Failed", "PodDeleted")


def test_a_forged_end_ends_the_run_and_no_more(cast: Play) -> None:
    cast.wait("forged", phase("Running"))
    name = cast.child("forged")
    forged = {"status": {"phase": "Finished"}}
    cast.stage.objects.patch("Run", cast.namespace, cast.runs["forged"], forged, subresource="status")
    cast.stage.objects.wait("Secret", cast.namespace, name, gone)
    cast.stage.objects.wait("Pod", cast.namespace, name, gone)
    cast.wait("forged")
    with pytest.raises(RefusedError, match="phase only advances"):
        cast.stage.objects.patch(
            "Run", cast.namespace, cast.runs["forged"], {"status": {"phase": "Queued"}}, subresource="status"
        )


def test_waiting_returns_also_after_a_later_change(cast: Play) -> None:
    cast.wait("code")
    cast.patch("code", ttlSecondsAfterFinished=86400)
    # The watch does not show ended Runs: the next list does.
    cast.stage.cluster.kubectl(
        "wait", "--for=condition=Complete", f"--namespace={cast.namespace}", f"run/{cast.runs['code']}", "--timeout=90s"
    )
    table = cast.stage.cluster.kubectl("get", "awsrun", f"--namespace={cast.namespace}", cast.runs["code"]).stdout
    header, row = table.splitlines()
    assert header.split() == ["NAME", "TYPE", "PHASE", "INTEGRATION", "RUN", "ID", "EXPIRES", "AGE"]
    status = cast.wait("code")["status"]
    assert row.split()[:6] == [
        cast.runs["code"],
        "Task",
        "Failed",
        "prod",
        status["runId"],
        status["credentialsExpireAt"],
    ]


def test_a_time_to_live_takes_run_and_pod_away(cast: Play) -> None:
    cast.patch("init", ttlSecondsAfterFinished=1)
    for role in ("ttl 0", "ttl 1", "init"):
        cast.stage.objects.wait("Run", cast.namespace, cast.runs[role], gone)

    def pods_left(_: Any) -> bool:
        owners = (
            pod["metadata"]["ownerReferences"][0]["name"] for pod in cast.stage.objects.list("Pod", cast.namespace)
        )
        return not {cast.runs[role] for role in ("ttl 0", "ttl 1", "init")} & set(owners)

    cast.stage.objects.wait("Namespace", None, cast.namespace, pods_left)


def test_a_run_goes_on_when_the_reason_to_wait_goes_away(cast: Play) -> None:
    later = cast.stage.external_id(cast.namespace, "later")
    cast.wait("queued, goes on", issued("IntegrationNotFound", f"{cast.namespace}/later"))
    cast.wait("proposed", issued("NotAllowed", "spec.proposed"))
    cast.stage.objects.patch("AwsIntegration", cast.namespace, "prod", {"spec": {"proposed": {}}})
    cast.stage.integration(cast.namespace, "later", trusted=False)
    cast.wait("queued, goes on", issued("IntegrationNotReady", "roleArn"))
    role = cast.stage.role(cast.stage.trust(later))
    cast.stage.objects.patch("AwsIntegration", cast.namespace, "later", {"spec": {"roleArn": role}})
    assert cast.end("queued, goes on") == ("Finished", "Finished")
    assert cast.end("proposed") == ("Finished", "Finished")


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
def test_a_run_that_is_deleted_takes_pod_and_secret_along(cast: Play, policy: str) -> None:
    cast.run(policy, FOREVER)
    name = cast.child(policy)
    cast.stage.objects.delete("Run", cast.namespace, cast.runs[policy], propagationPolicy=policy)
    for kind in ("Secret", "Pod"):
        cast.stage.objects.wait(kind, cast.namespace, name, gone)


def test_a_namespace_can_be_deleted_under_its_runs(stage: Stage) -> None:
    on = play(stage)
    on.run("running", FOREVER)
    on.run("queued", integration="missing")
    on.wait("running", phase("Running"))
    stage.objects.delete("Namespace", None, on.namespace)
    stage.objects.wait("Namespace", None, on.namespace, gone, timeout=60)
