"""Every reason, from what STS answers to what a person reads."""

from typing import Any

import pytest

from spacelift_aws.api.awsintegration import ProbeAnswer
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.controllers.awsintegration.probes.answers import MEANINGS, ProbeRound
from spacelift_aws.controllers.awsintegration.probes.ask import Prober, without_identity
from spacelift_aws.controllers.awsintegration.probes.plan import plan_of
from spacelift_aws.controllers.awsintegration.verdict import judge, judge_own

from .asking import (
    ALLOW,
    IDENTITY,
    OWN,
    POLICY,
    PRINCIPAL,
    Trust,
    accepts,
    asked_of,
    is_own,
    nothing_sent,
    other_installation,
    other_namespace,
    own_fails,
    statement_in,
    verdict_of,
)

CHAINING = StsError(
    Failure.DURATION_TOO_LONG, "ValidationError", "exceeds the 1 hour session limit for roles assumed by role chaining"
)
PACKED = StsError(Failure.INVALID_SESSION_POLICY, "PackedPolicyTooLarge", "Packed size consumes 104%")
OFF_THERE = StsError(Failure.REGION_DISABLED, "RegionDisabledException", "STS is not activated")
OFF_HERE = StsError(Failure.REGION_DISABLED, "InvalidClientTokenId", "not known there")


