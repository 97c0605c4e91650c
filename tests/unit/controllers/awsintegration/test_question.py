import fnmatch
import json
import re
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import ProbeName
from spacelift_aws.controllers.awsintegration.question import (
    external_id_of,
    negative_calls,
    other_installation_external_id,
    own_calls,
    question_of,
    sibling_external_id,
)

ROLE = "arn:aws:iam::123456789012:role/deploy"
POLICY = '{"Version":"2012-10-17","Statement":[]}'
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def deny_all(policy: str | None) -> bool:
    if policy is None:
        return False
    return bool(json.loads(policy)["Statement"] == [{"Effect": "Deny", "Action": "*", "Resource": "*"}])


def test_without_a_role_there_is_nothing_to_ask(kit: Any) -> None:
    assert question_of(kit.integration(roleArn=None), "demo") is None


@pytest.mark.parametrize(
    ("spec", "external_id"),
    [
        pytest.param({}, "demo@team@deploy", id="the operator decides it"),
        pytest.param({"externalId": "mine"}, "demo@team@deploy", id="whatever a spec says in controller mode"),
        pytest.param({"generateCredentialsInWorker": True}, "demo@team@deploy", id="also for workers"),
        pytest.param(
            {"generateCredentialsInWorker": True, "externalId": "mine"}, "mine", id="unless a worker-mode spec chooses"
        ),
    ],
)
def test_external_id(kit: Any, spec: dict[str, Any], external_id: str) -> None:
    assert external_id_of(kit.integration(**spec), "demo") == external_id


@pytest.mark.parametrize(
    ("pattern", "sibling", "other"),
    [
        ("*", True, True),
        ("demo@*", True, False),
        ("*@deploy", True, True),
        ("demo@te*@deploy", True, False),
        ("demo@team*@deploy", True, False),
        ("demo@*team@deploy", True, False),
        ("*@team@deploy", False, True),
        ("de*@team@deploy", False, True),
        ("*mo@team@deploy", False, True),
        ("demo*@team@*", False, True),
        ("demo@team@*", False, False),
        ("demo@team@deploy", False, False),
    ],
)
def test_which_patterns_the_probes_find(pattern: str, sibling: bool, other: bool) -> None:
    assert fnmatch.fnmatchcase(sibling_external_id("demo", "team", "deploy"), pattern) is sibling
    assert fnmatch.fnmatchcase(other_installation_external_id("demo", "team", "deploy"), pattern) is other


@pytest.mark.parametrize(("installation", "namespace"), [("ab", "x"), ("i" * 63, "n" * 63)])
def test_probes_send_ids_that_nobody_can_ever_have(installation: str, namespace: str) -> None:
    _, sibling, _ = sibling_external_id(installation, namespace, "a" * 253).split("@")
    other, _, _ = other_installation_external_id(installation, namespace, "a" * 253).split("@")
    assert len(sibling) > 63
    assert sibling.startswith(f"{namespace}-")
    assert sibling.endswith(f"-{namespace}")
    assert len(other) > 63
    for external_id in (
        sibling_external_id(installation, namespace, "a" * 253),
        other_installation_external_id(installation, namespace, "a" * 253),
    ):
        assert re.fullmatch(r"[\w+=,.@:/-]{2,1224}", external_id)


def test_the_positive_probe_carries_what_runs_carry(kit: Any) -> None:
    integration = kit.integration(
        durationSeconds=7200, tagAssumeRole=True, sourceIdentity=True, allowedStacks=["prod", "dev"], region="eu-west-1"
    )
    question = question_of(integration, "demo")
    assert question is not None
    (call,) = own_calls(question)
    request = call.request
    assert (request.role_arn, request.external_id) == (ROLE, "demo@team@deploy")
    assert (request.duration_seconds, request.region) == (7200, "eu-west-1")
    assert request.tags == (("run", request.session_name), ("stack", "prod"), ("space", "team"))
    assert request.source_identity == request.session_name


def test_session_names_are_recognised_and_as_long_as_a_run_id(kit: Any) -> None:
    question = question_of(kit.integration(proposed={}), "demo")
    assert question is not None
    for call in (*own_calls(question), *negative_calls(question)):
        assert re.fullmatch(r"trust-probe-[a-z0-9-]+", call.request.session_name)
        assert 26 <= len(call.request.session_name) <= 64


