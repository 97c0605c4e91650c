"""Who may be issued credentials, and with which request."""

from typing import Any

import pytest

from spacelift_aws.api.awsintegration import AwsIntegration, LabelSelector
from spacelift_aws.aws.sts import AssumeRoleRequest
from spacelift_aws.controllers.run.authorization import Circumstances, authorize, selects
from spacelift_aws.controllers.run.state import Authorized, Denied

ROLE = "arn:aws:iam::222222222222:role/deploy"


def integration(namespace: str = "team", **spec: Any) -> AwsIntegration:
    return AwsIntegration.model_validate(
        {
            "metadata": {
                "name": "prod",
                "namespace": namespace,
                "uid": "i",
                "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"roleArn": ROLE, **spec},
        }
    )


NO_LABELS: dict[str, str] = {}


def asked(
    kit: Any, found: AwsIntegration, *, labels: dict[str, str] | None = NO_LABELS, trusted: bool = True, **run: Any
) -> Authorized | Denied:
    around = Circumstances(None, (), labels, trusted, "its trust is being verified.", "acme@team@prod")
    return authorize(kit.run(**run), kit.run_id, found, around)


ELSEWHERE: dict[str, Any] = {"integrationRef": {"name": "prod", "namespace": "owner"}}
RED = {"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}


@pytest.mark.parametrize(
    ("why", "spec", "run", "trusted", "reason", "words"),
    [
        ("trust is unknown", {}, {}, False, "IntegrationNotReady", "is being verified"),
        ("a stack is not attached", {"allowedStacks": ["a"]}, {"stack": "b"}, True, "NotAllowed", "stack `b`"),
        ("no stack at all", {"allowedStacks": ["a"]}, {}, True, "NotAllowed", "without a stack"),
        ("plans need a word", {}, {"type": "Proposed"}, True, "NotAllowed", "spec.proposed"),
        ("not allowed comes before not ready", {"allowedStacks": []}, {}, False, "NotAllowed", "stack"),
    ],
)
def test_why_a_run_waits(
    kit: Any, why: str, spec: dict[str, Any], run: dict[str, Any], trusted: bool, reason: str, words: str
) -> None:
    found = asked(kit, integration(**spec), trusted=trusted, **run)
    assert isinstance(found, Denied), why
    assert found.reason == reason
    assert words in found.message


@pytest.mark.parametrize("spec", [{}, {"allowedStacks": ["a", "b"]}])
def test_a_stack_that_is_attached(kit: Any, spec: dict[str, Any]) -> None:
    assert isinstance(asked(kit, integration(**spec), stack="b"), Authorized)


@pytest.mark.parametrize("watched", [(), ("team", "owner")])
def test_an_integration_that_is_not_there(kit: Any, watched: tuple[str, ...]) -> None:
    found = authorize(kit.run(**ELSEWHERE), kit.run_id, None, Circumstances(None, watched, {}))
    assert isinstance(found, Denied)
    assert found.message == "There is no AwsIntegration owner/prod."


@pytest.mark.parametrize(
    ("allowed", "labels", "granted"),
    [
        ({"from": "Same"}, {}, False),
        ({"from": "All"}, {}, True),
        (RED, {"team": "red"}, True),
        (RED, {"team": "blue"}, False),
        (RED, {}, False),
    ],
)
def test_runs_of_other_namespaces(kit: Any, allowed: Any, labels: dict[str, str], granted: bool) -> None:
    found = asked(kit, integration("owner", allowedNamespaces=allowed), labels=labels, **ELSEWHERE)
    assert isinstance(found, Authorized) is granted


@pytest.mark.parametrize("selector", [RED, {"from": "Selector", "selector": {}}])
def test_who_cannot_read_labels_refuses_every_selector_and_says_so(kit: Any, selector: Any) -> None:
    found = asked(kit, integration("owner", allowedNamespaces=selector), labels=None, **ELSEWHERE)
    assert isinstance(found, Denied)
    assert found.reason == "NotAllowed"
    assert "labels, which this operator cannot read" in found.message
    assert "from: All" in found.message


def test_who_cannot_read_labels_knows_his_own_namespace_and_all_others(kit: Any) -> None:
    everybody = integration("owner", allowedNamespaces={"from": "All"})
    assert isinstance(asked(kit, everybody, labels=None, **ELSEWHERE), Authorized)
    assert isinstance(asked(kit, integration(allowedNamespaces=RED), labels=None), Authorized)


def test_an_integration_where_nobody_looks(kit: Any) -> None:
    found = authorize(kit.run(**ELSEWHERE), kit.run_id, None, Circumstances(None, ("team",), None))
    assert isinstance(found, Denied)
    assert found.reason == "IntegrationNotFound"
    assert "owner/prod is in a namespace that is not watched" in found.message


@pytest.mark.parametrize(
    ("operator", "values", "labels", "chosen"),
    [
        ("In", ["a"], {"k": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("NotIn", ["a"], {}, True),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
        ("DoesNotExist", None, {"k": ""}, False),
    ],
)
def test_selectors_choose_as_kubernetes_does(
    operator: str, values: list[str] | None, labels: dict[str, str], chosen: bool
) -> None:
    body = {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}
    assert selects(LabelSelector.model_validate(body), labels) is chosen


def test_a_plain_request_carries_no_more_than_it_must(kit: Any) -> None:
    assert asked(kit, integration()) == Authorized(AssumeRoleRequest(ROLE, kit.run_id, "acme@team@prod", 3600))


def test_a_request_carries_what_the_integration_asks_for(kit: Any) -> None:
    arns = ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
    proposed = {"sessionPolicy": '{"plan": 1}'}
    more = {"region": "eu-central-1", "durationSeconds": 900}
    spec: dict[str, Any] = {"tagAssumeRole": True, "sourceIdentity": True, **more}
    found = integration(**spec, sessionPolicy='{"all": 1}', sessionPolicyArns=arns, proposed=proposed)
    apply, plan = asked(kit, found, stack="vpc"), asked(kit, found, type="Proposed")
    assert isinstance(apply, Authorized)
    assert isinstance(plan, Authorized)
    request = apply.request
    assert request.tags == (("run", kit.run_id), ("stack", "vpc"), ("space", "team"))
    assert (request.source_identity, request.region, request.duration_seconds) == (kit.run_id, "eu-central-1", 900)
    assert (request.session_policy, request.session_policy_arns) == ('{"all": 1}', tuple(arns))
    assert (plan.request.session_policy, plan.request.session_policy_arns) == ('{"plan": 1}', ())


@pytest.mark.parametrize(
    ("who", "pool", "spec", "run", "reason", "words"),
    [
        ("the controller leaves it to a worker", None, {}, {}, "NoWorker", "No worker of pool `default` has taken"),
        ("a worker's are namespaced", None, {}, ELSEWHERE, "WorkerModeIsNamespaced", "create the Run there"),
        ("a silent pool's", "build", {}, {}, "NoWorker", "Pool `default`, which is to execute this Run, no longer"),
    ],
)
def test_whose_credentials_are_another_process_to_issue(
    kit: Any, who: str, pool: str | None, spec: dict[str, Any], run: dict[str, Any], reason: str, words: str
) -> None:
    found = integration(generateCredentialsInWorker=True, **spec)
    answer = authorize(kit.run(**run), kit.run_id, found, Circumstances(pool, (), {}, trusted=True))
    assert isinstance(answer, Denied), who
    assert answer.reason == reason
    assert words in answer.message


def test_a_pools_own(kit: Any) -> None:
    found = integration(generateCredentialsInWorker=True)
    known = Circumstances("default", ("team",), None, trusted=True, external_id="mine")
    assert isinstance(authorize(kit.run(), kit.run_id, found, known), Authorized)
