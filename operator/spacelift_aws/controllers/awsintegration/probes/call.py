"""One call of a probe, in one of two forms. Pure.

*Bare*: no tags, no source identity. A denied `sts:TagSession` could hide an open `sts:AssumeRole`.
*Run*: what a Run from that place would send. A trust policy may ask for tags beside a wildcard.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from spacelift_aws.api.awsintegration import ProbeForm, ProbeName
from spacelift_aws.aws import policies
from spacelift_aws.aws.arns import partition_of
from spacelift_aws.aws.sts import AssumeRoleRequest
from spacelift_aws.controllers.awsintegration.probes.plan import NO_POLICIES, ProbePlan, RunPolicies, session_tags
from spacelift_aws.controllers.awsintegration.tags import probed_tags
from spacelift_aws.names import crockford

PROBE_MARK: Final = "PR0BEPR0BE"
"""Ends the session name of every probe. A run ID ends so with a chance of one in 2^50."""

BARE_DURATION: Final = 900
"""Seconds: the shortest session that STS gives, for probes that should get none."""

_CODES: Final = {
    ProbeName.OWN: "0WN",
    ProbeName.NONE: "N0N",
    ProbeName.SIBLING: "S1B",
    ProbeName.OTHER_INSTALLATION: "0TH",
    ProbeName.SPELLING: "SPE",
}
_FORM_CODES: Final = {ProbeForm.BARE: "B", ProbeForm.RUN: "R"}


@dataclass(frozen=True)
class ProbeCall:
    """One call: the external ID that is sent, and the namespace of the Run that would send it."""

    probe: ProbeName
    form: ProbeForm
    external_id: str | None
    space: str
    position: int | None = None
    """Which character of the integration's external ID was replaced, from 0."""
    policies: RunPolicies = NO_POLICIES
    """Those of the Runs that the positive probe stands for."""
    proposed: bool = False
    """Whether those are Runs of type `Proposed`."""

    def request(self, plan: ProbePlan, at: datetime) -> AssumeRoleRequest:
        """What is sent to STS. Its session could do nothing at all."""
        as_run = self.form is ProbeForm.RUN
        name = probe_session_name(self, at)
        inline, arns = self._powerless(plan)
        return AssumeRoleRequest(
            role_arn=plan.role_arn,
            session_name=name,
            external_id=self.external_id,
            duration_seconds=plan.duration_seconds if as_run else BARE_DURATION,
            region=plan.region,
            tags=run_tags(plan, name, self.space) if as_run else (),
            source_identity=name if as_run and plan.source_identity else None,
            session_policy=inline,
            session_policy_arns=arns,
        )

    def _powerless(self, plan: ProbePlan) -> tuple[str, tuple[str, ...]]:
        """An explicit deny wins wherever it stands: inline where that place is free, else beside the user's."""
        inline, arns = self.policies.inline, self.policies.arns
        if inline is None:
            return policies.deny_all(), arns
        return inline, (*arns, policies.deny_all_arn(partition_of(plan.role_arn)))


def probe_session_name(call: ProbeCall, at: datetime) -> str:
    """A name of a run ID's form, so that no trust policy tells a probe from a Run: a ULID that ends with the mark.

    Ten characters of time, three that say which probe, one for its form, two for the position.
    """
    milliseconds = int(at.astimezone(UTC).timestamp() * 1000)
    position = crockford(call.position or 0, 2)
    return f"{crockford(milliseconds, 10)}{_CODES[call.probe]}{_FORM_CODES[call.form]}{position}{PROBE_MARK}"


def run_tags(plan: ProbePlan, session_name: str, space: str) -> tuple[tuple[str, str], ...]:
    """The tags that a Run in namespace `space` would carry; what only a Run knows is the session's name."""
    if not plan.tagged:
        return ()
    return (*session_tags(session_name, plan.stack, space), *probed_tags(plan.tags, session_name))


def in_all_forms(
    plan: ProbePlan, probe: ProbeName, external_id: str | None, space: str, position: int | None = None
) -> tuple[ProbeCall, ...]:
    """A negative probe's calls, the bare one first."""
    return tuple(ProbeCall(probe, form, external_id, space, position) for form in plan.forms)
