"""Trust that lets others in, if only in one way: it is found."""

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.iam import matches
from spacelift_aws.api.awsintegration import ProbeAnswer
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.sts import AssumeRoleRequest

from .asking import (
    OWN,
    Trust,
    asked_of,
    is_own,
    nothing_sent,
    other_installation,
    other_namespace,
    statement_in,
    verdict_of,
)


def as_run(request: AssumeRoleRequest) -> bool:
    return bool(request.tags or request.source_identity)


@pytest.mark.parametrize("spec", [{"tagAssumeRole": True}, {"sourceIdentity": True}])
@pytest.mark.parametrize(
    ("open_to", "reason"),
    [
        (nothing_sent, Reason.EXTERNAL_ID_NOT_REQUIRED),
        (other_namespace, Reason.OTHER_EXTERNAL_ID_ACCEPTED),
        (other_installation, Reason.OTHER_EXTERNAL_ID_ACCEPTED),
    ],
)
async def test_a_hole_for_runs_alone_is_found(
    kit: Any, spec: dict[str, Any], open_to: Callable[[str | None], bool], reason: Reason
) -> None:
    verdict = await verdict_of(
        kit,
        lambda r: None if is_own(r) or (as_run(r) and open_to(r.external_id)) else Failure.ACCESS_DENIED,
        **spec,
    )
    assert (verdict.status, verdict.reason) == ("False", reason)
    assert "that a Run from there would send" in verdict.message
    assert verdict.message.endswith("}}}")


async def test_a_hole_for_bare_calls_alone_is_found(kit: Any) -> None:
    verdict = await verdict_of(
        kit,
        lambda r: None if is_own(r) or (not as_run(r) and nothing_sent(r.external_id)) else Failure.ACCESS_DENIED,
        tagAssumeRole=True,
    )
    assert verdict.reason == Reason.EXTERNAL_ID_NOT_REQUIRED
    assert "a Run from there" not in verdict.message


async def test_the_worse_answer_counts(kit: Any) -> None:
    def trust(request: AssumeRoleRequest) -> Failure | StsError | None:
        if is_own(request):
            return None
        return Failure.RETRYING if as_run(request) else Failure.ACCESS_DENIED

    _, answers, _ = await asked_of(kit, trust, tagAssumeRole=True)
    assert [(str(r.answer), str(r.form)) for r in answers.negatives[:3]] == [("Unknown", "Run")] * 3


# Spelling


def patterns(*texts: str) -> Trust:
    """`StringLike` on the external ID."""
    return lambda request: (
        None
        if request.external_id is not None and any(matches(request.external_id, text) for text in texts)
        else Failure.ACCESS_DENIED
    )


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("demo@tea?@deploy", "character 9, `m`"),
        ("demo@????@deploy", "character 6, `t`"),
        ("dem?@team@deploy", "character 4, `o`"),
        ("????@team@deploy", "character 1, `d`"),
        ("d?mo@team@deploy", "character 2, `e`"),
        ("demo@t?am@deploy", "character 7, `e`"),
        ("demo@team@dep?oy", "character 14, `l`"),
        ("demo@team@??????", "character 11, `d`"),
        ("demo?team@deploy", "character 5, `@`"),
    ],
)
async def test_a_question_mark_is_found_wherever_it_stands(kit: Any, pattern: str, place: str) -> None:
    verdict = await verdict_of(kit, patterns(pattern))
    assert (verdict.status, verdict.reason) == ("False", Reason.OTHER_EXTERNAL_ID_ACCEPTED)
    assert place in verdict.message
    assert statement_in(verdict.message)["Condition"] == {"StringEquals": {"sts:ExternalId": OWN}}
    assert verdict.message.endswith("}}}")


@pytest.mark.parametrize("pattern", ["demo@team@*", "demo@team@dep*", "demo@team@*loy", "demo@team@d*y", OWN])
async def test_a_pattern_for_ones_own_namespace_is_fine(kit: Any, pattern: str) -> None:
    _, answers, requests = await asked_of(kit, patterns(pattern))
    assert (await verdict_of(kit, patterns(pattern))).is_good
    assert answers.negatives[-1].answer is ProbeAnswer.DENIED
    assert len(requests) <= 2 + 3 + 16 + 1


async def test_whether_any_name_is_let_in_may_be_unknown(kit: Any) -> None:
    def trust(request: AssumeRoleRequest) -> Failure | StsError | None:
        return Failure.RETRYING if "deploy+" in (request.external_id or "") else patterns("demo@team@*")(request)

    verdict = await verdict_of(kit, trust)
    assert (verdict.status, verdict.reason) == ("Unknown", Reason.RETRYING)


# What a denial does not prove
