"""`delivery: File` with real readers: a process that outlives its credentials several times over.

Sessions live for 900 seconds, the least that STS gives, and are renewed after a few of them: the part of their life
after which that happens is a setting. The stand-in node brings new content within a second. A kubelet takes longer:
what a pod sees under a real one is measured by `bench/secret_volume.py`.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.apiproxy import ApiProxy, Fault, Refuse
from sandbox.faults import Match
from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.program import Program
from sandbox.stage import INSTALLATION, Stage
from sandbox.worker import Worker, tenant
from spacelift_aws.names import child_name

from .conftest import SETTINGS
from .runs.play import FOREVER, HOLD, Play, container, says
from .test_crashes import identifier, pods_made

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a Secret for a local process")

RENEWAL = {"SPACELIFT_AWS_RENEW_AFTER": "0.005"}
"""Of 900 seconds: one every 4.5 seconds."""

CLIENT = """
import boto3, time
session = boto3.Session()
credentials, sts, keys = session.get_credentials(), session.client("sts"), []
print(credentials.method, flush=True)
deadline = time.monotonic() + 60
while len(keys) < 3 and time.monotonic() < deadline:
    arn = sts.get_caller_identity()["Arn"]
    key = credentials.get_frozen_credentials().access_key
    if key not in keys:
        keys.append(key)
        print(key, arn, flush=True)
    time.sleep(0.2)