@pytest.mark.parametrize(
    ("trust", "spec", "status", "reason", "words"),
    [
        pytest.param(ALLOW, {}, "True", Reason.VERIFIED, ["all probes"], id="all as it should be"),
        pytest.param(
            own_fails(Failure.ACCESS_DENIED),
            {},
            "False",
            Reason.ACCESS_DENIED,
            [PRINCIPAL, OWN, "operator's own policy", "organization", "sts:AssumeRole"],
            id="the role does not exist, or does not trust us",
        ),
        pytest.param(
            accepts(nothing_sent, other_namespace, other_installation),
            {},
            "False",
            Reason.EXTERNAL_ID_NOT_REQUIRED,
            ["without any external ID", "StringEqualsIfExists"],
            id="no condition at all",
        ),
        pytest.param(
            accepts(other_namespace),
            {},
            "False",
            Reason.OTHER_EXTERNAL_ID_ACCEPTED,
            ["another namespace", "StringEquals", "demo@team@*"],
            id="a pattern over namespaces",
        ),
        pytest.param(
            accepts(other_installation),
            {},
            "False",
            Reason.OTHER_EXTERNAL_ID_ACCEPTED,
            ["another installation"],
            id="a pattern over installations",
        ),
        pytest.param(
            accepts(other_namespace, other_installation),
            {},
            "False",
            Reason.OTHER_EXTERNAL_ID_ACCEPTED,
            ["another namespace", "and of another installation"],
            id="a pattern over both",
        ),
        pytest.param(
            own_fails(Failure.DURATION_TOO_LONG),
            {"durationSeconds": 7200},
            "False",
            Reason.DURATION_TOO_LONG,
            ["7200 seconds", "--role-name deploy --max-session-duration 7200", "spec.durationSeconds"],
            id="longer than the role's maximum",
        ),
        pytest.param(
            own_fails(CHAINING),
            {"durationSeconds": 7200},
            "False",
            Reason.DURATION_TOO_LONG,
            ["come from a role", "3600 or less"],
            id="longer than role chaining allows",
        ),
        pytest.param(
            own_fails(Failure.TAG_SESSION_DENIED),
            {"tagAssumeRole": True},
            "False",
            Reason.TAG_SESSION_DENIED,
            ["`spec.tagAssumeRole` is on", "sts:TagSession"],
            id="tags of ours",
        ),
        pytest.param(
            own_fails(Failure.TAG_SESSION_DENIED),
            {},
            "False",
            Reason.TAG_SESSION_DENIED,
            ["EKS Pod Identity", "sts:TagSession"],
            id="transitive tags of the operator's own session",
        ),
        pytest.param(
            own_fails(Failure.SOURCE_IDENTITY_DENIED),
            {"sourceIdentity": True},
            "False",
            Reason.SOURCE_IDENTITY_DENIED,
            ["`spec.sourceIdentity` is on", "sts:SetSourceIdentity"],
            id="a source identity",
        ),
        pytest.param(
            own_fails(OFF_THERE, OFF_THERE),
            {"region": "ap-east-1"},
            "False",
            Reason.REGION_DISABLED,
            ["ap-east-1", "account 123456789012", "account_settings", "spec.region"],
            id="the endpoint is off in the role's account",
        ),
        pytest.param(
            own_fails(OFF_HERE, OFF_HERE),
            {"region": "ap-east-1"},
            "False",
            Reason.REGION_DISABLED,
            ["operator's own account"],
            id="the region is off in the operator's account",
        ),
        pytest.param(
            own_fails(Failure.INVALID_SESSION_POLICY),
            {"sessionPolicy": POLICY},
            "False",
            Reason.INVALID_SESSION_POLICY,
            ["`spec.sessionPolicy`", "because"],
            id="a malformed session policy",
        ),
        pytest.param(
            own_fails(PACKED),
            {"sessionPolicy": POLICY, "tagAssumeRole": True},
            "False",
            Reason.INVALID_SESSION_POLICY,
            ["too large", "tags", "104%"],
            id="packed too large",
        ),
        pytest.param(
            lambda r: Failure.INVALID_SESSION_POLICY if r.session_policy == POLICY else own_fails(None)(r),
            {"proposed": {"sessionPolicy": POLICY}},
            "False",
            Reason.INVALID_SESSION_POLICY,
            ["`spec.proposed.sessionPolicy`"],
            id="only the one of Proposed Runs",
        ),
        pytest.param(
            own_fails(Failure.INVALID_REQUEST),
            {},
            "False",
            Reason.INVALID_REQUEST,
            ["spec.roleArn", "because"],
            id="a parameter that STS does not take",
        ),
        pytest.param(
            own_fails(Failure.INVALID_REQUEST),
            {"roleArn": "arn:aws-cn:iam::123456789012:role/deploy"},
            "False",
            Reason.INVALID_REQUEST,
            ["partition aws-cn", "in aws"],
            id="a role of another partition",
        ),
        pytest.param(
            own_fails(Failure.NO_IDENTITY), {}, "Unknown", Reason.NO_IDENTITY, ["because"], id="we are nobody"
        ),
        pytest.param(
            own_fails(Failure.RETRYING),
            {},
            "Unknown",
            Reason.RETRYING,
            ["probe Own", "because"],
            id="throttled at the positive probe",
        ),
        pytest.param(
            own_fails(None, Failure.RETRYING),
            {},
            "Unknown",
            Reason.RETRYING,
            ["probe None"],
            id="throttled at a negative probe: not verified",
        ),
        pytest.param(
            own_fails(None, Failure.INVALID_REQUEST),
            {},
            "Unknown",
            Reason.RETRYING,
            ["probe None"],
            id="a negative probe's refusal that is no AccessDenied proves nothing",
        ),
        pytest.param(
            own_fails(None, Failure.TAG_SESSION_DENIED),
            {},
            "False",
            Reason.EXTERNAL_ID_NOT_REQUIRED,
            ["only the permission for sts:TagSession"],
            id="a negative probe that only lacks sts:TagSession was allowed",
        ),
        pytest.param(
            own_fails(Failure.DURATION_TOO_LONG, None),
            {},
            "False",
            Reason.EXTERNAL_ID_NOT_REQUIRED,
            [],
            id="a hole is graver than a duration",
        ),
        pytest.param(
            own_fails(Failure.ACCESS_DENIED, None),
            {},
            "False",
            Reason.ACCESS_DENIED,
            [],
            id="but the role must trust us first",
        ),
        pytest.param(
            lambda r: None if other_namespace(r.external_id) or is_own(r) else Failure.RETRYING,
            {},
            "False",
            Reason.OTHER_EXTERNAL_ID_ACCEPTED,
            [],
            id="a hole that was seen counts, whatever else is unknown",
        ),
    ],
)
async def test_every_reason(
    kit: Any, trust: Trust, spec: dict[str, Any], status: str, reason: str, words: list[str]
) -> None:
    verdict = await verdict_of(kit, trust, **spec)
    assert (verdict.status, verdict.reason) == (status, reason)
    for word in words:
        assert word in verdict.message
    assert len(verdict.message) < 8192
    assert "SECRET" not in verdict.message


