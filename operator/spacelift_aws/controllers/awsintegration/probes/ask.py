"""Asks STS the probes of one integration, one call after the other.

1. Own. The negative ones follow only where it reached the role's trust policy: after a denied `sts:AssumeRole` a denial
   of theirs would prove nothing. They do follow where Own fails for what only it carries (duration, tags, source
   identity, session policies), for then they can show a hole, and a hole is the graver finding; but bare only.
2. None, Sibling, OtherInstallation, each in both forms; once allowed, a question is answered.
3. Spelling, where all of these were answered as they should be.
4. Own once more: only a role that trusts us before and after has denied the others for their external IDs.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from spacelift_aws.api.awsintegration import ProbeAnswer, ProbeForm, ProbeName
from spacelift_aws.aws.errors import StsError
from spacelift_aws.aws.sts import AssumeRoleRequest, Session
from spacelift_aws.controllers.awsintegration.probes import none, other_installation, own, sibling, spelling
from spacelift_aws.controllers.awsintegration.probes.answers import (
    Answers,
    ProbeResult,
    answer_of_negative,
    answer_of_own,
    worst,
)
from spacelift_aws.controllers.awsintegration.probes.call import ProbeCall
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan

_NEGATIVES = (none, sibling, other_installation)


class ProbingSts(Protocol):
    """STS as far as probes need it. Raises StsError."""

    async def probe(self, request: AssumeRoleRequest, tenant: str, *, urgent: bool = False) -> Session: ...
    async def probe_if_idle(self, request: AssumeRoleRequest, tenant: str) -> Session | None: ...


class Prober:
    """Asks on behalf of one tenant. `urgent` is looked at before every call."""

    def __init__(
        self, sts: ProbingSts, plan: ProbePlan, tenant: str, urgent: Callable[[], bool], now: Callable[[], datetime]
    ) -> None:
        self._sts = sts
        self._plan = plan
        self._tenant = tenant
        self._urgent = urgent
        self._now = now
        self._only_if_idle = False

    async def ask(self, positions: Iterable[int]) -> Answers:
        """One round; raises nothing that STS does. `positions`: the places that Spelling looks at."""
        first = await self._own()
        if first.failure is not None and first.failure.kind in own.HIDES_THE_REST:
            return unasked(self._plan, first)
        is_allowed = first.answer is ProbeAnswer.ALLOWED
        # What is refused to Own would be refused to a Run's form too, whatever its external ID.
        forms = self._plan.forms if is_allowed else (ProbeForm.BARE,)
        questions = [[call for call in one.calls(self._plan) if call.form in forms] for one in _NEGATIVES]
        negatives = [await self._question(calls) for calls in questions]
        if not is_allowed or any(r.answer is not ProbeAnswer.DENIED for r in negatives):
            return Answers(first, (*negatives, self._unasked(ProbeName.SPELLING)), self._now())
        negatives.append(await self.spell(positions))
        last = await self._own() if negatives[-1].answer is ProbeAnswer.DENIED else first
        return Answers(last if last.answer is not ProbeAnswer.ALLOWED else first, tuple(negatives), self._now())

    async def spell_if_idle(self, position: int) -> ProbeResult:
        """Ask Spelling at one place between two rounds; unknown where others want to ask."""
        self._only_if_idle = True
        return await self.spell([position])

    async def spell(self, positions: Iterable[int]) -> ProbeResult:
        """Ask Spelling at these places until one is let in or unknown; at least one."""
        result: ProbeResult | None = None
        any_name = False
        for position in positions:
            in_name = spelling.is_in_name(self._plan, position)
            if in_name and any_name:
                continue
            answer = await self._question(spelling.calls(self._plan, position))
            if in_name and answer.answer is ProbeAnswer.ALLOWED:
                longer = await self._question(spelling.any_name_calls(self._plan))
                any_name = longer.answer is ProbeAnswer.ALLOWED
                if any_name:
                    continue
                answer = longer if longer.answer is ProbeAnswer.UNKNOWN else answer
            result = answer
            if result.answer is not ProbeAnswer.DENIED:
                break
        # Where only places in the name were asked and any name is let in, nothing stands in the way.
        return result or ProbeResult(ProbeName.SPELLING, ProbeAnswer.DENIED, self._now())

    async def _own(self) -> ProbeResult:
        """The first positive call that fails, else the first."""
        results = []
        for call in own.calls(self._plan):
            results.append(await self._call(call))
            if results[-1].answer is not ProbeAnswer.ALLOWED:
                return results[-1]
        return results[0]

    async def _question(self, calls: Iterable[ProbeCall]) -> ProbeResult:
        """The worst answer to a negative question; the other form is not sent once one was allowed."""
        results = []
        for call in calls:
            results.append(await self._call(call))
            if results[-1].answer is ProbeAnswer.ALLOWED:
                break
        return worst(results)

    async def _call(self, call: ProbeCall) -> ProbeResult:
        failure: StsError | None = None
        try:
            # The session is dropped where it stands: nothing of it is kept but the request's ID.
            request = call.request(self._plan, self._now())
            session = await self._send(request)
            request_id = session.request_id if session else None
            answer = ProbeAnswer.ALLOWED if session else ProbeAnswer.UNKNOWN
        except StsError as error:
            failure, request_id = error, error.request_id
            answer = (answer_of_own if call.probe is ProbeName.OWN else answer_of_negative)(error)
        return ProbeResult(
            call.probe, answer, self._now(), request_id, failure, call.form, call.position, call.proposed
        )

    async def _send(self, request: AssumeRoleRequest) -> Session | None:
        if self._only_if_idle:
            return await self._sts.probe_if_idle(request, self._tenant)
        return await self._sts.probe(request, self._tenant, urgent=self._urgent())

    def _unasked(self, probe: ProbeName) -> ProbeResult:
        return ProbeResult(probe, ProbeAnswer.UNKNOWN, self._now())


def unasked(plan: ProbePlan, first: ProbeResult) -> Answers:
    """The answers of a round whose positive probe leaves nothing to ask."""
    names = (ProbeName.NONE, ProbeName.SIBLING, ProbeName.OTHER_INSTALLATION, ProbeName.SPELLING)
    return Answers(first, tuple(ProbeResult(name, ProbeAnswer.UNKNOWN, first.at) for name in names), first.at)


def without_identity(plan: ProbePlan, failure: StsError, at: datetime) -> Answers:
    """The answers to an operator that has no identity to ask with."""
    return unasked(plan, ProbeResult(ProbeName.OWN, ProbeAnswer.UNKNOWN, at, failure=failure))
