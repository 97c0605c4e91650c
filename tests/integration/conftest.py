"""One stage for all integration tests of the operator: it is started once, each test has a namespace of its own."""

import json
import re
from collections.abc import Iterator

import pytest

from sandbox.apiproxy import ApiProxy
from sandbox.audit import WITH_REQUESTS
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT
from sandbox.objects import Objects
from sandbox.process import wait_until
from sandbox.stage import Stage, set_stage

from .policies import ON_OTHERS, PoliciesOnOthers

SETTINGS = {
    # Minutes become seconds, so that tests see what comes after them. What is tested stays the same.
    "SPACELIFT_AWS_STS_TIMEOUT": "4",
    "SPACELIFT_AWS_CONFIRM_AFTER": "3",
    "SPACELIFT_AWS_RETRY_FIRST": "0.5",
    "SPACELIFT_AWS_RETRY_LAST": "2",
    "SPACELIFT_AWS_RETRY_SLOWLY": "4",
    "SPACELIFT_AWS_CREATION_IN_DOUBT": "4",
    "SPACELIFT_AWS_DENIED_FOR": "8",
    "SPACELIFT_AWS_RELIST_EVERY": "20",
}


@pytest.fixture(scope="session")
def meant_refusals() -> set[str]:
    """Namespaces in which a test means the controller to lack a permission."""
    return set()


@pytest.fixture(scope="session")
def _stage(meant_refusals: set[str]) -> Iterator[Stage]:
    with set_stage(SETTINGS, audit_policy=WITH_REQUESTS) as stage:
        stage.cluster.kubectl("delete", "validatingadmissionpolicybinding", *ON_OTHERS)
        stage.controller.start()
        yield stage
        forbidden = [
            f"{event.verb} {event.uri}"
            for event in stage.cluster.audit_events()
            if event.user == f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
            and event.raw.get("userAgent", "").startswith("spacelift-aws")  # tests may try things in its name
            and event.raw.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"
            and event.namespace not in meant_refusals
        ]
        assert forbidden == [], "the controller needs a permission that it does not have"
        assert _defects(stage) == [], "the controller has met a defect of its own"


def _defects(stage: Stage) -> list[str]:
    """Lines that the stage's controller should never log, whatever the tests do to it. Others end on purpose."""
    words = re.compile("Traceback|unexpected|no end of decisions")
    return [line for line in stage.controller.logs.splitlines() if words.search(line)]


@pytest.fixture(scope="module", autouse=True)
def _controller(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module begins with a controller that runs, whichever was the one before: its fixtures create Runs.

    In the end nothing is left of it that would take the controller's time from those that follow.
    """
    tests = (item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function))
    if not any("_stage" in test.fixturenames for test in tests):
        yield
        return
    stage: Stage = request.getfixturevalue("_stage")
    if stage.controller.process.exit_code() is not None:
        stage.controller.start()
    before = len(stage.namespaces)
    yield
    for namespace in stage.namespaces[before:]:
        stage.clear(namespace)


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    """The stage, with a controller that runs and no fault left from an earlier test."""
    if _stage.controller.process.exit_code() is not None:
        _stage.controller.start()
    yield _stage
    _stage.proxy.clear()


@pytest.fixture(scope="session")
def on_others(_stage: Stage) -> PoliciesOnOthers:
    """Which are off, and who restores that."""
    return PoliciesOnOthers(_stage)


@pytest.fixture(scope="module")
def all_policies(on_others: PoliciesOnOthers) -> Iterator[None]:
    """The chart as it is, for this module's tests: also what others do is policed."""
    try:
        on_others.bind()
        yield
    finally:
        # Also where they could not be bound: the modules that follow play somebody whom nothing stops.
        on_others.unbind()


@pytest.fixture
def namespace(stage: Stage) -> str:
    """A namespace of the test's own."""
    return stage.namespace()


@pytest.fixture(scope="module")
def api(_stage: Stage) -> Iterator[ApiProxy]:
    """The controller of this module's tests reaches the API server through this proxy."""
    with ApiProxy(_stage.cluster) as proxy:
        kubeconfig = proxy.kubeconfig(_stage.cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT))
        _stage.controller.stop()
        _stage.controller.environment["KUBECONFIG"] = str(kubeconfig)
        _stage.controller.start()
        yield proxy
        _stage.controller.stop()
        del _stage.controller.environment["KUBECONFIG"]


def hands(stage: Stage, namespace: str, *, role: str = "edit", verbs: str = "", on: str = "prod") -> Objects:
    """A new user with one of Kubernetes' own roles, and verbs on one AwsIntegration besides."""
    user = stage.fresh("user")
    kubectl, where = stage.cluster.kubectl, f"--namespace={namespace}"
    kubectl("create", "rolebinding", user, where, f"--clusterrole={role}", f"--user={user}")
    if verbs:
        # kubectl makes no role with a verb that the API server does not offer.
        rule = {"apiGroups": ["aws.spacelift.io"], "resources": ["awsintegrations"], "resourceNames": [on]}
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": user, "namespace": namespace},
            "rules": [{**rule, "verbs": verbs.split()}],
        }
        kubectl("create", "--filename=-", input=json.dumps(body))
        kubectl("create", "rolebinding", f"{user}-verbs", where, f"--role={user}", f"--user={user}")

    def may(verb: str, what: str) -> bool:
        return kubectl("auth", "can-i", verb, what, where, f"--as={user}", check=False).returncode == 0

    needed = [("get", "runs"), *((verb, f"awsintegrations/{on}") for verb in verbs.split())]
    wait_until(lambda: all(may(*one) for one in needed), timeout=30, what=f"what {user} may")
    return Objects(stage.cluster.kubeconfig, user)