@pytest.mark.parametrize(
    ("trust", "status", "reason"),
    [
        pytest.param(accepts(nothing_sent, other_namespace), "True", Reason.VERIFIED, id="whoever else it trusts"),
        pytest.param(own_fails(None, Failure.RETRYING), "True", Reason.VERIFIED, id="whatever is unknown besides"),
        pytest.param(own_fails(Failure.ACCESS_DENIED), "False", Reason.ACCESS_DENIED, id="it is denied"),
        pytest.param(own_fails(Failure.DURATION_TOO_LONG), "False", Reason.DURATION_TOO_LONG, id="it is refused"),
        pytest.param(own_fails(Failure.RETRYING), "Unknown", Reason.RETRYING, id="STS does not answer"),
        pytest.param(own_fails(Failure.NO_IDENTITY), "Unknown", Reason.NO_IDENTITY, id="nobody is who asks"),
    ],
)
async def test_a_pool_asks_only_whether_it_can_assume_the_role(
    kit: Any, trust: Trust, status: str, reason: Reason
) -> None:
    plan, answers, _ = await asked_of(kit, trust)
    verdict = judge_own(ProbeRound(plan, IDENTITY, answers, ""))
    assert (verdict.status, verdict.reason, verdict.at) == (status, reason, answers.at)


async def test_a_denied_role_gets_the_statement_to_paste(kit: Any) -> None:
    verdict = await verdict_of(kit, own_fails(Failure.ACCESS_DENIED), tagAssumeRole=True)
    assert statement_in(verdict.message) == {
        "Effect": "Allow",
        "Principal": {"AWS": PRINCIPAL},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {"StringEquals": {"sts:ExternalId": OWN}},
    }


async def test_denied_tags_get_a_statement_that_works_without_the_external_id(kit: Any) -> None:
    verdict = await verdict_of(kit, own_fails(Failure.TAG_SESSION_DENIED), tagAssumeRole=True)
    assert statement_in(verdict.message) == {
        "Effect": "Allow",
        "Principal": {"AWS": PRINCIPAL},
        "Action": "sts:TagSession",
    }


@pytest.mark.parametrize(("earlier", "told"), [("AROAOLD", True), ("AROAOP", False), ("", False)])
async def test_a_principal_created_anew_is_told(kit: Any, earlier: str, told: bool) -> None:
    verdict = await verdict_of(kit, own_fails(Failure.ACCESS_DENIED), earlier=earlier)
    assert ("was recreated" in verdict.message) is told


async def test_a_principal_whose_path_is_unknown_is_told(kit: Any) -> None:
    identity = Identity(PRINCIPAL, "AROAOP", note="the path is unknown")
    verdict = await verdict_of(kit, own_fails(Failure.ACCESS_DENIED), identity)
    assert "Note: the path is unknown" in verdict.message


async def test_an_unreachable_region_may_be_mistyped(kit: Any) -> None:
    gone = StsError(Failure.RETRYING, "EndpointConnectionError", "STS could not be reached")
    verdict = await verdict_of(kit, own_fails(gone), region="eu-wset-1")
    assert "Is `eu-wset-1` in `spec.region` right?" in verdict.message


@pytest.mark.parametrize(
    ("own", "calls"),
    [
        (Failure.ACCESS_DENIED, 1),
        (Failure.DENIED_ELSEWHERE, 1),
        (Failure.RETRYING, 1),
        (Failure.NO_IDENTITY, 1),
        (Failure.REGION_DISABLED, 1),
        (Failure.INVALID_REQUEST, 1),
        (Failure.DURATION_TOO_LONG, 4),
        (Failure.TAG_SESSION_DENIED, 4),
        (Failure.SOURCE_IDENTITY_DENIED, 4),
        (Failure.INVALID_SESSION_POLICY, 4),
        pytest.param(None, 2 + 3 + 16 + 2, id="all, with every spelling and Own once more"),
    ],
)
async def test_negatives_are_asked_only_where_they_can_prove_something(
    kit: Any, own: Failure | None, calls: int
) -> None:
    _, answers, requests = await asked_of(kit, own_fails(own), proposed={})
    assert len(requests) == calls
    assert len(answers.results) == 5
    assert is_own(requests[0])
    if calls == 1:
        assert [(r.answer, r.request_id) for r in answers.negatives] == [(ProbeAnswer.UNKNOWN, None)] * 4


