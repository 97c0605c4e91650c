"""What a round of probes means: the reason and message of condition `TrustVerified`. Pure.

The checks run in the order of the reasons; the first that finds something wins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from spacelift_aws.api.awsintegration import ProbeAnswer, ProbeName
from spacelift_aws.api.meta import ConditionStatus
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws.errors import Failure
from spacelift_aws.aws.identity import Identity
from spacelift_aws.aws.policies import SET_SOURCE_IDENTITY, TAG_SESSION
from spacelift_aws.controllers.awsintegration import messages
from spacelift_aws.controllers.awsintegration.probes import ProbeResult, Round
from spacelift_aws.controllers.awsintegration.question import TrustQuestion


@dataclass(frozen=True)
class Verdict:
    """What condition `TrustVerified` says, and when that was found."""

    status: ConditionStatus
    reason: str
    message: str
    at: datetime

    @property
    def is_good(self) -> bool:
        """Whether the trust is verified."""
        return self.status == "True"


@dataclass(frozen=True)
class Evidence:
    """All that a round is judged by. `earlier_principal_id` is the operator's unique ID of the last verification."""

    round: Round
    question: TrustQuestion
    identity: Identity
    earlier_principal_id: str | None = None

    def own_failed_as(self, kind: Failure) -> bool:
        failure = self.round.own.failure
        return failure is not None and failure.kind is kind


Finding = tuple[ConditionStatus, str, str]


def judge(evidence: Evidence) -> Verdict:
    """The verdict of one round by itself, whatever earlier ones said."""
    for check in _CHECKS:
        if (finding := check(evidence)) is not None:
            return Verdict(*finding, evidence.round.at)
    return Verdict("True", Reason.VERIFIED, messages.VERIFIED, evidence.round.at)


def judge_own(evidence: Evidence) -> Verdict:
    """The verdict of one round where only the positive probe decides: by a tenant's identity on the tenant's role."""
    for check in (_access_denied, _refused_for_what_only_own_carries):
        if (finding := check(evidence)) is not None:
            return Verdict(*finding, evidence.round.at)
    unknown = _nothing_learnt(evidence) if evidence.round.own.answer is ProbeAnswer.UNKNOWN else None
    if unknown is not None:
        return Verdict(*unknown, evidence.round.at)
    return Verdict("True", Reason.VERIFIED, messages.VERIFIED_BY_POOL, evidence.round.at)


def _access_denied(evidence: Evidence) -> Finding | None:
    if not evidence.own_failed_as(Failure.ACCESS_DENIED):
        return None
    text = messages.access_denied(evidence.question, evidence.identity, evidence.earlier_principal_id)
    return "False", Reason.ACCESS_DENIED, text


def _external_id_not_required(evidence: Evidence) -> Finding | None:
    allowed = _allowed(evidence, ProbeName.NONE)
    if not allowed:
        return None
    text = messages.external_id_not_required(evidence.question, evidence.identity, allowed[0])
    return "False", Reason.EXTERNAL_ID_NOT_REQUIRED, text


def _other_external_id_accepted(evidence: Evidence) -> Finding | None:
    allowed = _allowed(evidence, ProbeName.SIBLING, ProbeName.OTHER_INSTALLATION)
    if not allowed:
        return None
    text = messages.other_external_id_accepted(evidence.question, evidence.identity, allowed)
    return "False", Reason.OTHER_EXTERNAL_ID_ACCEPTED, text


def _refused_for_what_only_own_carries(evidence: Evidence) -> Finding | None:
    own = evidence.round.own
    if own.failure is None:
        return None
    question, failure = evidence.question, own.failure
    match failure.kind:
        case Failure.DURATION_TOO_LONG:
            return "False", Reason.DURATION_TOO_LONG, messages.duration_too_long(question, failure)
        case Failure.TAG_SESSION_DENIED:
            text = messages.session_action_denied(question, evidence.identity, TAG_SESSION)
            return "False", Reason.TAG_SESSION_DENIED, text
        case Failure.SOURCE_IDENTITY_DENIED:
            text = messages.session_action_denied(question, evidence.identity, SET_SOURCE_IDENTITY)
            return "False", Reason.SOURCE_IDENTITY_DENIED, text
        case Failure.REGION_DISABLED:
            return "False", Reason.REGION_DISABLED, messages.region_disabled(question, failure)
        case Failure.INVALID_SESSION_POLICY:
            text = messages.invalid_session_policy(question, failure, proposed=own.proposed)
            return "False", Reason.INVALID_SESSION_POLICY, text
        case Failure.INVALID_REQUEST:
            return "False", Reason.INVALID_REQUEST, messages.invalid_request(question, evidence.identity, failure)
        case _:
            return None


def _nothing_learnt(evidence: Evidence) -> Finding | None:
    unknown = [result for result in evidence.round.results if result.answer is ProbeAnswer.UNKNOWN]
    if not unknown:
        return None
    for result in unknown:
        if result.failure is not None and result.failure.kind is Failure.NO_IDENTITY:
            return "Unknown", Reason.NO_IDENTITY, messages.no_identity(result.failure)
    return "Unknown", Reason.RETRYING, messages.retrying(evidence.question, unknown[0])


_CHECKS: Final[tuple[Callable[[Evidence], Finding | None], ...]] = (
    _access_denied,
    _external_id_not_required,
    _other_external_id_accepted,
    _refused_for_what_only_own_carries,
    _nothing_learnt,
)


def _allowed(evidence: Evidence, *probes: ProbeName) -> list[ProbeResult]:
    return [r for r in evidence.round.negatives if r.probe in probes and r.answer is ProbeAnswer.ALLOWED]
