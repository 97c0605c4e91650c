"""A controller of given namespaces: Roles there and a Lease where it lives are all that it needs."""

import http
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sandbox.apiproxy import ApiProxy
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, Controller
from sandbox.objects import complete, condition
from sandbox.process import wait_until
from sandbox.stage import Stage

from .policies import PoliciesOnOthers

pytestmark = pytest.mark.slow

NAME = "spacelift-aws-controller"
"""Of its ClusterRole and the binding."""


@dataclass(frozen=True)
class Few:
    """Two namespaces that are watched and one that is not; `proxy` stands between controller and API server."""

    stage: Stage
    controller: Controller
    proxy: ApiProxy
    one: str
    other: str
    unwatched: str
    since: int
    """Entries of the audit log from before."""


def role_in(stage: Stage, namespace: str) -> None:
    """What the ClusterRole allows, but for namespaces, as a Role."""
    rules = json.loads(stage.cluster.kubectl("get", "clusterrole", NAME, "--output=json").stdout)["rules"]
    api = "rbac.authorization.k8s.io"
    metadata = {"name": NAME, "namespace": namespace}
    here = {
        "apiVersion": f"{api}/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": [rule for rule in rules if rule["resources"] != ["namespaces"]],
    }
    bound = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": api, "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE}],
    }
    both = json.dumps({"apiVersion": "v1", "kind": "List", "items": [here, bound]})
    stage.cluster.kubectl("create", "--filename=-", input=both)


@pytest.fixture(scope="module")
def few(_stage: Stage, on_others: PoliciesOnOthers) -> Iterator[Few]:
    """The only controller there is, without any cluster-scoped permission."""
    stage = _stage
    stage.controller.stop()
    one, other, unwatched = stage.namespace(), stage.namespace(), stage.namespace()
    for namespace in (one, other):
        role_in(stage, namespace)
    stage.cluster.kubectl("delete", "clusterrolebinding", NAME)
    settings = {
        "SPACELIFT_AWS_NAMESPACE": NAMESPACE,
        "SPACELIFT_AWS_NAMESPACES": json.dumps([one, other]),
    }
    controller = Controller(stage.cluster, {**stage.controller.environment, **settings}, "few")
    with ApiProxy(stage.cluster) as proxy:
        direct = stage.cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT)
        controller.environment["KUBECONFIG"] = str(proxy.kubeconfig(direct))
        since = len(list(stage.cluster.audit_events()))
        controller.start()
        yield Few(stage, controller, proxy, one, other, unwatched, since)
        controller.stop()
    on_others.install_without()


def waits(few: Few, namespace: str, name: str, reason: str) -> str:
    """What a Run that waits for this reason says."""
    run = few.stage.objects.wait(
        "Run", namespace, name, lambda run: condition(run, "CredentialsIssued").get("reason") == reason
    )
    return str(condition(run, "CredentialsIssued")["message"])


def elsewhere(few: Few, owner: str, integration: str) -> str:
    """A Run in `one` of an integration in another namespace; its name."""
    return few.stage.run(few.one, "true", integrationRef={"name": integration, "namespace": owner})


def test_runs_are_executed_where_it_watches_and_nowhere_else(few: Few) -> None:
    stage = few.stage
    stage.integration(few.one)
    stage.integration(few.unwatched)
    unseen = stage.run(few.unwatched)
    seen = stage.run(few.one, "aws sts get-caller-identity")
    assert stage.objects.wait("Run", few.one, seen, complete)["status"]["phase"] == "Finished"
    assert few.controller.leads
    run = stage.objects.get("Run", few.unwatched, unseen)
    assert run is not None
    assert run["status"] == {"phase": "Queued", "observedGeneration": -1}, "nothing but the schema's default"


