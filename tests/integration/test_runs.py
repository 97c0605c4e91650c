"""Runs from their creation to their end, on a real API server, with pods that run and an STS that evaluates trust.

Most of them are created at once, by the fixture `cast`, and go their ways side by side while one test after the other
looks at how each has fared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.faults import Match, Rule, denied, throttled
from sandbox.objects import Object, RefusedError, complete, condition
from sandbox.stage import Stage
from spacelift_aws.names import child_name

FOUR = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"]
HOLD_KEY = "sandbox/hold"
HOLD = {HOLD_KEY: "true"}
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
CONTROLLER = "system:serviceaccount:spacelift-aws:spacelift-aws-controller"


def issued(reason: str, message: str = "") -> Callable[[Object | None], bool]:
    """The Run waits for this reason and says so."""

    def waits(run: Object | None) -> bool:
        why = condition(run, "CredentialsIssued")
        return why.get("reason") == reason and message in why.get("message", "")

    return waits


def phase(*wanted: str) -> Callable[[Object | None], bool]:
    return lambda run: (run or {}).get("status", {}).get("phase") in wanted


def says(words: str) -> Callable[[Object | None], bool]:
    return lambda run: words in (run or {}).get("status", {}).get("message", "")


def gone(body: Object | None) -> bool:
    return body is None


def container(name: str, script: str = "true", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "sandbox", "command": ["sh", "-c", script], **more}


@dataclass
class Play:
    """A namespace with a trusted integration, and what is done to Runs in it."""

    stage: Stage
    namespace: str
    runs: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def run(self, role: str, script: str = "true", **spec: Any) -> str:
        """Create a Run and remember it by the part it plays."""
        self.runs[role] = self.stage.run(self.namespace, script, **spec)
        return self.runs[role]

    def wait(self, role: str, until: Callable[[Object | None], object] = complete, timeout: float = 30) -> Object:
        return self.stage.objects.wait("Run", self.namespace, self.runs[role], until, timeout=timeout, what=role)

    def end(self, role: str) -> tuple[str, str]:
        """Phase and reason of a Run's end; what belongs to every end is checked."""
        run = self.wait(role)
        status = run["status"]
        assert condition(run, "Complete")["reason"] == status["phase"]
        assert condition(run, "Succeeded")["status"] == ("True" if status["phase"] == "Finished" else "False")
        assert status["finishedAt"]
        assert self.secret(role) is None
        return status["phase"], condition(run, "Succeeded")["reason"]

    def child(self, role: str) -> str:
        """The name of a Run's Secret and pod, once it has them."""
        run = self.wait(role, lambda run: (run or {}).get("status", {}).get("podName"))
        assert run["status"]["secretName"] == run["status"]["podName"] == child_name(run["status"]["runId"])
        return str(run["status"]["podName"])

    def secret(self, role: str) -> Object | None:
        run = self.stage.objects.get("Run", self.namespace, self.runs[role])
        assert run is not None
        return self.stage.objects.get("Secret", self.namespace, child_name(run["status"]["runId"]))

    def patch(self, role: str, **spec: Any) -> None:
        self.stage.objects.patch("Run", self.namespace, self.runs[role], {"spec": spec})

    def report(self, role: str, **status: Any) -> None:
        """Write the status of a Run's pod, as a kubelet or another controller of the cluster would."""
        self.stage.objects.patch("Pod", self.namespace, self.child(role), {"status": status}, subresource="status")

    def logs(self, role: str) -> str:
        return self.stage.cluster.kubectl("logs", f"--namespace={self.namespace}", self.child(role)).stdout

    def events(self, role: str) -> list[str]:
        name = self.runs[role]
        found = self.stage.objects.list("Event", self.namespace)
        return sorted(str(event["reason"]) for event in found if event["involvedObject"]["name"] == name)


def play(stage: Stage, labels: Mapping[str, str] | None = None, **integration: Any) -> Play:
    namespace = stage.namespace(labels)
    stage.integration(namespace, **integration)
    return Play(stage, namespace)


