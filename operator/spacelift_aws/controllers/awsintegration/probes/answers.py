"""What STS's answer to a probe proves. Pure.

A negative probe is meant to be denied, and a denial has many causes. `MEANINGS` names them all, and why none of them
hides a role that is open. Where one would, the answer is Unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from spacelift_aws.api.awsintegration import ProbeAnswer, ProbeForm, ProbeName
from spacelift_aws.api.meta import ConditionStatus
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan

Finding = tuple[ConditionStatus, str, str]
"""Status, reason and message of condition `TrustVerified`."""


@dataclass(frozen=True)
class ProbeResult:
    """One answer. `failure` is STS's refusal; a probe that was not asked has none, and no request ID."""

    probe: ProbeName
    answer: ProbeAnswer
    at: datetime
    request_id: str | None = None
    failure: StsError | None = None
    form: ProbeForm | None = None
    position: int | None = None
    """Which character of the external ID was replaced, from 0."""
    proposed: bool = False
    """Whether it is the positive probe for Runs of type `Proposed`."""


@dataclass(frozen=True)
class Answers:
    """What STS said in one round.

    `own` is decisive: the first positive call that failed, else the first. The negative results are one a question.
    """

    own: ProbeResult
    negatives: tuple[ProbeResult, ...]
    at: datetime

    @property
    def results(self) -> tuple[ProbeResult, ...]:
        """One result a question, in the order in which they are shown."""
        return (self.own, *self.negatives)

    def of(self, probe: ProbeName) -> ProbeResult | None:
        """The result of one question."""
        return next((result for result in self.results if result.probe is probe), None)


@dataclass(frozen=True)
class ProbeRound:
    """All that a round is judged by. `earlier_principal_id` is the operator's unique ID of the last verification."""

    plan: ProbePlan
    identity: Identity
    answers: Answers
    earlier_principal_id: str | None = None

    @property
    def own(self) -> ProbeResult:
        """The positive probe's decisive result."""
        return self.answers.own

    def own_failed_as(self, kind: Failure) -> bool:
        """Whether the positive probe failed for this."""
        return self.own.failure is not None and self.own.failure.kind is kind

    def allowed(self, probe: ProbeName) -> ProbeResult | None:
        """The result of a negative probe that was allowed."""
        result = self.answers.of(probe)
        return result if result is not None and result.answer is ProbeAnswer.ALLOWED else None


@dataclass(frozen=True)
class Cause:
    """Why STS may have given this answer, and why the answer still means what it is taken for."""

    what: str
    why: str


@dataclass(frozen=True)
class ProofOf:
    """What a refusal of a negative probe is taken for, and all the causes that it can have."""

    answer: ProbeAnswer
    causes: tuple[Cause, ...]


_UNKNOWN = ProbeAnswer.UNKNOWN

MEANINGS: Final[dict[Failure, ProofOf]] = {
    Failure.ACCESS_DENIED: ProofOf(
        ProbeAnswer.DENIED,
        (
            Cause("the trust policy asks for another external ID", "this is what the probe is to find"),
            Cause(
                "the trust policy asks for something besides: tags, a source identity, a form of the session's name",
                "the probe is repeated with all that a Run from there would send, under a name of a run ID's form",
            ),
            Cause("a policy denies calls with tags or with a source identity", "the probe's bare form carries neither"),
            Cause(
                "the role is gone, or trusts nobody at the moment",
                "Own, under the same identity, is allowed before the negative probes and again after them",
            ),
            Cause(
                "the caller's address, time, MFA or organization are not those asked for",
                "they are the same for Own, which is allowed; what nobody here meets, no Run from here meets either",
            ),
            Cause(
                "a resource control policy of the role's organization denies",
                "it holds for everybody who asks for this role",
            ),
        ),
    ),
    Failure.DENIED_ELSEWHERE: ProofOf(
        _UNKNOWN,
        (
            Cause(
                "the caller's own policy, its boundary, its session's, its organization's or an endpoint's denies",
                "then nobody knows what the role's trust policy would say to others who are not bound by that policy",
            ),
        ),
    ),
    Failure.TAG_SESSION_DENIED: ProofOf(
        ProbeAnswer.ALLOWED,
        (
            Cause(
                "only the permission to tag is missing",
                "STS names `sts:AssumeRole` before it: the role itself would have been given",
            ),
        ),
    ),
    Failure.SOURCE_IDENTITY_DENIED: ProofOf(
        ProbeAnswer.ALLOWED,
        (
            Cause(
                "only the permission to set a source identity is missing",
                "STS names `sts:AssumeRole` before it: the role itself would have been given",
            ),
        ),
    ),
    Failure.DURATION_TOO_LONG: ProofOf(
        _UNKNOWN, (Cause("the session would be too long", "STS may look at that before the trust policy"),)
    ),
    Failure.REGION_DISABLED: ProofOf(
        _UNKNOWN, (Cause("the endpoint is off in one of the accounts", "no trust policy was looked at"),)
    ),
    Failure.INVALID_SESSION_POLICY: ProofOf(
        _UNKNOWN, (Cause("the probe's session policy is refused", "STS may look at that before the trust policy"),)
    ),
    Failure.INVALID_REQUEST: ProofOf(
        _UNKNOWN, (Cause("a parameter is refused", "STS looks at that before the trust policy"),)
    ),
    Failure.NO_IDENTITY: ProofOf(
        _UNKNOWN, (Cause("the operator's own credentials are refused", "no trust policy was looked at"),)
    ),
    Failure.RETRYING: ProofOf(
        _UNKNOWN, (Cause("throttled, timed out, unreachable, or not understood", "no answer is no denial"),)
    ),
}

_WORST_FIRST: Final = (ProbeAnswer.ALLOWED, ProbeAnswer.UNKNOWN, ProbeAnswer.DENIED)


def answer_of_own(error: StsError) -> ProbeAnswer:
    """What a refusal means for the probe that should be allowed."""
    return ProbeAnswer.UNKNOWN if error.kind.is_ours else ProbeAnswer.DENIED


def answer_of_negative(error: StsError) -> ProbeAnswer:
    """What a refusal means for a probe that should be denied."""
    return MEANINGS[error.kind].answer


def worst(results: Iterable[ProbeResult]) -> ProbeResult:
    """The worst of a negative probe's answers; of equals the first. There is at least one."""
    return min(results, key=lambda result: _WORST_FIRST.index(result.answer))
