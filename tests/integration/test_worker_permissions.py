"""What the controller and a worker may do and what they may not, each tried under its own account and no other."""

import json
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sandbox import charts, controller
from sandbox.objects import Objects, RefusedError, condition
from sandbox.process import wait_until
from sandbox.program import Program
from sandbox.stage import API_VERSION, INSTALLATION, Stage
from sandbox.worker import SERVICE_ACCOUNT, Tenant, Worker, tenant

pytestmark = pytest.mark.slow

CONTROLLER = f"system:serviceaccount:{controller.NAMESPACE}:{controller.SERVICE_ACCOUNT}"
WORKER_ONLY = {"aws.spacelift.io/worker-only": "true"}
SENTENCE = re.compile(r"namespace \S+ is for workers only .* set generateCredentialsInWorker on the AwsIntegration")

Verbs = set[tuple[str, str]]
"""Pairs of a resource, with its subresource, and a verb."""


@dataclass(frozen=True)
class Account:
    """A service account's hands."""

    stage: Stage
    kubeconfig: Path

    @property
    def objects(self) -> Objects:
        return Objects(self.kubeconfig)

    def kubectl(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.stage.cluster.kubectl(*words, input=given, check=False, kubeconfig=self.kubeconfig)


@pytest.fixture
def the_controller(stage: Stage) -> Account:
    return Account(stage, stage.cluster.kubeconfig_for(controller.NAMESPACE, controller.SERVICE_ACCOUNT))


@pytest.fixture
def closed(stage: Stage, the_controller: Account) -> str:
    """A namespace for workers only, once the policy acts there."""
    namespace = stage.namespace(WORKER_ONLY)
    wait_until(lambda: "for workers only" in _refusal(the_controller, pod(namespace)), timeout=20, what="the policy")
    return namespace


def pod(namespace: str, name: str = "mine", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"containers": [{"name": "main", "image": "x", "command": ["true"]}], **spec},
    }


NAME = "aws-run-01m85c85x87p992kb9a3mrqfzd"
"""As run credentials are named. In one namespace they are a tenant's, in another an executor tries to make them."""


def secret(namespace: str, name: str = NAME, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "aws.spacelift.io/run-credentials",
        "metadata": {"namespace": namespace, "name": name, **metadata},
        "stringData": {"word": "tenants-secret-word"},
    }


def of_a_run() -> dict[str, Any]:
    """A Secret's metadata where the policy on our own accounts lets them create it."""
    owner = {"apiVersion": API_VERSION, "kind": "Run", "name": "gone", "uid": str(uuid.uuid4()), "controller": True}
    return {"ownerReferences": [owner]}


def _refusal(account: Account, body: Mapping[str, Any]) -> str:
    """What the API server says against a creation; empty where it creates the object."""
    try:
        account.objects.create(body)
    except RefusedError as error:
        return f"{error.status}: {error.message}"
    return ""


# --- A namespace for workers only.


def test_the_controller_creates_nothing_in_a_namespace_for_workers_only(the_controller: Account, closed: str) -> None:
    mounts = [{"name": "v", "secret": {"secretName": NAME}}]
    for body in (pod(closed), pod(closed, NAME, volumes=mounts), secret(closed, **of_a_run())):
        said = _refusal(the_controller, body)
        assert said.startswith("403: ")
        assert SENTENCE.search(said), said
    named_by_the_server = pod(closed)
    named_by_the_server["metadata"] = {"namespace": closed, "generateName": "x-"}
    assert SENTENCE.search(_refusal(the_controller, named_by_the_server))


def test_elsewhere_it_creates_both(the_controller: Account, namespace: str) -> None:
    assert [_refusal(the_controller, body) for body in (pod(namespace), secret(namespace, **of_a_run()))] == ["", ""]


def test_plain_deletion_stays(stage: Stage, the_controller: Account, closed: str) -> None:
    stage.objects.create(secret(closed))
    stage.objects.create(pod(closed))
    done = the_controller.kubectl("delete", "--wait=false", "-n", closed, f"secret/{NAME}", "pod/mine")
    assert done.returncode == 0, done.stderr
    stage.objects.wait("Secret", closed, NAME, lambda seen: seen is None)
    stage.objects.wait("Pod", closed, "mine", lambda seen: seen is None)