raise SystemExit(len(keys) < 3)
"""


def client(**more: Any) -> dict[str, Any]:
    """A container in which one boto3 session asks who it is until it has had three access keys."""
    return {"name": "main", "image": "sandbox", "command": [sys.executable, "-c", CLIENT], **more}


@dataclass
class Scene:
    """A namespace with an integration, and the program that executes its Runs."""

    play: Play
    executor: Program

    @property
    def stage(self) -> Stage:
        return self.play.stage

    def logs(self, role: str, name: str = "main") -> list[str]:
        pod, namespace = self.play.child(role), self.play.namespace
        return self.stage.cluster.kubectl("logs", f"--namespace={namespace}", pod, f"--container={name}").stdout.split()

    def sessions(self, role: str) -> int:
        """How many sessions were issued to a Run."""
        run_id = identifier(self.play.wait(role, bool))
        return len(self.stage.proxy.calls_of(Match(session_name_prefix=run_id)))

    def running(self, role: str) -> Object:
        return self.play.wait(role, lambda run: (run or {}).get("status", {}).get("phase") == "Running")

    def expiry(self, role: str) -> str:
        return str(self.play.wait(role, bool)["status"].get("credentialsExpireAt", ""))

    def renewed(self, role: str) -> None:
        """Wait for the next renewal."""
        before = self.expiry(role)
        self.play.wait(role, lambda run: (run or {})["status"]["credentialsExpireAt"] > before)


@pytest.fixture(scope="module")
def controller(_stage: Stage) -> Iterator[Stage]:
    """The stage with a controller that renews after seconds."""
    _stage.controller.stop()
    _stage.controller.environment.update(RENEWAL)
    _stage.controller.start()
    yield _stage
    _stage.controller.stop()
    for name in RENEWAL:
        del _stage.controller.environment[name]


def by_controller(stage: Stage) -> Scene:
    namespace = stage.namespace()
    stage.integration(namespace, durationSeconds=900)
    return Scene(Play(stage, namespace), stage.controller)


def by_worker(stage: Stage) -> Scene:
    namespace = stage.namespace()
    owner = tenant(stage.aws, stage.fresh("owner"))
    stage.integration(namespace, roleArn=owner.role_arn, generateCredentialsInWorker=True, durationSeconds=900)
    aws = stage.aws.environment(owner.identity, endpoint=stage.proxy.endpoint)
    environment = {**aws, **SETTINGS, **RENEWAL, "SPACELIFT_AWS_INSTALLATION": INSTALLATION}
    worker = Worker(stage.cluster, environment, namespace)
    worker.install()
    worker.start()
    return Scene(Play(stage, namespace), worker)


@pytest.fixture(scope="module", params=["controller", "worker"])
def scene(request: pytest.FixtureRequest, controller: Stage) -> Iterator[Scene]:
    made = by_controller(controller) if request.param == "controller" else by_worker(controller)
    yield made
    if request.param == "worker":
        made.executor.kill()


def test_one_boto3_process_outlives_its_credentials_twice(scene: Scene) -> None:
    play = scene.play
    play.run("reader", pod={"containers": [client()]}, delivery="File")
    run = play.wait("reader", timeout=90)
    method, *said = scene.logs("reader")
    keys, identities = said[::2], set(said[1::2])
    assert method == "custom-process"
    assert len(set(keys)) == 3
    assert identities == {run["status"]["assumedRoleArn"]}
    assert play.end("reader") == ("Finished", "Finished")
    assert scene.sessions("reader") >= 3

    def told() -> bool:
        events = play.stage.objects.list("Event", play.namespace)
        messages = [event["message"] for event in events if event["involvedObject"]["name"] == play.runs["reader"]]
        return all(any(key in message for message in messages) for key in keys)

    wait_until(told, timeout=20, what="an Event for each session, with its key")


@pytest.mark.slow
def test_a_killed_executor_goes_on_renewing_when_it_is_back(scene: Scene) -> None:
    play = scene.play
    play.run("restart", FOREVER, delivery="File")
    scene.running("restart")
    scene.executor.kill()
    scene.executor.start()
    scene.renewed("restart")
    scene.renewed("restart")
    play.patch("restart", stop=True)
    assert play.end("restart") == ("Stopped", "Stopped")


def test_the_secret_and_the_pod_are_as_agreed(scene: Scene) -> None:
    play = scene.play
    others = [container("main", FOREVER), container("beside", FOREVER)]
    play.run("shape", pod={"containers": others}, delivery="File", credentialsFor=["beside"])
    scene.running("shape")
    secret = play.secret("shape")
    pod = play.stage.objects.get("Pod", play.namespace, play.child("shape"))
    assert secret is not None
    assert pod is not None
    assert sorted(secret["data"]) == ["config", "credentials.json"]
    assert secret["type"] == "aws.spacelift.io/run-credentials"
    main, beside = pod["spec"]["containers"]
    path = "/var/run/secrets/aws.spacelift.io"
    assert path not in json.dumps(main)
    assert {"name": "spacelift-aws-credentials", "mountPath": path, "readOnly": True} in beside["volumeMounts"]
    assert pod["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"] == "beside"
    play.patch("shape", stop=True)
    assert play.end("shape") == ("Stopped", "Stopped")


def withdraw_trust(scene: Scene, role: str) -> Callable[[], object]:
    """The role trusts nobody any more."""
    name, account = role.rpartition("/")[2], scene.stage.aws.account(role.split(":")[4])
    client = scene.stage.aws.client("iam", account.root)
    trusted = client.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    account.set_trust(name, {**trusted, "Statement": [{**trusted["Statement"][0], "Effect": "Deny"}]})
    return lambda: account.set_trust(name, trusted)


def change_role(scene: Scene, role: str) -> Callable[[], object]:
    """The integration names a role that does not exist."""

    def write(arn: str) -> Object:
        spec = {"spec": {"roleArn": arn}}
        return scene.stage.objects.patch("AwsIntegration", scene.play.namespace, "prod", spec)

    write(role.replace("role/", "role/nobodys-"))
    return lambda: write(role)


def delete_integration(scene: Scene, role: str) -> Callable[[], object]:
    integration = scene.stage.objects.get("AwsIntegration", scene.play.namespace, "prod") or {}
    scene.stage.objects.delete("AwsIntegration", scene.play.namespace, "prod")
    return lambda: scene.stage.integration(scene.play.namespace, **integration["spec"])


@pytest.mark.parametrize("withdraw", [withdraw_trust, change_role, delete_integration])
def test_a_run_that_cannot_be_renewed_runs_on_says_so_and_is_renewed_again(
    scene: Scene, withdraw: Callable[[Scene, str], Callable[[], object]]
) -> None:
    play = scene.play
    play.run("withdrawn", FOREVER, delivery="File")
    scene.running("withdrawn")
    integration = play.stage.objects.get("AwsIntegration", play.namespace, "prod")
    assert integration is not None
    give_back = withdraw(scene, integration["spec"]["roleArn"])

    def says_so(run: Object | None) -> bool:
        said = (run or {})["status"].get("message", "")
        return condition(run, "CredentialsIssued").get("status") == "True" and "could not be renewed" in said

    run = play.wait("withdrawn", says_so)
    assert run["status"]["phase"] == "Running"
    expiry = run["status"]["credentialsExpireAt"]
    assert f"ends at {expiry}" in condition(run, "CredentialsIssued")["message"]
    assert f"could not be renewed and end at {expiry}" in run["status"]["message"]
    wait_until(lambda: "CredentialsNotRenewed" in play.events("withdrawn"), timeout=30, what="the warning")
    give_back()
    play.wait("withdrawn", lambda run: (run or {})["status"]["credentialsExpireAt"] > expiry, timeout=60)
    healed = play.wait("withdrawn", lambda run: not says_so(run))
    assert healed["status"].get("message") is None
    play.patch("withdrawn", stop=True)
    assert play.end("withdrawn") == ("Stopped", "Stopped")


def test_a_node_that_is_not_heard_of_gets_no_fresh_credentials(controller: Stage) -> None:
    scene = by_controller(controller)
    play, objects = scene.play, scene.stage.objects
    # A pod that tolerates the loss of its node stays; what the node controller then says of it is written for it.
    pod = {"containers": [scene.stage.container(FOREVER)], "terminationGracePeriodSeconds": 1}
    play.run("lost", pod=pod, delivery="File", annotations=HOLD)
    objects.wait("Pod", play.namespace, play.child("lost"), bool)
    play.run("beside", FOREVER, delivery="File")
    scene.running("beside")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": now},
        {"type": "Ready", "status": "False", "lastTransitionTime": now},
    ]
    of_main = {"name": "main", "image": "sandbox", "imageID": "", "ready": True, "restartCount": 0}
    containers = [{**of_main, "state": {"running": {"startedAt": now}}}]
    status = {"phase": "Running", "startTime": now, "conditions": conditions, "containerStatuses": containers}
    objects.patch("Pod", play.namespace, play.child("lost"), {"status": status}, subresource="status")
    run = play.wait("lost", says(f"has not responded since {now}"))
    assert run["status"]["phase"] == "Running"
    sessions = scene.sessions("lost")
    for _ in range(2):
        scene.renewed("beside")
    assert scene.sessions("lost") == sessions
    for role in ("lost", "beside"):
        objects.patch("Run", play.namespace, play.runs[role], {"spec": {"stop": True}})
        assert play.end(role) == ("Stopped", "Stopped")


@pytest.mark.slow
def test_wherever_a_stop_meets_a_renewal_no_secret_stays(scene: Scene) -> None:
    play = scene.play
    roles = [f"stop {n}" for n in range(8)]
    for role in roles:
        play.run(role, FOREVER, delivery="File")
    for role in roles:
        scene.running(role)
    for role in roles:
        # Between them a renewal of this one or another is always under way.
        scene.renewed(roles[-1])
        play.patch(role, stop=True)
        if role == roles[-1]:
            break
    names = [play.child(role) for role in roles]
    for role in roles:
        assert play.end(role) == ("Stopped", "Stopped")
    assert [name for name in names if play.stage.objects.get("Secret", play.namespace, name)] == []


@pytest.mark.slow
def test_the_aws_cli_in_one_process_across_two_renewals(controller: Stage) -> None:
    scene = by_controller(controller)
    play, late = scene.play, controller.fresh("late")
    # It asks each second, up to twenty times; its debug log names the key that signed a request, and stays in the pod.
    script = (
        "keys() { grep -o 'Credential=[A-Z0-9]*' debug.log | uniq; }; "
        f"aws iam wait role-exists --role-name {late} --debug 2>debug.log & asking=$!; "
        'until [ "$(keys | wc -l)" -ge 3 ]; do kill -0 $asking || break; sleep 0.2; done; '
        "echo three; wait $asking; code=$?; keys; exit $code"
    )
    play.run("cli", script, delivery="File")
    scene.running("cli")
    wait_until(lambda: "three" in scene.logs("cli"), timeout=90, what="requests under three keys", interval=0.5)
    controller.customer.create_role(late, controller.trust())
    assert play.end("cli") == ("Finished", "Finished")
    keys = [word.partition("=")[2] for word in scene.logs("cli") if "=" in word]
    assert len(set(keys)) == len(keys) >= 3


@pytest.mark.slow
def test_who_dies_between_deletion_and_creation_leaves_a_renewal_that_is_due(
    controller: Stage, request: pytest.FixtureRequest
) -> None:
    proxy: ApiProxy = request.getfixturevalue("api")
    scene = by_controller(controller)
    play = scene.play
    play.run("gap", FOREVER, delivery="File")
    scene.running("gap")
    secret = play.child("gap")
    with proxy.fault(Fault("POST", f"/namespaces/{play.namespace}/secrets", Refuse(500))) as refused:
        wait_until(lambda: refused.used > 0, timeout=20, what="a renewal")
        assert play.stage.objects.get("Secret", play.namespace, secret) is None
        controller.controller.kill()
    before = scene.expiry("gap")
    controller.controller.start()
    play.stage.objects.wait("Secret", play.namespace, secret, bool)
    play.wait("gap", lambda run: (run or {})["status"]["credentialsExpireAt"] > before)
    play.patch("gap", stop=True)
    assert play.end("gap") == ("Stopped", "Stopped")


def injection(name: str, namespace: str, *, honours_skip: bool) -> list[Object]:
    """What EKS's webhook does for an annotated service account, as an admission policy."""
    group = "admissionregistration.k8s.io/v1"
    skipped = "object.metadata.?annotations[?'eks.amazonaws.com/skip-containers'].orValue('').split(',')"
    who = f"object.spec.containers.filter(c, !(c.name in {skipped}))" if honours_skip else "object.spec.containers"
    variable = "Object.spec.containers.env{{name: '{}', value: '{}'}}"
    role = variable.format("AWS_ROLE_ARN", "arn:aws:iam::222222222222:role/node-group")
    token = variable.format("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token")
    changed = f"Object.spec.containers{{name: c.name, env: [{role}, {token}]}}"
    expression = f"Object{{spec: Object.spec{{containers: {who}.map(c, {changed})}}}}"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "apiVersion": group,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [pods]},
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
        },
    }
    binding = {
        "apiVersion": group,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        },
    }
    return [policy, binding]