def terminated(code: int, reason: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}}


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
def seasoned(_stage: Stage) -> Play:
    """An integration whose trust will have been verified some time ago."""
    return play(_stage)


@pytest.fixture(scope="module")
def cast(_stage: Stage, seasoned: Play, tmp_path_factory: pytest.TempPathFactory) -> Play:
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


def test_five_writes_and_the_secret_goes_before_the_end(stage: Stage) -> None:
    on = play(stage)
    stage.objects.wait("AwsIntegration", on.namespace, "prod", lambda body: ready(body) == "True")
    on.run("steady", "sleep 0.5", maskLogs="Never")
    assert on.end("steady") == ("Finished", "Finished")

    def calls() -> list[Any]:
        ours = [
            event
            for event in stage.cluster.audit_events()
            if event.user == CONTROLLER and event.namespace == on.namespace and event.verb not in ("list", "watch")
        ]
        return sorted(
            (event for event in ours if event.resource in ("runs", "pods", "secrets")), key=lambda event: event.received
        )

    def all_written(_: Any) -> bool:
        return len(calls()) >= 5 and on.events("steady") == ["CredentialsIssued", "Finished"]

    stage.objects.wait("Namespace", None, on.namespace, all_written, what="five calls and two events")
    found = calls()
    assert [(event.verb, event.resource, event.subresource) for event in found] == [
        ("create", "secrets", ""),
        ("create", "pods", ""),
        ("patch", "runs", "status"),
        ("delete", "secrets", ""),
        ("patch", "runs", "status"),
    ]
    deletion, end = found[-2:]
    assert deletion.code == 200
    assert deletion.completed < end.received
    run_id = on.wait("steady")["status"]["runId"]
    assert len(stage.proxy.calls_of(Match(session_name_prefix=run_id))) == 1


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
    cast.stage.cluster.kubectl(
        "wait", "--for=condition=Complete", f"--namespace={cast.namespace}", f"run/{cast.runs['code']}", "--timeout=10s"
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


# Runs that need a namespace, an integration or a fault of their own


def test_who_may_use_an_integration(stage: Stage) -> None:
    owner = play(stage, allowedNamespaces={"from": "Selector", "selector": {"matchLabels": {"team": "red"}}})
    owner.stage.integration(owner.namespace, "stacks", allowedStacks=["vpc"])
    owner.stage.integration(owner.namespace, "workers", trusted=False, generateCredentialsInWorker=True)
    guest = Play(stage, stage.namespace())
    guest.run("guest", integrationRef={"name": "prod", "namespace": owner.namespace})
    guest.run("worker", integrationRef={"name": "workers", "namespace": owner.namespace})
    owner.run("stack", integration="stacks", stack="db")
    owner.run("no stack", integration="stacks")
    owner.run("right stack", integration="stacks", stack="vpc")
    owner.run("worker", integration="workers")
    guest.wait("guest", issued("NotAllowed", "`from: Selector`"))
    guest.wait("worker", issued("WorkerModeIsNamespaced"))
    owner.wait("stack", issued("NotAllowed", "stack `db`"))
    owner.wait("no stack", issued("NotAllowed", "without a stack"))
    stage.objects.patch("Namespace", None, guest.namespace, {"metadata": {"labels": {"team": "red"}}})
    stage.objects.patch("AwsIntegration", owner.namespace, "stacks", {"spec": {"allowedStacks": ["vpc", "db"]}})
    assert guest.end("guest") == owner.end("stack") == owner.end("right stack") == ("Finished", "Finished")
    owner.wait("worker", issued("NoWorker", "pool `default`"))


def test_what_a_session_carries(stage: Stage) -> None:
    read_only = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"}]}'
    on = play(stage, tagAssumeRole=True, proposed={"sessionPolicy": read_only}, durationSeconds=1800)
    on.run("tracked", type="Tracked", stack="vpc")
    on.run("proposed", type="Proposed")
    calls = {}
    for role in ("tracked", "proposed"):
        assert on.end(role) == ("Finished", "Finished")
        run_id = on.wait(role)["status"]["runId"]
        [calls[role]] = stage.proxy.calls_of(Match(session_name_prefix=run_id))
        assert calls[role].duration_seconds == 1800
        assert calls[role].external_id == stage.external_id(on.namespace, "prod")
        assert calls[role].tags == {"run": run_id, "stack": "vpc" if role == "tracked" else "", "space": on.namespace}
    assert not calls["tracked"].has("Policy")
    assert calls["proposed"].parameters["Policy"] == read_only


@pytest.fixture
def quota(stage: Stage) -> Play:
    on = play(stage)
    body = {"kind": "ResourceQuota", "metadata": {"name": "few", "namespace": on.namespace}}
    stage.objects.create({**body, "spec": {"hard": {"pods": "0"}}})
    return on


def test_the_api_servers_word_on_a_pod(stage: Stage, quota: Play) -> None:
    restricted = play(stage, {"pod-security.kubernetes.io/enforce": "restricted"})
    restricted.run("insecure")
    quota.run("crowded")
    assert restricted.end("insecure") == ("Failed", "TemplateRefused")
    assert "violates PodSecurity" in restricted.wait("insecure")["status"]["message"]
    quota.wait("crowded", says("exceeded quota: few"))
    assert quota.secret("crowded") is None, "no Secret lives while nothing can use it"
    stage.objects.patch("ResourceQuota", quota.namespace, "few", {"spec": {"hard": {"pods": "5"}}})
    assert quota.end("crowded") == ("Finished", "Finished")


def test_what_sts_says_to_a_run(stage: Stage, seasoned: Play) -> None:
    """Throttling delays; a refusal is final only where trust holds all the while; where it broke, the Run waits."""
    one, two, three = play(stage), play(stage), seasoned
    for on in (one, two, three):
        stage.objects.wait("AwsIntegration", on.namespace, "prod", lambda body: ready(body) == "True")
    roles = [integration_of(on)["spec"]["roleArn"] for on in (one, two, three)]
    stage.proxy.add(Rule(Match(role_arn=roles[0]), throttled(), times=4))
    stage.proxy.add(Rule(Match(role_arn=roles[1], session_name_prefix="01"), denied()))
    own = stage.external_id(three.namespace, "prod")
    broken_role = roles[2].rsplit("/", 1)[1]
    stage.customer.set_trust(broken_role, stage.trust("someone@else"))
    one.run("throttled")
    two.run("refused")
    three.run("trust broken")
    one.wait("throttled", issued("Retrying", "Rate exceeded"))
    two.wait("refused", issued("AccessDenied", "not authorized to perform: sts:AssumeRole"))
    three.wait("trust broken", issued("AccessDenied"))
    assert one.end("throttled") == ("Finished", "Finished")
    three.wait("trust broken", issued("IntegrationNotReady"), timeout=40)
    stage.customer.set_trust(broken_role, stage.trust(own))
    assert two.end("refused") == ("Failed", "AccessDenied")
    assert three.end("trust broken") == ("Finished", "Finished")


def ready(body: Object | None) -> str | None:
    return condition(body, "Ready").get("status")


def integration_of(on: Play) -> Object:
    return on.stage.objects.get("AwsIntegration", on.namespace, "prod") or {}


def test_a_secret_held_by_a_finalizer_holds_the_end_up(stage: Stage) -> None:
    on = play(stage)
    on.run("held", FOREVER)
    on.wait("held", phase("Running"))
    name = on.child("held")
    stage.objects.patch("Secret", on.namespace, name, {"metadata": {"finalizers": ["test.example/hold"]}})
    on.patch("held", stop=True)
    on.wait("held", says("held by a finalizer"))
    stage.objects.wait("Namespace", None, on.namespace, lambda _: "SecretHeld" in on.events("held"), what="an Event")
    stage.objects.patch("Secret", on.namespace, name, {"metadata": {"finalizers": None}})
    assert on.end("held") == ("Stopped", "Stopped")


def test_credentials_that_near_their_end_are_replaced_before_a_container_reads_them(stage: Stage) -> None:
    """Only memory and two annotations know an expiry: what stands there counts for a controller that has just begun."""
    on = play(stage)
    on.run("late", "aws sts get-caller-identity", annotations=HOLD)
    name = on.child("late")
    first = stage.objects.get("Secret", on.namespace, name) or {}
    stage.controller.kill()
    soon = near_expiry(on, "late")
    stage.controller.start()
    stage.objects.wait(
        "Secret", on.namespace, name, lambda body: body and body["metadata"]["uid"] != first["metadata"]["uid"]
    )
    on.wait("late", lambda run: run and run["status"]["credentialsExpireAt"] > soon)
    stage.objects.patch("Pod", on.namespace, name, {"metadata": {"annotations": {HOLD_KEY: None}}})
    assert on.end("late") == ("Finished", "Finished")


def near_expiry(on: Play, role: str) -> str:
    """Date a Run's credentials so that the next controller finds them near their end; the new date."""
    soon = (datetime.now(UTC) + timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    dated = {"metadata": {"annotations": {"aws.spacelift.io/credentials-expire-at": soon}}}
    on.stage.objects.patch("Pod", on.namespace, on.child(role), dated)
    status = {"status": {"credentialsExpireAt": soon}}
    on.stage.objects.patch("Run", on.namespace, on.runs[role], status, subresource="status")
    return soon


def test_what_is_allowed_no_more_is_not_issued_again(stage: Stage) -> None:
    """`allowedNamespaces` and `allowedStacks` count at every issue, not only at the first."""
    red = {"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}
    owner = play(stage, allowedNamespaces=red, allowedStacks=["vpc"])
    guest = Play(stage, stage.namespace({"team": "red"}))
    owner.run("stack", stack="vpc", annotations=HOLD)
    guest.run("guest", stack="vpc", annotations=HOLD, integrationRef={"name": "prod", "namespace": owner.namespace})
    both = ((owner, "stack"), (guest, "guest"))
    names = [on.child(role) for on, role in both]
    stage.controller.kill()
    soon = max(near_expiry(on, role) for on, role in both)
    stage.objects.patch("Namespace", None, guest.namespace, {"metadata": {"labels": {"team": "blue"}}})
    stage.objects.patch("AwsIntegration", owner.namespace, "prod", {"spec": {"allowedStacks": ["db"]}})
    stage.controller.start()
    owner.wait("stack", says("does not allow stack `vpc`"))
    guest.wait("guest", says(f"does not allow Runs of namespace {guest.namespace}"))
    for name in names:
        assert len(stage.proxy.calls_of(Match(session_name_prefix=name.removeprefix("aws-run-").upper()))) == 1
    stage.objects.patch("Namespace", None, guest.namespace, {"metadata": {"labels": {"team": "red"}}})
    stage.objects.patch("AwsIntegration", owner.namespace, "prod", {"spec": {"allowedStacks": ["vpc"]}})
    for (on, role), name in zip(both, names, strict=True):
        on.wait(role, lambda run: run and run["status"]["credentialsExpireAt"] > soon)
        assert len(stage.proxy.calls_of(Match(session_name_prefix=name.removeprefix("aws-run-").upper()))) == 2
        stage.objects.patch("Pod", on.namespace, name, {"metadata": {"annotations": {HOLD_KEY: None}}})
        assert on.end(role) == ("Finished", "Finished")


def test_a_namespace_can_be_deleted_under_its_runs(stage: Stage) -> None:
    on = play(stage)
    on.run("running", FOREVER)
    on.run("queued", integration="missing")
    on.wait("running", phase("Running"))
    stage.objects.delete("Namespace", None, on.namespace)
    stage.objects.wait("Namespace", None, on.namespace, gone, timeout=60)
