"""Who may hand out credentials: the verbs `use` and `propose`; and Runs under all admission policies at once."""

import json
import re
from collections.abc import Iterator

import pytest

from sandbox.objects import Object, Objects, RefusedError, complete
from sandbox.process import wait_until
from sandbox.program import ROOT
from sandbox.stage import API_VERSION, Stage
from sandbox.worker import Worker, tenant
from spacelift_aws.names import child_name

from .conftest import hands

pytestmark = pytest.mark.usefixtures("all_policies")

VERIFY = "aws.spacelift.io/verify"


def run_of(namespace: str, name: str, integration: Object | None = None, **spec: object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Run",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "integrationRef": integration or {"name": "prod"},
            "template": {"spec": {"containers": [{"name": "main", "image": "x"}]}},
            **spec,
        },
    }


# --- The verbs.


@pytest.mark.parametrize(
    ("verbs", "type_", "missing"),
    [
        ("", "Tracked", "the verb `use` on it is missing"),
        ("", "Proposed", "the verb `propose` (or `use`) on it is missing"),
        ("propose", "Tracked", "the verb `use` on it is missing"),
        ("propose", "Destroy", "Runs of type Proposed need only `propose`"),
        ("propose", "Proposed", None),
        ("use", "Proposed", None),
        ("use", "Tracked", None),
    ],
)
def test_a_run_needs_a_verb_on_its_integration(
    stage: Stage, namespace: str, verbs: str, type_: str, missing: str | None
) -> None:
    user = hands(stage, namespace, verbs=verbs)
    if missing is None:
        user.create(run_of(namespace, "it", type=type_))
        return
    with pytest.raises(RefusedError) as refused:
        user.create(run_of(namespace, "it", type=type_))
    assert refused.value.status == 403
    assert f"AwsIntegration {namespace}/prod: {missing}" in refused.value.message or missing in refused.value.message
    assert stage.objects.list("Run", namespace) == []


def test_a_verb_on_another_integration_or_in_another_namespace_is_none(stage: Stage, namespace: str) -> None:
    other = stage.namespace()
    user = hands(stage, namespace, verbs="use")
    for reference in ({"name": "other"}, {"name": "prod", "namespace": other}):
        with pytest.raises(RefusedError, match=f"AwsIntegration {reference.get('namespace', namespace)}/"):
            user.create(run_of(namespace, "it", reference))
    user.create(run_of(namespace, "it", {"name": "prod", "namespace": namespace}))


def test_where_the_integration_is_elsewhere_the_verb_is_needed_there(stage: Stage, namespace: str) -> None:
    home = stage.namespace()
    user = hands(stage, home, role="view", verbs="use")
    # The same user may create Runs here, without any verb on an integration here.
    stage.cluster.kubectl(
        "create", "rolebinding", "runs", f"--namespace={namespace}", "--clusterrole=edit", f"--user={user.user}"
    )
    user.create(run_of(namespace, "it", {"name": "prod", "namespace": home}))
    with pytest.raises(RefusedError, match="`use` on it is missing"):
        user.create(run_of(namespace, "own"))


def test_a_service_account_is_asked_like_a_person(stage: Stage, namespace: str) -> None:
    kubectl = stage.cluster.kubectl
    kubectl("create", "serviceaccount", "ci", f"--namespace={namespace}")
    kubectl(
        "create",
        "rolebinding",
        "ci",
        f"--namespace={namespace}",
        "--clusterrole=edit",
        f"--serviceaccount={namespace}:ci",
    )
    account = Objects(stage.cluster.kubeconfig_for(namespace, "ci"))
    with pytest.raises(RefusedError, match=f"system:serviceaccount:{namespace}:ci may not create Runs"):
        account.create(run_of(namespace, "it"))
    kubectl(
        "create",
        "rolebinding",
        "more",
        f"--namespace={namespace}",
        "--clusterrole=admin",
        f"--serviceaccount={namespace}:ci",
    )
    wait_until(lambda: _creates(account, run_of(namespace, "it")), timeout=30, what="the new binding")


def _creates(account: Objects, body: Object) -> bool:
    try:
        account.create(body)
    except RefusedError:
        return False
    return True


