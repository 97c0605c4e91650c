"""Of every request at most one of our admission policies speaks, and says what helps most.

Where two policies refuse a request, the API server reports either of them. So each has a second binding here that
warns, and every answer tells which of them would refuse. A table of requests goes through: every kind of caller,
resource, verb and namespace, with everything that can be wrong, alone, in pairs and together.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from sandbox.objects import Answer, Object, Objects
from sandbox.process import wait_until
from sandbox.stage import Stage

from .policies import JOBS, forget_jobs
from .policy_requests import GROUP, PLACES, ROWS, TABLE, USERS, Caller, Case, path_of

pytestmark = pytest.mark.slow

SPEAKS = re.compile(r"ValidatingAdmissionPolicy 'spacelift-aws-([a-z-]+)' with binding '[a-z-]+': (.*)", re.DOTALL)


def heard(answer: Answer) -> list[tuple[str, str]]:
    """Our policies that would refuse, each with its sentence."""
    found = (SPEAKS.search(warning) for warning in answer.warnings)
    return [(match[1], match[2]) for match in found if match]


def fault(case: Case, answer: Answer) -> str:
    """What is wrong with an answer; empty where it is as expected."""
    policies = {policy for policy, _ in heard(answer)}
    message = answer.content.get("message", "")
    if case.expected is None:
        good = not policies and answer.status < 300
    else:
        good = policies == {case.expected[0]} and answer.status == 403 and case.expected[1] in message
    if good:
        return ""
    who = f"{case.caller.kind}, {case.caller.place}, {case.what}"
    return f"{who}: wants {case.expected}, but {sorted(policies)} would refuse; {answer.status} {message}"


@dataclass(frozen=True)
class Table:
    """All requests, by what makes them, and the hands of the callers by kind."""

    cases: Mapping[str, Sequence[Case]]
    hands: Mapping[str, Objects]

    def ask(self, case: Case) -> Answer:
        return self.hands[case.caller.kind].request(case.method, case.path, case.body)


def ours(stage: Stage, what: str) -> list[str]:
    listed = json.loads(stage.cluster.kubectl("get", what, "--output=json").stdout)["items"]
    return [body["metadata"]["name"] for body in listed if body["metadata"]["name"].startswith("spacelift-aws-")]


def prepare(stage: Stage, cases: Sequence[Case]) -> None:
    """Put there what is to be treated; policies that would forbid it are not in force yet."""
    for case in cases:
        if case.prepared is not None:
            answer = stage.objects.request("POST", path_of(case.prepared, case.caller.namespace), case.prepared)
            assert answer.status == 201, answer.content


def warn(stage: Stage, policies: Sequence[str]) -> str:
    """The policies' second bindings, as manifests."""
    spec = {"validationActions": ["Warn"], "matchResources": {"namespaceSelector": {"matchLabels": TABLE}}}
    api = "admissionregistration.k8s.io/v1"
    binding = {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding"}
    items = [
        {**binding, "metadata": {"name": f"table-{name}"}, "spec": {**spec, "policyName": name}} for name in policies
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def bind_all(stage: Stage, table: Table) -> None:
    """Let all policies warn, and wait until each is heard and every caller may do what its role says."""
    policies = warn(stage, ours(stage, "validatingadmissionpolicies"))
    stage.cluster.kubectl("create", "--filename=-", input=policies)
    cases = [case for row in table.cases.values() for case in row]
    # What is refused can be asked again and again.
    samples = {case.expected[0]: case for case in cases if case.expected}
    callers = {case.caller.kind: case.caller for case in cases}.values()

    def warns(policy: str) -> bool:
        return policy in {name for name, _ in heard(table.ask(samples[policy]))}

    def may(caller: Caller) -> bool:
        return table.hands[caller.kind].request("GET", f"/api/v1/namespaces/{caller.namespace}/pods").status == 200

    wait_until(lambda: all(map(may, callers)), timeout=20, what="the callers' rights")
    for policy in samples:
        wait_until(partial(warns, policy), timeout=20, what=f"a warning of policy {policy}")


def clear_up(stage: Stage, namespaces: Sequence[str]) -> None:
    stage.cluster.kubectl("delete", f"clusterrole/{GROUP}", f"clusterrolebinding/{GROUP}")
    names = ours(stage, "validatingadmissionpolicies")
    stage.cluster.kubectl("delete", "validatingadmissionpolicybinding", *(f"table-{name}" for name in names))
    for namespace in namespaces:
        for body in stage.objects.list("Secret", namespace):
            if "finalizers" in body["metadata"]:
                change = {"metadata": {"finalizers": None}}
                stage.objects.patch("Secret", namespace, body["metadata"]["name"], change)
        stage.objects.delete("Namespace", None, namespace)


@pytest.fixture(scope="module")
def table(_stage: Stage, request: pytest.FixtureRequest) -> Iterator[Table]:
    # The controller would treat what is made here.
    _stage.controller.stop()
    namespaces = {place: _stage.namespace({**TABLE, **labels}) for place, labels in PLACES.items()}
    callers = [Caller(kind, place, namespace) for place, namespace in namespaces.items() for kind in USERS]
    cases = {row.__name__: [case for caller in callers for case in row(caller)] for row in ROWS}
    for row in cases.values():
        prepare(_stage, row)
    request.getfixturevalue("all_policies")
    _stage.controller.install(JOBS)
    kubectl, verbs = _stage.cluster.kubectl, "get,list,watch,create,update,patch,delete,deletecollection"
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": verbs.split(",")}
    role: Object = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": GROUP}}
    kubectl("create", "--filename=-", input=json.dumps({**role, "rules": [rule]}))
    kubectl("create", "clusterrolebinding", GROUP, f"--clusterrole={GROUP}", f"--group={GROUP}")
    groups = dict.fromkeys(USERS, GROUP) | {"administrator": "system:masters"}
    kubeconfig = _stage.cluster.kubeconfig
    table = Table(cases, {kind: Objects(kubeconfig, user, [groups[kind]]) for kind, user in USERS.items()})
    bind_all(_stage, table)
    yield table
    clear_up(_stage, list(namespaces.values()))
    forget_jobs(_stage)
    _stage.controller.install()


@pytest.mark.parametrize("row", [row.__name__ for row in ROWS])
def test_one_policy_speaks_and_says_what_helps_most(table: Table, row: str) -> None:
    faults = [fault(case, table.ask(case)) for case in table.cases[row]]
    faults = [text for text in faults if text]
    assert not faults, "\n".join([f"{len(faults)} of {len(table.cases[row])}:", *faults[:20]])


def test_every_policy_of_ours_refuses_a_request_of_the_table(stage: Stage, table: Table) -> None:
    refusing = {case.expected[0] for row in table.cases.values() for case in row if case.expected}
    assert {f"spacelift-aws-{name}" for name in refusing} == set(ours(stage, "validatingadmissionpolicies"))
