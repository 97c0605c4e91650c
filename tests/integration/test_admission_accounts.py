"""What our own accounts cannot do with Secrets, though RBAC lets them create and delete: their token may be stolen."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox import controller
from sandbox.objects import Object, Objects, RefusedError, refusal
from sandbox.process import wait_until
from sandbox.stage import API_VERSION, INSTALLATION, Stage
from sandbox.worker import SERVICE_ACCOUNT, Worker

pytestmark = [pytest.mark.usefixtures("all_policies"), pytest.mark.slow]

OWN = "aws-run-01m85c85x87p992kb9a3mrqfzd"
OTHER = "aws-run-01m85fb1z88scf51hp7d6n0093"
TYPE = "aws.spacelift.io/run-credentials"
WORD = "not-to-be-read"


def secret(namespace: str, name: str, owner: Object | None = None, **more: Any) -> Object:
    """A Secret, by default with the type of run credentials; `owner` is the Run that it is of."""
    metadata = {"namespace": namespace, "name": name, **more.pop("metadata", {})}
    if owner is not None:
        metadata["ownerReferences"] = [reference(owner)]
    return {"apiVersion": "v1", "kind": "Secret", "type": TYPE, "metadata": metadata, "stringData": {"k": WORD}} | more


def reference(owner: Object, **more: Any) -> Object:
    metadata = owner["metadata"]
    who = {"apiVersion": API_VERSION, "kind": "Run", "name": metadata["name"], "uid": metadata["uid"]}
    return {**who, "controller": True, **more}


def pod(namespace: str, name: str = "plain", **spec: Any) -> Object:
    body = {"containers": [{"name": "main", "image": "x", "command": ["true"]}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name}, "spec": body}


@dataclass
class Account:
    """One of our own accounts by its token, a Run in its namespace, and that Run's Secret, which it made."""

    stage: Stage
    namespace: str
    kubeconfig: Any
    user: str
    run: Object

    @property
    def objects(self) -> Objects:
        return Objects(self.kubeconfig)

    def kubectl(self, *words: str, given: str | None = None) -> Any:
        return self.stage.cluster.kubectl(*words, input=given, check=False, kubeconfig=self.kubeconfig)

    def secrets(self) -> dict[str, tuple[str, str]]:
        """All that are there, each with its UID and version."""
        there = [body["metadata"] for body in self.stage.objects.list("Secret", self.namespace)]
        return {metadata["name"]: (metadata["uid"], metadata["resourceVersion"]) for metadata in there}


@pytest.fixture(params=["controller", "worker"])
def account(request: pytest.FixtureRequest, stage: Stage, namespace: str) -> Account:
    home, name = controller.NAMESPACE, controller.SERVICE_ACCOUNT
    if request.param == "worker":
        home, name = namespace, SERVICE_ACCOUNT
        Worker(stage.cluster, {"SPACELIFT_AWS_INSTALLATION": INSTALLATION}, namespace).install()
    run = stage.objects.get("Run", namespace, stage.run(namespace, integration="missing")) or {}
    user = f"system:serviceaccount:{home}:{name}"
    account = Account(stage, namespace, stage.cluster.kubeconfig_for(home, name), user, run)
    wait_until(lambda: refusal(account.objects, secret(namespace, OWN, run)) == "", timeout=30, what="its rights")
    stage.objects.create(secret(namespace, "theirs", type="Opaque"))
    stage.objects.create(secret(namespace, "token", type="example.org/token"))
    return account


def test_an_executor_makes_and_deletes_run_credentials(account: Account) -> None:
    body = account.objects.create(secret(account.namespace, OTHER, account.run))
    account.objects.delete("Secret", account.namespace, OTHER, propagationPolicy="Background")
    account.objects.delete("Secret", account.namespace, OWN)
    assert not {OWN, OTHER} & set(account.secrets())
    assert body["type"] == TYPE


DELETIONS = {
    "a dry run": "?dryRun=All",
    "a dry run in the background": "?dryRun=All&propagationPolicy=Background",
    "a dry run that orphans": "?dryRun=All&propagationPolicy=Orphan",
    "in the foreground": "?propagationPolicy=Foreground",
    "that orphans": "?propagationPolicy=Orphan",
    "that orphans, as of old": "?orphanDependents=true",
    "that does not, as of old": "?orphanDependents=false",
}