async def test_a_role_that_stops_trusting_us_meanwhile_has_denied_for_that(kit: Any) -> None:
    """Without a last look at Own, a role that was deleted in between would count as one that lets nobody else in."""
    owns = iter([None, Failure.ACCESS_DENIED])
    verdict = await verdict_of(kit, lambda request: next(owns) if is_own(request) else Failure.ACCESS_DENIED)
    assert (verdict.status, verdict.reason) == ("False", Reason.ACCESS_DENIED)


async def test_results_are_told_by_sts_request_ids_and_hold_no_credentials(kit: Any) -> None:
    _, answers, _ = await asked_of(kit, accepts(nothing_sent))
    assert [(str(r.probe), str(r.answer), r.request_id) for r in answers.results] == [
        ("Own", "Allowed", "req-1"),
        ("None", "Allowed", "req-2"),
        ("Sibling", "Denied", "req-3"),
        ("OtherInstallation", "Denied", "req-4"),
        ("Spelling", "Unknown", None),
    ]
    assert "SECRET" not in repr(answers)
    assert "ASIAPROBE" not in repr(answers)


async def test_without_an_identity_nothing_is_asked(kit: Any) -> None:
    plan = plan_of(kit.integration(), "demo")
    assert plan is not None
    failure = StsError(Failure.NO_IDENTITY, "NoCredentialsError", "the operator has no AWS credentials")
    answers = without_identity(plan, failure, kit.clock())
    verdict = judge(ProbeRound(plan, Identity(failure=failure), answers))
    assert (verdict.status, verdict.reason) == ("Unknown", Reason.NO_IDENTITY)
    assert "has no AWS credentials" in verdict.message


async def test_urgency_is_looked_at_before_every_call(kit: Any) -> None:
    plan = plan_of(kit.integration(), "demo")
    assert plan is not None
    sts = kit.sts()
    answers = iter([False, True, True, False, True, False])
    await Prober(sts, plan, "team", lambda: next(answers), kit.clock).ask([0])
    assert sts.urgent == [False, True, True, False, True, False]


def test_every_refusal_has_a_meaning_and_every_denial_a_reason_why_it_hides_nothing() -> None:
    assert set(MEANINGS) == set(Failure)
    for meaning in MEANINGS.values():
        assert meaning.causes
        assert all(cause.what and cause.why for cause in meaning.causes)


# The forms, and what only one of them finds


BY_IDENTITY = StsError(
    Failure.DENIED_ELSEWHERE,
    "AccessDenied",
    f"User: {PRINCIPAL} is not authorized to perform: sts:AssumeRole because no identity-based policy allows the "
    "sts:AssumeRole action",
)


async def test_a_denial_by_our_own_policy_is_no_denial_by_the_role(kit: Any) -> None:
    verdict = await verdict_of(kit, own_fails(None, BY_IDENTITY))
    assert (verdict.status, verdict.reason) == ("Unknown", Reason.RETRYING)
    assert "denied by the identity-based policy of the operator's side" in verdict.message


async def test_a_role_that_our_own_policy_does_not_allow_is_denied(kit: Any) -> None:
    verdict = await verdict_of(kit, own_fails(BY_IDENTITY))
    assert (verdict.status, verdict.reason) == ("False", Reason.ACCESS_DENIED)
    assert "the identity-based policy denies it" in verdict.message


@pytest.mark.parametrize(
    "word", ["sts:RoleSessionName", "aws:RequestTag", "sts:SourceIdentity", "MultiFactor", "SourceIp", "PrincipalOrgID"]
)
async def test_a_denied_role_is_told_what_else_its_policy_may_ask_for(kit: Any, word: str) -> None:
    assert word in (await verdict_of(kit, own_fails(Failure.ACCESS_DENIED))).message
