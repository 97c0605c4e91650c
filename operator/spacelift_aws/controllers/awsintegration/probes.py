"""Asks STS the four probes of one integration, the positive one first.

The negative ones follow only where the positive one reached the role's trust policy: after a denied `sts:AssumeRole`
a denial of theirs would prove nothing, as the same cause may hide an open trust. They do follow when the positive probe
fails for what only it carries (duration, tags, source identity, session policies), for then they can show a hole, and a
hole is the graver finding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from spacelift_aws.api.awsintegration import ProbeAnswer, ProbeName
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.sts import AssumeRoleRequest, Session
from spacelift_aws.controllers.awsintegration.question import ProbeCall, TrustQuestion, negative_calls, own_calls

_HIDES_THE_REST = frozenset(
    {
        Failure.ACCESS_DENIED,
        Failure.REGION_DISABLED,
        Failure.INVALID_REQUEST,
        Failure.NO_IDENTITY,
        Failure.RETRYING,
    }
)


@dataclass(frozen=True)
class ProbeResult:
    """One probe's answer. `failure` is STS's refusal; a probe that was not asked has none, and no request ID."""

    probe: ProbeName
    answer: ProbeAnswer
    at: datetime
    request_id: str | None = None
    failure: StsError | None = None
    proposed: bool = False


@dataclass(frozen=True)
class Round:
    """All that one verification learnt. `own` is decisive: the first positive call that failed, else the last."""

    own: ProbeResult
    negatives: tuple[ProbeResult, ...]
    at: datetime

    @property
    def results(self) -> tuple[ProbeResult, ...]:
        """One result a probe, in the order in which they are shown."""
        return (self.own, *self.negatives)


class ProbingSts(Protocol):
    """STS as far as probes need it. Raises StsError."""

    async def probe(self, request: AssumeRoleRequest, tenant: str, *, urgent: bool = False) -> Session: ...


async def ask(
    sts: ProbingSts, question: TrustQuestion, tenant: str, urgent: Callable[[], bool], now: Callable[[], datetime]
) -> Round:
    """Ask STS; raises nothing that STS does. `urgent` is looked at before every call."""
    own: ProbeResult | None = None
    for call in own_calls(question):
        own = await _ask_one(sts, call, tenant, urgent, now)
        if own.answer is not ProbeAnswer.ALLOWED:
            break
    assert own is not None  # noqa: S101 - there is always one positive call
    if own.failure is not None and own.failure.kind in _HIDES_THE_REST:
        negatives = tuple(ProbeResult(call.probe, ProbeAnswer.UNKNOWN, own.at) for call in negative_calls(question))
    else:
        negatives = tuple([await _ask_one(sts, call, tenant, urgent, now) for call in negative_calls(question)])
    return Round(own, negatives, now())


def unasked(question: TrustQuestion, failure: StsError, at: datetime) -> Round:
    """The round of an operator that has no identity to ask with."""
    own = ProbeResult(ProbeName.OWN, ProbeAnswer.UNKNOWN, at, failure=failure)
    return Round(own, tuple(ProbeResult(call.probe, ProbeAnswer.UNKNOWN, at) for call in negative_calls(question)), at)


async def _ask_one(
    sts: ProbingSts, call: ProbeCall, tenant: str, urgent: Callable[[], bool], now: Callable[[], datetime]
) -> ProbeResult:
    try:
        # The session is dropped where it stands: nothing of it is kept but the request's ID.
        request_id = (await sts.probe(call.request, tenant, urgent=urgent())).request_id
    except StsError as error:
        answer = _answer_of_own(error) if call.probe is ProbeName.OWN else _answer_of_negative(error)
        return ProbeResult(call.probe, answer, now(), error.request_id, error, call.proposed)
    return ProbeResult(call.probe, ProbeAnswer.ALLOWED, now(), request_id, None, call.proposed)


def _answer_of_own(error: StsError) -> ProbeAnswer:
    return ProbeAnswer.UNKNOWN if error.kind.is_ours else ProbeAnswer.DENIED


def _answer_of_negative(error: StsError) -> ProbeAnswer:
    """Only `AccessDenied` for `sts:AssumeRole` itself is a denial.

    These probes ask for no tags and no source identity. If STS misses just the permission for those, which the
    operator's own session then passes on, `sts:AssumeRole` was allowed.
    """
    if error.kind is Failure.ACCESS_DENIED:
        return ProbeAnswer.DENIED
    if error.kind in (Failure.TAG_SESSION_DENIED, Failure.SOURCE_IDENTITY_DENIED):
        return ProbeAnswer.ALLOWED
    return ProbeAnswer.UNKNOWN
