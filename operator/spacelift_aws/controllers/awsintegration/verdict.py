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
from spacelift_aws.controllers.awsintegration import messages
from spacelift_aws.controllers.awsintegration.probes import none, other_installation, own, sibling, spelling
from spacelift_aws.controllers.awsintegration.probes.answers import Finding, ProbeRound

_OTHERS: Final = (
    (ProbeName.SIBLING, sibling.accepted),
    (ProbeName.OTHER_INSTALLATION, other_installation.accepted),
    (ProbeName.SPELLING, spelling.accepted),
)


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


def judge(round: ProbeRound) -> Verdict:
    """The verdict of one round by itself, whatever earlier ones said."""
    for check in _CHECKS:
        if (finding := check(round)) is not None:
            return Verdict(*finding, round.answers.at)
    return Verdict("True", Reason.VERIFIED, messages.VERIFIED, round.answers.at)


def judge_own(round: ProbeRound) -> Verdict:
    """The verdict of one round where only the positive probe decides: by a tenant's identity on the tenant's role."""
    for check in (own.denied, own.refused):
        if (finding := check(round)) is not None:
            return Verdict(*finding, round.answers.at)
    unknown = _inconclusive(round) if round.own.answer is ProbeAnswer.UNKNOWN else None
    if unknown is not None:
        return Verdict(*unknown, round.answers.at)
    return Verdict("True", Reason.VERIFIED, messages.VERIFIED_BY_POOL, round.answers.at)


def _other_external_id_accepted(round: ProbeRound) -> Finding | None:
    accepted = [
        (who, result)
        for probe, whose in _OTHERS
        if (who := whose(round)) is not None and (result := round.allowed(probe)) is not None
    ]
    if not accepted:
        return None
    text = messages.other_external_id_accepted(round.plan, round.identity, accepted)
    return "False", Reason.OTHER_EXTERNAL_ID_ACCEPTED, text


def _inconclusive(round: ProbeRound) -> Finding | None:
    unknown = [result for result in round.answers.results if result.answer is ProbeAnswer.UNKNOWN]
    if not unknown:
        return None
    for result in unknown:
        if result.failure is not None and result.failure.kind is Failure.NO_IDENTITY:
            return "Unknown", Reason.NO_IDENTITY, messages.no_identity(result.failure)
    return "Unknown", Reason.RETRYING, messages.retrying(round.plan, unknown[0])


_CHECKS: Final[tuple[Callable[[ProbeRound], Finding | None], ...]] = (
    own.denied,
    none.finding,
    _other_external_id_accepted,
    own.refused,
    _inconclusive,
)