@pytest.fixture(params=[True, False], ids=["honours", "ignores"])
def injected(request: pytest.FixtureRequest, controller: Stage) -> Iterator[tuple[Scene, bool]]:
    """A namespace in whose pods web-identity variables are injected."""
    scene, name = by_controller(controller), controller.fresh("injection")
    for body in injection(name, scene.play.namespace, honours_skip=request.param):
        controller.cluster.kubectl("apply", "--filename=-", input=json.dumps(body))

    def acts(_: Any) -> bool:
        probe = {"metadata": {"generateName": "probe-"}, "spec": {"containers": [container("main")]}}
        path = f"/api/v1/namespaces/{scene.play.namespace}/pods?dryRun=All"
        answer = controller.cluster.kubectl("create", f"--raw={path}", "--filename=-", input=json.dumps(probe)).stdout
        return "AWS_WEB_IDENTITY_TOKEN_FILE" in answer

    controller.objects.wait("Namespace", None, scene.play.namespace, acts, what="an admission policy that acts")
    yield scene, request.param
    for kind in ("mutatingadmissionpolicybinding", "mutatingadmissionpolicy"):
        controller.cluster.kubectl("delete", kind, name)


def variables_of(body: Mapping[str, Any], name: str) -> set[str]:
    [one] = [one for one in body["spec"]["containers"] if one["name"] == name]
    return {variable["name"] for variable in one.get("env", ())}