def test_who_only_proposes_cannot_change_what_that_gives(stage: Stage, namespace: str) -> None:
    stage.integration(
        namespace, trusted=False, proposed={"sessionPolicyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]}
    )
    user = hands(stage, namespace, verbs="propose")
    wider: list[Object] = [{"proposed": {"sessionPolicyArns": None}}, {"proposed": None}, {"sessionPolicyArns": []}]
    for spec in (*wider, {"allowedNamespaces": {"from": "All"}}):
        with pytest.raises(RefusedError, match=r"may not decide what AwsIntegration .* gives: the verb `use`"):
            user.patch("AwsIntegration", namespace, "prod", {"spec": spec})
    user.patch("AwsIntegration", namespace, "prod", {"metadata": {"annotations": {VERIFY: "now"}}})
    user.delete("AwsIntegration", namespace, "prod")
    anew = {"apiVersion": API_VERSION, "kind": "AwsIntegration", "metadata": {"namespace": namespace, "name": "prod"}}
    with pytest.raises(RefusedError, match="the verb `use` on it is missing"):
        user.create({**anew, "spec": {"proposed": {}}})
    hands(stage, namespace, verbs="use").create({**anew, "spec": {"proposed": {}}})


def test_plans_by_everyone_and_applies_by_few_as_the_docs_say(stage: Stage, namespace: str) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/permissions.md").read_text(), re.DOTALL)
    stage.cluster.kubectl("apply", "--filename=-", input=example.replace("payments", namespace))

    def tries(type_: str, *groups: str) -> str:
        body = run_of(namespace, stage.fresh("run"), type=type_)
        who = ["--as=bob", *(f"--as-group={group}" for group in groups)]
        return stage.cluster.kubectl("create", "--filename=-", *who, input=json.dumps(body), check=False).stderr

    wait_until(lambda: tries("Tracked", "developers", "releasers") == "", timeout=30, what="the bindings")
    assert tries("Proposed", "developers") == ""
    assert f"bob may not create Runs with AwsIntegration {namespace}/prod" in tries("Tracked", "developers")
    assert "cannot create resource" in tries("Tracked", "releasers")


# --- Kubernetes' own roles.

READ = {"get", "list", "watch"}
WRITE = {"create", "update", "patch", "delete"}
OURS = {
    "view": {"runs": READ, "awsintegrations": READ},
    "edit": {"runs": READ | WRITE, "awsintegrations": READ | WRITE},
    "admin": {"runs": READ | WRITE, "awsintegrations": READ | WRITE | {"use", "propose"}},
}


@pytest.mark.parametrize("role", OURS)
def test_what_view_edit_and_admin_may_do(stage: Stage, namespace: str, role: str) -> None:
    user = hands(stage, namespace, role=role).user

    def may() -> dict[str, set[str]]:
        listed = stage.cluster.kubectl("auth", "can-i", "--list", f"--namespace={namespace}", f"--as={user}").stdout
        rows = [line for line in listed.splitlines() if ".aws.spacelift.io" in line]
        return {row.split(".")[0]: set(row.split("[")[-1].rstrip("] ").split()) for row in rows}

    # The controller manager adds our roles to these; a subresource would have a row of its own.
    wait_until(lambda: may() == OURS[role], timeout=30, what=f"{role}: {may()}")


@pytest.mark.parametrize("role", OURS)
def test_nobody_of_them_writes_a_status(stage: Stage, namespace: str, role: str) -> None:
    user = hands(stage, namespace, role=role)
    stage.objects.create(run_of(namespace, "it"))
    with pytest.raises(RefusedError, match="cannot patch resource"):
        user.patch("Run", namespace, "it", {"status": {"phase": "Finished"}}, subresource="status")


# --- Runs under all policies.


def test_no_policy_has_a_fault_that_the_api_server_can_find(stage: Stage) -> None:
    def checked() -> list[Object]:
        listed = stage.cluster.kubectl("get", "validatingadmissionpolicies", "--output=json").stdout
        return [
            policy for policy in json.loads(listed)["items"] if policy["metadata"]["name"].startswith("spacelift-aws-")
        ]

    wait_until(lambda: all("typeChecking" in body.get("status", {}) for body in checked()), timeout=20, what="a check")
    assert {body["metadata"]["name"]: body["status"]["typeChecking"] for body in checked()} == {
        f"spacelift-aws-{name}": {}
        for name in (
            *("use", "integrations", "executor-secrets", "run-secrets", "run-pods", "run-deletion", "worker-only"),
            *("requester", "executor-runs"),
        )
    }


@pytest.fixture
def worker(stage: Stage, namespace: str) -> Iterator[Worker]:
    """A pool, and an integration `prod` for it."""
    who = tenant(stage.aws, stage.fresh("tenant"))
    stage.integration(namespace, trusted=False, roleArn=who.role_arn, generateCredentialsInWorker=True)
    settings = {name: value for name, value in stage.controller.environment.items() if name.startswith("SPACELIFT_")}
    environment = {**stage.aws.environment(who.identity, endpoint=stage.proxy.endpoint), **settings}
    worker = Worker(stage.cluster, environment, namespace)
    worker.install()
    worker.start()
    yield worker
    worker.stop()


def test_the_controllers_runs_go_their_way(stage: Stage, namespace: str) -> None:
    stage.integration(namespace)
    assert_runs_go_their_way(stage, namespace)


def test_a_workers_runs_go_their_way(stage: Stage, namespace: str, worker: Worker) -> None:
    assert_runs_go_their_way(stage, namespace)


def assert_runs_go_their_way(stage: Stage, namespace: str) -> None:
    """To their end, stopped, and deleted in every way that is left."""
    objects = stage.objects
    short = stage.run(namespace, "aws sts get-caller-identity", ttlSecondsAfterFinished=600)
    file = stage.run(namespace, "aws sts get-caller-identity && cat $AWS_CONFIG_FILE", delivery="File")
    names = [stage.run(namespace, "sleep 600") for _ in range(3)]
    for name in names:
        objects.wait("Run", namespace, name, lambda run: (run or {})["status"]["phase"] == "Running")
    objects.patch("Run", namespace, names[0], {"spec": {"stop": True}})
    assert objects.wait("Run", namespace, names[0], complete)["status"]["phase"] == "Stopped"
    for name in (short, file):
        assert objects.wait("Run", namespace, name, complete)["status"]["phase"] == "Finished"
    for name, how in zip(names[1:], ("Background", "Foreground"), strict=True):
        child = (objects.get("Run", namespace, name) or {})["status"]["secretName"]
        objects.delete("Run", namespace, name, propagationPolicy=how)
        objects.wait("Run", namespace, name, lambda run: run is None, what="is still there")
        objects.wait("Pod", namespace, child, lambda pod: pod is None, what="is still there")
    wait_until(lambda: objects.list("Secret", namespace) == [], timeout=20, what="the Secrets' end")


@pytest.mark.parametrize(
    "options",
    [{"propagationPolicy": "Orphan"}, {"orphanDependents": True}, {"propagationPolicy": "Orphan", "dryRun": ["All"]}],
)
def test_a_run_is_not_deleted_from_under_its_pod(stage: Stage, namespace: str, options: Object) -> None:
    stage.objects.create(run_of(namespace, "it"))
    with pytest.raises(RefusedError, match="cannot be deleted with --cascade=orphan") as refused:
        stage.objects.delete("Run", namespace, "it", **options)
    assert refused.value.status == 403
    said = stage.cluster.kubectl("delete", "run", "--all", "--cascade=orphan", f"--namespace={namespace}", check=False)
    assert "set `stop: true`" in said.stderr
    assert stage.objects.get("Run", namespace, "it") is not None
    stage.objects.delete("Run", namespace, "it")
    stage.objects.wait("Run", namespace, "it", lambda run: run is None)


def test_nor_by_a_finalizer_that_means_the_same(stage: Stage, namespace: str) -> None:
    stage.objects.create(run_of(namespace, "it"))
    stage.objects.patch("Run", namespace, "it", {"metadata": {"finalizers": ["orphan"]}})
    with pytest.raises(RefusedError, match="cannot be deleted with --cascade=orphan"):
        stage.objects.delete("Run", namespace, "it")
    stage.objects.delete("Run", namespace, "it", propagationPolicy="Background")
    stage.objects.wait("Run", namespace, "it", lambda run: run is None)


def test_a_namespace_with_runs_can_be_deleted_and_who_makes_it_anew_has_its_external_ids(stage: Stage) -> None:
    namespace = stage.namespace()
    role = stage.integration(namespace)["spec"]["roleArn"]
    stage.run(namespace, integration="missing")
    name = stage.run(namespace, "sleep 600")
    run = stage.objects.wait("Run", namespace, name, lambda run: (run or {})["status"]["phase"] == "Running")
    assert run["status"]["secretName"] == child_name(run["status"]["runId"])
    stage.objects.delete("Namespace", None, namespace)
    stage.objects.wait("Namespace", None, namespace, lambda body: body is None, timeout=60)
    assert stage.namespace(name=namespace) == namespace
    stage.integration(namespace, roleArn=role)
    stage.run(namespace, name=name)
    stage.objects.wait("Run", namespace, name, lambda run: (run or {}).get("status", {}).get("phase") == "Finished")