def test_the_controller_cannot_take_the_label_away(the_controller: Account, closed: str) -> None:
    done = the_controller.kubectl("label", "namespace", closed, "aws.spacelift.io/worker-only-")
    assert "forbidden" in done.stderr


def test_a_run_in_controller_mode_waits_there_says_why_and_leaves_nothing(stage: Stage, closed: str) -> None:
    stage.integration(closed)
    name = stage.run(closed)

    def told(run: Any) -> bool:
        return bool(SENTENCE.search(condition(run, "CredentialsIssued").get("message", "")))

    run = stage.objects.wait("Run", closed, name, told, what="does not say why")
    issued = condition(run, "CredentialsIssued")
    assert (run["status"]["phase"], issued["status"], issued["reason"]) == ("Queued", "False", "Retrying")
    assert stage.objects.list("Secret", closed) == []
    assert stage.objects.list("Pod", closed) == []
    stage.objects.patch("Run", closed, name, {"spec": {"stop": True}})
    stage.objects.wait("Run", closed, name, lambda run: condition(run, "Complete"), what="is not stopped")
    assert stage.objects.list("Secret", closed) == []


def test_it_goes_on_by_itself_when_the_label_is_gone(stage: Stage, closed: str) -> None:
    stage.integration(closed)
    name = stage.run(closed)
    stage.objects.wait("Run", closed, name, lambda run: SENTENCE.search(json.dumps(run)), what="does not say why")
    stage.objects.patch("Namespace", None, closed, {"metadata": {"labels": dict.fromkeys(WORKER_ONLY)}})
    stage.objects.wait("Run", closed, name, lambda run: condition(run, "Succeeded").get("status") == "True", timeout=60)


# --- What each may do and what it may not.

BASIC = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "clustertrustbundles"}
"""What everybody may ask about themselves, and certificates that every service account may read."""


EVERYWHERE = "spacelift-aws-controller"
CONTROLLERS_HOME = "spacelift-aws-controller-lease"
WHERE_RUNS_ARE = "spacelift-aws-worker"
WORKERS_HOME = "spacelift-aws-worker-default-lease"


@cache
def _roles() -> dict[str, list[dict[str, Any]]]:
    """The rules of every Role and ClusterRole in both charts, by name."""
    values = {"installation": INSTALLATION}
    rendered = charts.render(charts.OPERATOR, controller.NAMESPACE), charts.render(charts.WORKER, "research", values)
    return {
        document["metadata"]["name"]: document["rules"]
        for text in rendered
        for document in charts.documents(text)
        if "rules" in document
    }