@pytest.mark.parametrize("how", DELETIONS)
def test_no_deletion_answers_a_secret(account: Account, how: str) -> None:
    before = account.secrets()
    for name in (OWN, "theirs"):
        done = account.kubectl(
            "delete", "--raw", f"/api/v1/namespaces/{account.namespace}/secrets/{name}{DELETIONS[how]}"
        )
        assert "denied request" in done.stderr, (name, done.stderr)
        assert (done.stdout, WORD in done.stderr) == ("", False)
        options: Object = dict(pair.split("=") for pair in DELETIONS[how][1:].split("&"))
        options |= {"dryRun": ["All"]} if "dryRun" in options else {}
        options |= {"orphanDependents": options["orphanDependents"] == "true"} if "orphanDependents" in options else {}
        with pytest.raises(RefusedError, match="denied request"):
            account.objects.delete("Secret", account.namespace, name, **options)
    assert account.secrets() == before


def test_no_other_secret_is_deleted(account: Account) -> None:
    before = account.secrets()
    for name in ("theirs", "token"):
        with pytest.raises(RefusedError, match="does not have a name of run credentials"):
            account.objects.delete("Secret", account.namespace, name)
    assert account.secrets() == before


def test_nor_one_that_has_the_name_but_not_the_type_or_a_finalizer(account: Account) -> None:
    stage, where = account.stage, account.namespace
    stage.cluster.kubectl("delete", "validatingadmissionpolicybinding", "spacelift-aws-run-secrets")
    try:
        wait_until(
            lambda: refusal(stage.objects, secret(where, OTHER, type="Opaque")) == "",
            timeout=20,
            what="the policy's end",
        )
        stage.objects.patch("Secret", where, OWN, {"metadata": {"finalizers": ["example.org/held"]}})
    finally:
        stage.controller.install()
    with pytest.raises(RefusedError, match=r"is of type Opaque, not aws.spacelift.io/run-credentials"):
        account.objects.delete("Secret", where, OTHER)
    with pytest.raises(RefusedError, match=r"held by a finalizer \(example.org/held\)"):
        account.objects.delete("Secret", where, OWN)
    assert {OWN, OTHER} <= set(account.secrets())
    again = secret(where, OTHER.replace("01m", "02m"))
    wait_until(lambda: "denied request" in refusal(stage.objects, again), timeout=20, what="the policy's return")
    # What was there before is freed by anybody who may.
    stage.objects.patch("Secret", where, OWN, {"metadata": {"finalizers": None}})
    account.objects.delete("Secret", where, OWN)