def test_integrations_for_all_serve_the_watched_and_selectors_none_but_their_own(few: Few) -> None:
    stage = few.stage
    selector = {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": few.one}}}
    stage.integration(few.other, "for-all", allowedNamespaces={"from": "All"})
    stage.integration(few.other, "selecting", allowedNamespaces=selector)
    allowed, refused = elsewhere(few, few.other, "for-all"), elsewhere(few, few.other, "selecting")
    own = stage.run(few.other, integration="selecting")
    assert stage.objects.wait("Run", few.one, allowed, complete)["status"]["phase"] == "Finished"
    assert stage.objects.wait("Run", few.other, own, complete)["status"]["phase"] == "Finished"
    assert "selects namespaces by their labels, which this operator cannot read" in waits(
        few, few.one, refused, "NotAllowed"
    )


def test_an_integration_where_nobody_looks_is_said_to_be_there(few: Few) -> None:
    run = elsewhere(few, few.unwatched, "prod")
    assert f"{few.unwatched}/prod is in a namespace that is not watched" in waits(
        few, few.one, run, "IntegrationNotFound"
    )


def test_what_a_watch_missed_is_listed_there_too(few: Few) -> None:
    stage, pods = few.stage, f"/api/v1/namespaces/{few.other}/pods"
    stage.integration(few.other, "gap")
    name = stage.run(few.other, "sleep 600", integration="gap")
    run = stage.objects.wait("Run", few.other, name, lambda run: (run or {})["status"]["phase"] == "Running")
    wait_until(lambda: few.proxy.watches(pods) == 1, timeout=30, what="the watch")
    with few.proxy.gap(pods):
        wait_until(lambda: few.proxy.watches(pods) == 1, timeout=30, what="the watch's return")
        stage.objects.delete("Pod", few.other, run["status"]["podName"], gracePeriodSeconds=0)
    run = stage.objects.wait("Run", few.other, name, complete, timeout=15, what="the gap was not looked into")
    assert condition(run, "Succeeded")["reason"] == "PodDeleted"


def test_it_asks_for_nothing_beyond_its_namespaces(few: Few) -> None:
    mine = [
        event
        for event in list(few.stage.cluster.audit_events())[few.since :]
        if event.user == f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}" and event.resource
    ]
    forbidden = [f"{event.verb} {event.uri}" for event in mine if event.code == http.HTTPStatus.FORBIDDEN]
    assert forbidden == []
    # Who one is and what one may do can be asked by everybody, and has no namespace.
    basic = ("selfsubjectreviews", "selfsubjectaccessreviews")
    asked = {(event.namespace, event.resource) for event in mine if event.resource not in basic}
    assert {namespace for namespace, _ in asked} == {few.one, few.other, NAMESPACE}
    assert {resource for namespace, resource in asked if namespace == NAMESPACE} == {"leases"}
    assert {"runs", "awsintegrations", "pods", "secrets", "events"} <= {resource for _, resource in asked}


def refusals(few: Few, namespace: str) -> int:
    """How often the controller was refused something there."""
    events = list(few.stage.cluster.audit_events())[few.since :]
    return sum(event.namespace == namespace and event.code == http.HTTPStatus.FORBIDDEN for event in events)


@pytest.fixture
def late(few: Few) -> Iterator[Controller]:
    """A controller that is to watch `one` and a namespace that has no Role, instead of the other controller."""
    few.controller.stop()
    wanted = json.dumps([few.one, few.stage.namespace()])
    controller = Controller(
        few.stage.cluster, {**few.controller.environment, "SPACELIFT_AWS_NAMESPACES": wanted}, few.stage.fresh("late")
    )
    controller.start()
    yield controller
    if controller.process.exit_code() is None:
        controller.stop()


def finishes(few: Few, namespace: str) -> None:
    name = few.stage.fresh("prod")
    few.stage.integration(namespace, name)
    run = few.stage.run(namespace, integration=name)
    assert few.stage.objects.wait("Run", namespace, run, complete)["status"]["phase"] == "Finished"


def ended(controller: Controller, within: float) -> int | None:
    wait_until(lambda: controller.process.exit_code() is not None, timeout=within, what="the end")
    return controller.process.exit_code()


def test_a_namespace_without_a_role_is_left_alone_until_it_has_one(few: Few, late: Controller) -> None:
    added = few.stage.namespaces[-1]
    assert f"namespace {added} is left alone" in late.logs
    finishes(few, few.one)
    role_in(few.stage, added)
    assert ended(late, within=30) == 0
    late.start()
    finishes(few, added)


def test_a_namespace_that_loses_its_role_costs_the_others_nothing(
    few: Few, late: Controller, meant_refusals: set[str]
) -> None:
    added = few.stage.namespaces[-1]
    meant_refusals.add(added)
    role_in(few.stage, added)
    assert ended(late, within=30) == 0
    late.start()
    kubectl = few.stage.cluster.kubectl
    kubectl("delete", "rolebinding", NAME, "--namespace", added)
    with few.proxy.gap(f"/api/v1/namespaces/{added}/pods"):
        pass
    wait_until(lambda: refusals(few, added) >= 5, timeout=60, what="refused watches and lists", interval=1)
    finishes(few, few.one)
    assert late.process.exit_code() is None
    kubectl("delete", "role", NAME, "--namespace", added)
    role_in(few.stage, added)
    finishes(few, added)
    assert late.process.exit_code() is None


def test_who_waits_for_a_permission_ends_when_told_to(few: Few) -> None:
    nowhere = json.dumps([few.stage.namespace()])
    waiting = Controller(
        few.stage.cluster,
        {**few.controller.environment, "SPACELIFT_AWS_NAMESPACES": nowhere},
        few.stage.fresh("waiting"),
    )
    waiting.start(wait=False)
    wait_until(lambda: "is left alone" in waiting.logs, timeout=20, what="the wait for a permission")
    waiting.stop()
    assert waiting.process.exit_code() == 0
