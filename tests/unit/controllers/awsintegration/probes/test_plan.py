import fnmatch
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import ProbeForm, ProbeName
from spacelift_aws.aws.sts import AssumeRoleRequest
from spacelift_aws.controllers.awsintegration.probes import none, other_installation, own, sibling, spelling
from spacelift_aws.controllers.awsintegration.probes.call import PROBE_MARK, ProbeCall
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan, external_id_of, plan_of
from spacelift_aws.names import run_id

ROLE = "arn:aws:iam::123456789012:role/deploy"
POLICY = '{"Version":"2012-10-17","Statement":[]}'
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def plan_for(kit: Any, **spec: Any) -> ProbePlan:
    plan = plan_of(kit.integration(**spec), "demo")
    assert plan is not None
    return plan


def own_requests(plan: ProbePlan) -> list[AssumeRoleRequest]:
    return [call.request(plan, NOW) for call in own.calls(plan)]


def negative_calls(plan: ProbePlan) -> list[ProbeCall]:
    others = [*none.calls(plan), *sibling.calls(plan), *other_installation.calls(plan), *spelling.any_name_calls(plan)]
    return others + [call for position in plan.positions for call in spelling.calls(plan, position)]


def sent(calls: tuple[ProbeCall, ...]) -> str:
    """The one external ID of a question."""
    (external_id,) = {call.external_id for call in calls}
    assert external_id is not None
    return external_id


def deny_all(policy: str | None) -> bool:
    if policy is None:
        return False
    return bool(json.loads(policy)["Statement"] == [{"Effect": "Deny", "Action": "*", "Resource": "*"}])


def test_without_a_role_there_is_nothing_to_ask(kit: Any) -> None:
    assert plan_of(kit.integration(roleArn=None), "demo") is None


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
    ("pattern", "sibling_", "other"),
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
def test_which_patterns_the_probes_find(kit: Any, pattern: str, sibling_: bool, other: bool) -> None:
    plan = plan_for(kit)
    assert fnmatch.fnmatchcase(sent(sibling.calls(plan)), pattern) is sibling_
    assert fnmatch.fnmatchcase(sent(other_installation.calls(plan)), pattern) is other


@pytest.mark.parametrize(("installation", "namespace"), [("ab", "x"), ("i" * 63, "n" * 63)])
def test_probes_send_ids_that_nobody_can_ever_have(kit: Any, installation: str, namespace: str) -> None:
    plan = replace(
        plan_for(kit),
        installation=installation,
        namespace=namespace,
        name="a" * 253,
        external_id=f"{installation}@{namespace}@{'a' * 253}",
    )
    _, elsewhere, _ = sent(sibling.calls(plan)).split("@")
    other, _, _ = sent(other_installation.calls(plan)).split("@")
    assert len(elsewhere) > 63
    assert elsewhere.startswith(f"{namespace}-")
    assert elsewhere.endswith(f"-{namespace}")
    assert len(other) > 63
    for call in negative_calls(plan):
        request = call.request(plan, NOW)
        assert request.external_id is None or re.fullmatch(r"[\w+=,.@:/-]{2,1224}", request.external_id)
        assert all(len(value) <= 256 for _, value in request.tags)


def test_the_positive_probe_carries_what_runs_carry(kit: Any) -> None:
    integration = kit.integration(
        durationSeconds=7200, tagAssumeRole=True, sourceIdentity=True, allowedStacks=["prod", "dev"], region="eu-west-1"
    )
    plan = plan_of(integration, "demo")
    assert plan is not None
    (request,) = own_requests(plan)
    assert (request.role_arn, request.external_id) == (ROLE, "demo@team@deploy")
    assert (request.duration_seconds, request.region) == (7200, "eu-west-1")
    assert request.tags == (("run", request.session_name), ("stack", "prod"), ("space", "team"))
    assert request.source_identity == request.session_name


def test_session_names_have_a_run_ids_form_and_tell_all_of_the_probe(kit: Any) -> None:
    plan = plan_for(kit, proposed={}, tagAssumeRole=True)
    names = [call.request(plan, NOW).session_name for call in (*own.calls(plan), *negative_calls(plan))]
    for name in names:
        assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", name)
        assert name.endswith(PROBE_MARK)
        assert name[:10] == run_id(NOW, "any")[:10], "a policy that looks at the time sees the same as of a Run"
    assert [name[10:16] for name in names[:8]] == [
        "0WNR00",
        "0WNR00",
        "N0NB00",
        "N0NR00",
        "S1BB00",
        "S1BR00",
        "0THB00",
        "0THR00",
    ]
    assert names[-1][10:16] == "SPER0F"


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
    plan = plan_for(kit, **spec)
    (request,) = own_requests(plan)
    assert request.session_policy_arns == arns
    if user_policy is None:
        assert deny_all(request.session_policy)
    else:
        assert request.session_policy == user_policy
    for negative in negative_calls(plan):
        assert deny_all(negative.request(plan, NOW).session_policy)
        assert negative.request(plan, NOW).session_policy_arns == ()