def forgeries(account: Account) -> dict[str, Object]:
    """Secrets that an executor has no business with."""
    where, run = account.namespace, account.run
    token = {"metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}}}
    return {
        "another name": secret(where, "mine", run),
        "nearly the name": secret(where, "aws-run-01m85fb1z88scf51hp7d6n009u", run),
        "a longer name": secret(where, f"{OTHER}0", run),
        "another type": secret(where, OTHER, run, type="Opaque"),
        "an account's token": secret(where, OTHER, run, type="kubernetes.io/service-account-token", **token),
        "an account's token of any name": secret(where, "t", type="kubernetes.io/service-account-token", **token),
        "no owner": secret(where, OTHER),
        "an owner that does not control": secret(
            where, OTHER, metadata={"ownerReferences": [reference(run, controller=False)]}
        ),
        "an owner that is no Run": secret(
            where, OTHER, metadata={"ownerReferences": [reference(run, apiVersion="v1", kind="ConfigMap")]}
        ),
        "a finalizer": secret(where, OTHER, run, metadata={"finalizers": ["example.org/held"]}),
        "immutable": secret(where, OTHER, run, immutable=True),
    }


def test_no_other_secret_is_made(account: Account) -> None:
    before = account.secrets()
    for what, body in forgeries(account).items():
        said = refusal(account.objects, body)
        assert said.startswith("403: "), (what, said)
        assert "denied request" in said, (what, said)
    by_the_server = secret(account.namespace, "x", account.run)
    by_the_server["metadata"].update(name=None, generateName="aws-run-")
    assert "does not have a name of run credentials" in refusal(account.objects, by_the_server)
    assert account.secrets() == before


def test_kube_system_is_no_exception(account: Account) -> None:
    name = account.stage.fresh("theirs")
    account.stage.objects.create(secret("kube-system", name, type="Opaque"))
    for query in ("", "?dryRun=All", "?propagationPolicy=Orphan"):
        done = account.kubectl("delete", "--raw", f"/api/v1/namespaces/kube-system/secrets/{name}{query}")
        assert "forbidden" in done.stderr
        assert WORD not in done.stdout + done.stderr
    assert "403" in refusal(account.objects, secret("kube-system", "mine", type="Opaque"))
    account.stage.objects.delete("Secret", "kube-system", name)


def test_nothing_else_reads(account: Account) -> None:
    where = f"/api/v1/namespaces/{account.namespace}"
    body = json.dumps(secret(account.namespace, OWN))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "x"},
        "target": {"kind": "Node", "name": "n"},
    }
    attempts: dict[str, tuple[tuple[str, ...], str | None]] = {
        "get": (("get", "--raw", f"{where}/secrets/{OWN}"), None),
        "list": (("get", "--raw", f"{where}/secrets"), None),
        "list all": (("get", "--raw", "/api/v1/secrets"), None),
        "watch": (("get", "--raw", f"{where}/secrets?watch=true&timeoutSeconds=1"), None),
        "watch, as of old": (("get", "--raw", f"/api/v1/watch/namespaces/{account.namespace}/secrets"), None),
        "update": (("replace", "--raw", f"{where}/secrets/{OWN}", "-f", "-"), body),
        "patch": (("patch", "secret", OWN, "-n", account.namespace, "-p", '{"metadata":{"labels":{"a":"b"}}}'), None),
        "apply": (("apply", "--server-side", "--force-conflicts", "-f", "-"), body),
        "delete all": (("delete", "--raw", f"{where}/secrets"), None),
        "exec": (("create", "--raw", f"{where}/pods/plain/exec?command=env", "-f", "-"), body),
        "bind": (("create", "--raw", f"{where}/pods/plain/binding", "-f", "-"), json.dumps(binding)),
        "debug": (
            ("patch", "pod", "plain", "-n", account.namespace, "--subresource=ephemeralcontainers", "-p", "{}"),
            None,
        ),
        "a token": (("create", "token", "default", "-n", account.namespace), None),
        "impersonate": (("get", "--raw", f"{where}/secrets", "--as=sandbox-admin", "--as-group=system:masters"), None),
    }
    before = account.secrets()
    account.stage.objects.create(pod(account.namespace))
    for what, (words, given) in attempts.items():
        done = account.kubectl(*words, given=given)
        assert done.returncode != 0, what
        assert "forbidden" in done.stderr.lower(), (what, done.stderr)
        assert WORD not in done.stdout + done.stderr
    assert account.secrets() == before


def test_not_even_with_more_rights_does_it_change_or_sweep_away(account: Account) -> None:
    """RBAC gives it neither `update` nor `deletecollection`; whoever gave it these gave no Secret away."""
    stage, name = account.stage, account.stage.fresh("more")
    kubectl, where = stage.cluster.kubectl, f"--namespace={account.namespace}"
    kubectl("create", "role", name, where, "--verb=update,patch,deletecollection", "--resource=secrets")
    kubectl("create", "rolebinding", name, where, f"--role={name}", f"--user={account.user}")
    before = account.secrets()

    def said() -> str:
        return str(account.kubectl("delete", "--raw", f"/api/v1/namespaces/{account.namespace}/secrets").stderr)

    wait_until(lambda: "may only create and delete single Secrets" in said(), timeout=10, what="its rights")
    for victim in (OWN, "theirs"):
        with pytest.raises(RefusedError, match="may only create and delete single Secrets"):
            account.objects.patch("Secret", account.namespace, victim, {"metadata": {"labels": {"a": "b"}}})
    assert account.secrets() == before