def test_a_web_identity_that_is_injected_never_wins_without_a_word(injected: tuple[Scene, bool]) -> None:
    scene, honoured = injected
    play = scene.play
    tried = pods_made(scene.stage, play.namespace)
    who = "aws sts get-caller-identity --output text --query Arn"
    pod = {"containers": [container("main", who), container("beside", "true")]}
    play.run("file", pod=pod, delivery="File")
    play.run("environment", pod=pod)
    if honoured:
        assert play.end("file") == ("Finished", "Finished")
        made = play.stage.objects.get("Pod", play.namespace, play.child("file"))
        assert made is not None
        assert "AWS_ROLE_ARN" in variables_of(made, "beside"), "the injection works"
        assert "AWS_ROLE_ARN" not in variables_of(made, "main")
        for role in ("file", "environment"):
            assert play.end(role) == ("Finished", "Finished")
            assert scene.logs(role) == [play.wait(role)["status"]["assumedRoleArn"]]
    else:
        assert play.end("file") == ("Failed", "TemplateRefused")
        message = play.wait("file")["status"]["message"]
        assert "Container `main` has variable AWS_ROLE_ARN" in message
        assert "service account without a role" in message
        wait_until(lambda: play.told("file", "TemplateRefused"), timeout=30, what="the Event")
        name = child_name(identifier(play.wait("file")))
        play.stage.objects.wait("Pod", play.namespace, name, lambda pod: pod is None)
        # Some SDKs prefer a web identity to the variables too.
        assert play.end("environment") == ("Failed", "TemplateRefused")
    assert pods_made(scene.stage, play.namespace) == tried + 2


def test_a_run_with_variables_that_may_outlive_its_session_is_told_of_files(controller: Stage) -> None:
    play = by_controller(controller).play
    play.run("long", "true", activeDeadlineSeconds=901)
    play.run("short", "true", activeDeadlineSeconds=900)
    play.run("file", "true", activeDeadlineSeconds=901, delivery="File")
    for role in ("long", "short", "file"):
        assert play.end(role) == ("Finished", "Finished")
    wait_until(lambda: "SessionTooShort" in play.events("long"), timeout=30, what="the advice")
    assert "SessionTooShort" not in play.events("short") + play.events("file")
