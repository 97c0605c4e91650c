"""Who asked: whatever a Run's author writes, the API server says who created it and who stopped it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.objects import Object, Objects, RefusedError
from sandbox.process import wait_until
from sandbox.stage import API_VERSION, Stage

pytestmark = [pytest.mark.usefixtures("all_policies"), pytest.mark.slow]

REQUESTED, STOPPED = "aws.spacelift.io/requested-by", "aws.spacelift.io/stopped-by"


def body(namespace: str, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Run",
        "metadata": {"namespace": namespace, "name": name, **({"annotations": annotations} if annotations else {})},
        "spec": {
            "integrationRef": {"name": "prod"},
            "template": {"spec": {"containers": [{"name": "main", "image": "x", "command": ["true"]}]}},
            **spec,
        },
    }


Hands = Callable[[str], Objects]


@pytest.fixture
def hands(stage: Stage, namespace: str) -> Hands:
    """A user with all rights in the namespace."""

    def of(user: str) -> Objects:
        kubectl = stage.cluster.kubectl
        where = f"--namespace={namespace}"
        kubectl("create", "rolebinding", stage.fresh("user"), where, "--clusterrole=admin", f"--user={user}")
        use = {"apiGroups": ["aws.spacelift.io"], "resources": ["awsintegrations"], "verbs": ["use"]}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [use]}
        name = stage.fresh("use")
        kubectl(
            "create", "--filename=-", input=json.dumps({**role, "metadata": {"namespace": namespace, "name": name}})
        )
        kubectl("create", "rolebinding", name, where, f"--role={name}", f"--user={user}")

        def may() -> bool:
            rights = (("use", "awsintegrations.aws.spacelift.io"), ("patch", "runs.aws.spacelift.io"))
            asked = ("auth", "can-i", where, f"--as={user}")
            return all(kubectl(*asked, *right, check=False).returncode == 0 for right in rights)

        wait_until(may, timeout=20, what=f"what {user} may")
        return Objects(stage.cluster.kubeconfig, user)

    return of


def annotations(stage: Stage, namespace: str, name: str) -> dict[str, str]:
    run = stage.objects.get("Run", namespace, name)
    assert run is not None
    return run["metadata"].get("annotations") or {}


@pytest.fixture(autouse=True)
def stamped(stage: Stage) -> None:
    """A policy takes a moment to act."""

    def acts() -> bool:
        namespace = stage.namespaces[-1]
        name = stage.fresh("stamped")
        stage.objects.create(body(namespace, name))
        return REQUESTED in annotations(stage, namespace, name)

    wait_until(acts, timeout=20, what="the policy that stamps Runs", interval=0.5)


@pytest.mark.parametrize("forged", [None, {"a": "b"}, {REQUESTED: "somebody-else"}], ids=str)
def test_a_run_bears_its_creators_name_whatever_stands_there(
    stage: Stage, namespace: str, hands: Hands, forged: dict[str, str] | None
) -> None:
    hands("jane@example.com").create(body(namespace, "plan", forged))
    # Who brings a name along was created before: a copy, or out of a backup.
    before = {"aws.spacelift.io/ended": "before"} if forged is not None and REQUESTED in forged else {}
    assert annotations(stage, namespace, "plan") == {**(forged or {}), REQUESTED: "jane@example.com", **before}


def test_a_service_account_is_named_in_full(stage: Stage, namespace: str, hands: Hands) -> None:
    user = f"system:serviceaccount:{namespace}:pipeline"
    hands(user).create(body(namespace, "plan"))
    assert annotations(stage, namespace, "plan")[REQUESTED] == user


def test_nobody_changes_the_name_or_takes_it_away(stage: Stage, namespace: str, hands: Hands) -> None:
    jane = hands("jane@example.com")
    jane.create(body(namespace, "plan"))
    for value in ("somebody-else", None):
        for who in (jane, stage.objects):
            with pytest.raises(RefusedError, match="says who created it, and only the API server writes it"):
                who.patch("Run", namespace, "plan", {"metadata": {"annotations": {REQUESTED: value}}})
    jane.patch("Run", namespace, "plan", {"metadata": {"annotations": {"a": "b"}}, "spec": {"stop": True}})
    assert annotations(stage, namespace, "plan")[REQUESTED] == "jane@example.com"


def test_who_stops_a_run_is_named_too(stage: Stage, namespace: str, hands: Hands) -> None:
    jane, joe = hands("jane@example.com"), hands("joe@example.com")
    jane.create(body(namespace, "plan"))
    with pytest.raises(RefusedError, match="says who stopped it"):
        joe.patch("Run", namespace, "plan", {"metadata": {"annotations": {STOPPED: "jane@example.com"}}})
    joe.patch(
        "Run", namespace, "plan", {"metadata": {"annotations": {STOPPED: "jane@example.com"}}, "spec": {"stop": True}}
    )
    assert annotations(stage, namespace, "plan")[STOPPED] == "joe@example.com"
    with pytest.raises(RefusedError, match="says who stopped it"):
        jane.patch("Run", namespace, "plan", {"metadata": {"annotations": {STOPPED: "jane@example.com"}}})


@pytest.fixture
def without_stamp(stage: Stage) -> Iterator[None]:
    """As on a cluster before Kubernetes 1.36."""
    stage.cluster.kubectl("delete", "mutatingadmissionpolicybinding", "spacelift-aws-requester")

    def is_bare() -> bool:
        namespace, name = stage.namespaces[-1], stage.fresh("bare")
        stage.objects.create(body(namespace, name))
        return REQUESTED not in annotations(stage, namespace, name)

    wait_until(is_bare, timeout=20, what="the policy's end", interval=0.5)
    yield
    stage.controller.install()
    wait_until(lambda: not is_bare(), timeout=20, what="the policy that stamps Runs", interval=0.5)


def test_without_the_stamp_nobody_writes_anothers_name_either(
    stage: Stage, namespace: str, hands: Hands, without_stamp: None
) -> None:
    jane = hands("jane@example.com")
    jane.create(body(namespace, "bare"))
    assert annotations(stage, namespace, "bare") == {}
    for key in (REQUESTED, STOPPED):
        with pytest.raises(RefusedError, match="who created and who stopped it; leave them out"):
            jane.create(body(namespace, "forged", {key: "somebody-else"}))
    jane.create(body(namespace, "own", {REQUESTED: "jane@example.com"}))
    with pytest.raises(RefusedError, match="says who stopped it"):
        jane.patch("Run", namespace, "bare", {"metadata": {"annotations": {STOPPED: "joe"}}, "spec": {"stop": True}})
    jane.patch("Run", namespace, "bare", {"spec": {"stop": True}})
    assert STOPPED not in annotations(stage, namespace, "bare")