def test_ten_managed_policies_at_most(kit: Any) -> None:
    arns = [f"arn:aws:iam::123456789012:policy/p{n}" for n in range(9)]
    plan = plan_for(kit, sessionPolicy=POLICY, sessionPolicyArns=arns)
    assert len(own_requests(plan)[0].session_policy_arns) == 10


def test_proposed_has_a_call_of_its_own(kit: Any) -> None:
    plan = plan_for(kit, sessionPolicy=POLICY, proposed={"sessionPolicyArns": [READ_ONLY]})
    assert [call.proposed for call in own.calls(plan)] == [False, True]
    ordinary, proposed = own_requests(plan)
    assert ordinary.session_policy == POLICY
    assert deny_all(proposed.session_policy)
    assert proposed.session_policy_arns == (READ_ONLY,)


def test_negative_probes_have_two_forms(kit: Any) -> None:
    plan = plan_for(
        kit,
        durationSeconds=7200,
        tagAssumeRole=True,
        tags=[{"key": "team", "value": "core"}],
        sourceIdentity=True,
        allowedStacks=["prod"],
        sessionPolicy=POLICY,
        region="eu-west-1",
    )
    for one in (none, sibling, other_installation):
        bare, as_run = one.calls(plan)
        assert (bare.form, as_run.form) == (ProbeForm.BARE, ProbeForm.RUN)
        request = bare.request(plan, NOW)
        assert (request.duration_seconds, request.tags, request.source_identity) == (900, (), None)
        assert request.region == "eu-west-1"
        request = as_run.request(plan, NOW)
        assert (request.duration_seconds, request.source_identity) == (7200, request.session_name)
        keys = dict(request.tags)
        assert (keys["run"], keys["stack"], keys["team"]) == (request.session_name, "prod", "core")


def test_the_form_of_a_run_names_the_place_it_would_come_from(kit: Any) -> None:
    plan = plan_for(kit, tagAssumeRole=True)
    spaces = {call.probe: dict(call.request(plan, NOW).tags)["space"] for call in negative_calls(plan)[1:6:2]}
    assert spaces == {
        ProbeName.NONE: "team",
        ProbeName.SIBLING: sent(sibling.calls(plan)).split("@")[1],
        ProbeName.OTHER_INSTALLATION: "team",
    }
    of_places = [
        dict(spelling.calls(plan, position)[1].request(plan, NOW).tags)["space"] for position in plan.positions
    ]
    assert of_places == ["team"] * 5 + ["+eam", "t+am", "te+m", "tea+"] + ["team"] * 7


@pytest.mark.parametrize(
    ("spec", "forms"),
    [({}, 1), ({"durationSeconds": 7200}, 1), ({"tagAssumeRole": True}, 2), ({"sourceIdentity": True}, 2)],
)
def test_a_second_form_is_sent_only_where_it_is_another(kit: Any, spec: dict[str, Any], forms: int) -> None:
    plan = plan_for(kit, **spec)
    assert [len(one.calls(plan)) for one in (none, sibling, other_installation)] == [forms] * 3
    assert len(spelling.calls(plan, 0)) == forms


def test_a_spelling_replaces_one_character_by_one_that_no_name_contains(kit: Any) -> None:
    plan = plan_for(kit)
    assert plan.positions == tuple(range(16))
    assert plan.ends == (0, 3, 5, 8, 10, 15)
    assert [sent(spelling.calls(plan, position)) for position in (0, 4, 15)] == [
        "+emo@team@deploy",
        "demo+team@deploy",
        "demo@team@deplo+",
    ]
    assert [position for position in plan.positions if spelling.is_in_name(plan, position)] == [*range(10, 16)]


def test_an_external_id_that_the_spec_chose_is_one_part(kit: Any) -> None:
    plan = plan_for(kit, generateCredentialsInWorker=True, externalId="a@b@c+")
    assert plan.ends == (0, 5)
    assert sent(spelling.calls(plan, 5)) == "a@b@c="
    assert not any(spelling.is_in_name(plan, position) for position in plan.positions)


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
def test_what_makes_it_another_plan(kit: Any, spec: dict[str, Any], same: bool) -> None:
    assert (plan_for(kit, **spec) == plan_for(kit)) is same