@pytest.mark.parametrize(
    ("spec", "user_policy", "arns"),
    [
        pytest.param({}, None, (), id="inline where that place is free"),
        pytest.param({"sessionPolicyArns": [READ_ONLY]}, None, (READ_ONLY,), id="inline beside managed ones"),
        pytest.param(
            {"sessionPolicy": POLICY},
            POLICY,
            ("arn:aws:iam::aws:policy/AWSDenyAll",),
            id="managed beside an inline one",
        ),
        pytest.param(
            {"sessionPolicy": POLICY, "sessionPolicyArns": [READ_ONLY]},
            POLICY,
            (READ_ONLY, "arn:aws:iam::aws:policy/AWSDenyAll"),
            id="managed beside both",
        ),
        pytest.param(
            {"sessionPolicy": POLICY, "roleArn": "arn:aws-cn:iam::123456789012:role/x"},
            POLICY,
            ("arn:aws-cn:iam::aws:policy/AWSDenyAll",),
            id="managed by the role's partition",
        ),
    ],
)
def test_no_probe_can_do_anything(
    kit: Any, spec: dict[str, Any], user_policy: str | None, arns: tuple[str, ...]
) -> None:
    question = question_of(kit.integration(**spec), "demo")
    assert question is not None
    (call,) = own_calls(question)
    assert call.request.session_policy_arns == arns
    if user_policy is None:
        assert deny_all(call.request.session_policy)
    else:
        assert call.request.session_policy == user_policy
    for negative in negative_calls(question):
        assert deny_all(negative.request.session_policy)
        assert negative.request.session_policy_arns == ()


def test_ten_managed_policies_at_most(kit: Any) -> None:
    arns = [f"arn:aws:iam::123456789012:policy/p{n}" for n in range(9)]
    question = question_of(kit.integration(sessionPolicy=POLICY, sessionPolicyArns=arns), "demo")
    assert question is not None
    assert len(own_calls(question)[0].request.session_policy_arns) == 10


def test_proposed_has_a_call_of_its_own(kit: Any) -> None:
    question = question_of(kit.integration(sessionPolicy=POLICY, proposed={"sessionPolicyArns": [READ_ONLY]}), "demo")
    assert question is not None
    ordinary, proposed = own_calls(question)
    assert (ordinary.proposed, proposed.proposed) == (False, True)
    assert ordinary.request.session_policy == POLICY
    assert deny_all(proposed.request.session_policy)
    assert proposed.request.session_policy_arns == (READ_ONLY,)


def test_negative_probes_are_bare(kit: Any) -> None:
    integration = kit.integration(
        durationSeconds=7200, tagAssumeRole=True, sourceIdentity=True, sessionPolicy=POLICY, region="eu-west-1"
    )
    question = question_of(integration, "demo")
    assert question is not None
    calls = negative_calls(question)
    assert [call.probe for call in calls] == [ProbeName.NONE, ProbeName.SIBLING, ProbeName.OTHER_INSTALLATION]
    assert [call.request.external_id for call in calls] == [
        None,
        sibling_external_id("demo", "team", "deploy"),
        other_installation_external_id("demo", "team", "deploy"),
    ]
    for call in calls:
        request = call.request
        assert (request.duration_seconds, request.tags, request.source_identity) == (900, (), None)
        assert request.region == "eu-west-1"


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        ({"durationSeconds": 900}, False),
        ({"region": "eu-west-1"}, False),
        ({"tagAssumeRole": True}, False),
        ({"sourceIdentity": True}, False),
        ({"sessionPolicy": POLICY}, False),
        ({"sessionPolicyArns": [READ_ONLY]}, False),
        ({"proposed": {}}, False),
        ({"roleArn": "arn:aws:iam::123456789012:role/other"}, False),
        ({"verifyEvery": "1h"}, True),
        ({"allowedStacks": ["prod"]}, True),
        ({"allowedNamespaces": {"from": "All"}}, True),
    ],
)
def test_what_makes_it_another_question(kit: Any, spec: dict[str, Any], same: bool) -> None:
    assert (question_of(kit.integration(**spec), "demo") == question_of(kit.integration(), "demo")) is same