def granted(*roles: str) -> Verbs:
    """What the rules of these roles allow."""
    return {
        (resource, verb)
        for role in roles
        for rule in _roles()[role]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def allowed(account: Account, namespace: str) -> Verbs:
    """What the API server says that an account may do in a namespace."""
    question = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    done = account.kubectl("create", "--validate=false", "-f", "-", "-o", "json", given=json.dumps(question))
    assert done.returncode == 0, done.stderr
    rules = json.loads(done.stdout)["status"]["resourceRules"]
    return {
        (resource, verb)
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if resource not in BASIC
    }


def worker_of(stage: Stage, namespace: str, who: Tenant) -> Worker:
    """A tenant's worker where its Runs are, with the controller's shortened delays; not started yet."""
    settings = {name: value for name, value in stage.controller.environment.items() if name.startswith("SPACELIFT_")}
    environment = {**stage.aws.environment(who.identity, endpoint=stage.proxy.endpoint), **settings}
    worker = Worker(stage.cluster, environment, namespace, pool="build")
    worker.install()
    return worker


@pytest.fixture
def tenants(stage: Stage) -> Tenant:
    return tenant(stage.aws, stage.fresh("tenant"))


@pytest.fixture
def the_worker(stage: Stage, namespace: str, tenants: Tenant) -> Account:
    """Lives in `namespace`, whose Runs it executes."""
    worker_of(stage, namespace, tenants)
    return Account(stage, stage.cluster.kubeconfig_for(namespace, SERVICE_ACCOUNT))


def test_the_controller_may_do_what_its_chart_says(the_controller: Account, namespace: str) -> None:
    for place in (namespace, "kube-system"):
        assert allowed(the_controller, place) == granted(EVERYWHERE)
    assert allowed(the_controller, controller.NAMESPACE) == granted(EVERYWHERE, CONTROLLERS_HOME)


def test_a_worker_may_do_what_its_chart_says_in_its_namespace_and_nothing_elsewhere(
    stage: Stage, the_worker: Account, namespace: str
) -> None:
    assert allowed(the_worker, namespace) == granted(WORKERS_HOME, WHERE_RUNS_ARE)
    for place in (stage.namespace(), controller.NAMESPACE, "kube-system", "default"):
        assert allowed(the_worker, place) == set()


def test_workers_apart_from_their_runs_may_do_nothing_but_elect_where_they_live(
    stage: Stage, namespace: str, tenants: Tenant
) -> None:
    home = stage.namespace()
    Worker(stage.cluster, {"SPACELIFT_AWS_INSTALLATION": INSTALLATION}, home, namespaces=[namespace]).install()
    account = Account(stage, stage.cluster.kubeconfig_for(home, SERVICE_ACCOUNT))
    assert allowed(account, home) == granted(WORKERS_HOME)
    assert allowed(account, namespace) == granted(WHERE_RUNS_ARE)
    assert stage.cluster.kubectl("get", "serviceaccounts", "-n", namespace, "-o", "name").stdout.split() == [
        "serviceaccount/default"
    ]


def forbidden(account: Account, namespace: str) -> dict[str, tuple[str, ...]]:
    """Attempts on a Secret and a pod that exist; each as kubectl's words."""
    core = f"/api/v1/namespaces/{namespace}"
    return {
        "get a Secret": ("get", "--raw", f"{core}/secrets/{NAME}"),
        "list Secrets": ("get", "--raw", f"{core}/secrets"),
        "list all Secrets": ("get", "--raw", "/api/v1/secrets"),
        "watch Secrets": ("get", "--raw", f"{core}/secrets?watch=true"),
        "watch one Secret": ("get", "--raw", f"{core}/secrets?watch=true&fieldSelector=metadata.name={NAME}"),
        "update a Secret": ("replace", "--raw", f"{core}/secrets/{NAME}", "-f", "-"),
        "delete all Secrets": ("delete", "--raw", f"{core}/secrets"),
        "exec": ("create", "--raw", f"{core}/pods/mine/exec?command=env", "-f", "-"),
        "attach": ("create", "--raw", f"{core}/pods/mine/attach", "-f", "-"),
        "forward a port": ("create", "--raw", f"{core}/pods/mine/portforward", "-f", "-"),
        "read a log": ("get", "--raw", f"{core}/pods/mine/log"),
        "ask for a token": ("create", "token", "default", "-n", namespace),
        "bind a role": ("create", "rolebinding", "x", "--role=x", "--user=x", "-n", namespace),
        "impersonate a user": ("get", "--raw", f"{core}/pods", "--as=sandbox-admin"),
        "impersonate a group": ("get", "--raw", f"{core}/pods", "--as=x", "--as-group=system:masters"),
        "impersonate an account": ("get", "--raw", f"{core}/pods", f"--as=system:serviceaccount:{namespace}:default"),
    }


@pytest.mark.parametrize("who", ["controller", "worker"])
def test_neither_reads_a_secret_gets_into_a_pod_or_becomes_somebody_else(
    stage: Stage, namespace: str, who: str, the_controller: Account, the_worker: Account
) -> None:
    account = the_controller if who == "controller" else the_worker
    stage.objects.create(secret(namespace))
    stage.objects.create(pod(namespace))
    body = json.dumps(secret(namespace))
    for attempt, words in forbidden(account, namespace).items():
        done = account.kubectl(*words, given=body if "-f" in words else None)
        assert done.returncode != 0, attempt
        assert "forbidden" in done.stderr.lower(), (attempt, done.stderr)
        assert "tenants-secret-word" not in done.stdout + done.stderr
    with pytest.raises(RefusedError, match="cannot patch resource"):
        account.objects.patch("Secret", namespace, NAME, {"metadata": {"labels": {"x": "y"}}})
    with pytest.raises(RefusedError, match="cannot patch resource"):
        account.objects.patch("Pod", namespace, "mine", {"spec": {}}, subresource="ephemeralcontainers")


def test_two_tenants_workers_cannot_touch_what_is_the_others(stage: Stage, namespace: str, the_worker: Account) -> None:
    other = stage.namespace()
    stage.integration(other, trusted=False)
    stage.objects.create(secret(other))
    name = stage.run(other)
    hands = the_worker.objects
    for kind in ("Run", "AwsIntegration", "Pod", "Secret"):
        with pytest.raises(RefusedError, match="cannot list resource"):
            hands.list(kind, other)
    for body in (pod(other), secret(other, "new")):
        assert "403: " in _refusal(the_worker, body)
    for kind, victim in (("Run", name), ("Secret", NAME), ("Pod", "any")):
        with pytest.raises(RefusedError, match="cannot delete resource"):
            hands.delete(kind, other, victim)
    for kind, victim in (("Run", name), ("AwsIntegration", "prod")):
        with pytest.raises(RefusedError, match="cannot patch resource"):
            hands.patch(kind, other, victim, {"status": {}}, subresource="status")


# --- Each verb is needed: a verb of the charts, and by what its use is shown.

SHOWN: dict[tuple[str, str], str] = {
    ("runs", "list"): "at its start",
    ("runs", "watch"): "while it runs",
    ("runs", "get"): "a Run is deleted, and its pod orphaned, while nobody looks",
    ("runs", "delete"): "a Run with a time to live ends",
    ("runs", "patch"): "a Run has ended, which is marked on it",
    ("runs/status", "patch"): "a Run ends",
    ("awsintegrations", "list"): "at its start",
    ("awsintegrations", "watch"): "while it runs",
    ("awsintegrations/status", "patch"): "an integration is verified",
    ("pods", "list"): "at its start",
    ("pods", "watch"): "while it runs",
    ("pods", "create"): "a Run begins",
    ("pods", "get"): "somebody deletes a Run's pod while nobody looks",
    ("pods", "delete"): "a Run is stopped",
    ("secrets", "create"): "a Run begins",
    ("secrets", "delete"): "a Run ends",
    ("events", "create"): "an integration is verified",
    ("events", "patch"): "it is verified again after a restart",
}
OF_WORKERS = {
    ("leases", "get"): "a replica starts",
    ("leases", "create"): "the pool's first replica starts",
    ("leases", "patch"): "it renews",
    ("leases", "list"): "it looks for pools that are heard of no more",
}
OF_THE_CONTROLLER = {
    ("namespaces", "list"): "at its start",
    ("namespaces", "watch"): "while it runs",
    ("namespaces", "get"): "it starts without an installation's name",
}


def test_every_verb_has_its_place_in_the_table() -> None:
    assert granted(WORKERS_HOME, WHERE_RUNS_ARE) == {*SHOWN, *OF_WORKERS}
    assert granted(EVERYWHERE) == {*SHOWN, *OF_THE_CONTROLLER}


LONG = "trap 'exit 1' TERM; while :; do sleep 0.1; done"


def live_through_everything(stage: Stage, program: Program, namespace: str, **spec: Any) -> None:
    """What the table above names of Runs; an integration `prod` is there and can be used. Ends with a restart."""
    objects = stage.objects

    def running(name: str) -> str:
        run = objects.wait("Run", namespace, name, lambda run: (run or {}).get("status", {}).get("phase") == "Running")
        return str(run["status"]["podName"])

    short = stage.run(namespace, ttlSecondsAfterFinished=0, **spec)
    names = [stage.run(namespace, LONG, **spec) for _ in range(3)]
    deleted, robbed, stopped = names
    pods = [running(name) for name in names]
    objects.patch("Run", namespace, stopped, {"spec": {"stop": True}})
    objects.wait("Run", namespace, short, lambda run: run is None, what="is still there")
    objects.wait("Run", namespace, stopped, lambda run: condition(run, "Complete"), what="does not end")
    assert program.process.stop(grace=10) == 0
    objects.delete("Run", namespace, deleted, propagationPolicy="Orphan")
    objects.delete("Pod", namespace, pods[1])
    objects.wait("Run", namespace, deleted, lambda run: run is None, what="is still there")
    objects.wait("Pod", namespace, pods[1], lambda pod: pod is None, what="is still there")
    # The controller's conditions are what tells it that its verdict is no news.
    objects.patch("AwsIntegration", namespace, "prod", {"status": {"conditions": None}}, subresource="status")
    program.start()
    objects.wait("Pod", namespace, pods[0], lambda pod: pod is None, what="is still there")
    objects.wait("Run", namespace, robbed, lambda run: condition(run, "Complete"), what="does not end")
    wait_until(lambda: objects.list("Secret", namespace) == [], timeout=20, what="the Secrets' end")


def assert_all_is_used_and_nothing_refused(stage: Stage, user: str, rights: Verbs, since: int) -> None:
    """By the audit log, in which a watch appears when it has ended."""

    def missing() -> Verbs:
        used = {
            ("/".join(filter(None, (event.resource, event.subresource))), event.verb)
            for event in mine()
            if event.code < 400 or (event.resource in ("runs", "pods") and (event.verb, event.code) == ("get", 404))
        }
        return rights - used

    def mine() -> list[Any]:
        return [event for event in list(stage.cluster.audit_events())[since:] if event.user == user]

    try:
        wait_until(lambda: not missing(), timeout=30, what="the audit log")
    except TimeoutError:
        assert missing() == set()
    assert [(event.verb, event.uri) for event in mine() if event.code in (401, 403)] == []


def test_a_worker_uses_every_verb_it_has_and_is_refused_nothing(stage: Stage, namespace: str, tenants: Tenant) -> None:
    since = len(list(stage.cluster.audit_events()))
    stage.integration(namespace, trusted=False, roleArn=tenants.role_arn, generateCredentialsInWorker=True)
    worker = worker_of(stage, namespace, tenants)
    worker.start()
    live_through_everything(stage, worker, namespace, workerPool="build")
    name = stage.run(namespace, workerPool="build")
    stage.objects.wait("Run", namespace, name, lambda run: condition(run, "Succeeded").get("status") == "True")
    assert worker.process.stop(grace=10) == 0
    user = f"system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}"
    assert_all_is_used_and_nothing_refused(stage, user, granted(WORKERS_HOME, WHERE_RUNS_ARE), since)


def test_the_controller_uses_every_verb_it_has_and_is_refused_nothing(stage: Stage, namespace: str) -> None:
    since = len(list(stage.cluster.audit_events()))
    stage.integration(namespace)
    live_through_everything(stage, stage.controller, namespace)
    name = stage.run(namespace)
    stage.objects.wait("Run", namespace, name, lambda run: condition(run, "Succeeded").get("status") == "True")
    stage.controller.stop()
    with _nameless(stage):
        stage.controller.start()
        assert stage.controller.process.stop(grace=10) == 0
    stage.controller.start()
    assert_all_is_used_and_nothing_refused(stage, CONTROLLER, granted(EVERYWHERE), since)


@contextmanager
def _nameless(stage: Stage) -> Iterator[None]:
    """The controller finds a name for its installation itself."""
    name = stage.controller.environment.pop("SPACELIFT_AWS_INSTALLATION")
    try:
        yield
    finally:
        stage.controller.environment["SPACELIFT_AWS_INSTALLATION"] = name
