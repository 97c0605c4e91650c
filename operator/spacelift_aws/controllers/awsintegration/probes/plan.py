"""What a round of probes is about: one role, under one external ID, with what Runs would carry. Pure.

A verdict belongs to a plan: a change of the spec that asks nothing else has the trust verified again, but the verdict
stands meanwhile.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from spacelift_aws.api.awsintegration import AwsIntegration, ProbeForm, SessionTag
from spacelift_aws.names import external_id


@dataclass(frozen=True)
class RunPolicies:
    """The session policies of one kind of Run: an inline one and managed ones."""

    inline: str | None = None
    arns: tuple[str, ...] = ()


NO_POLICIES: Final = RunPolicies()


@dataclass(frozen=True)
class ProbePlan:
    """Everything that the probes ask of STS for one AwsIntegration."""

    role_arn: str
    installation: str
    namespace: str
    name: str
    external_id: str
    region: str | None
    duration_seconds: int
    tagged: bool
    tags: tuple[SessionTag, ...]
    """Those beside `run`, `stack` and `space`."""
    stack: str | None
    """The stack that the tag of a Run's form names: the first of those allowed."""
    source_identity: bool
    policies: RunPolicies
    proposed: RunPolicies | None
    """What Runs of type `Proposed` carry instead, if that is asked for."""

    @property
    def forms(self) -> tuple[ProbeForm, ...]:
        """The forms of a negative probe. Without tags and source identity a Run's request would be the bare one.

        Its duration is left aside: `sts:AssumeRole` has no condition key for it.
        """
        return (ProbeForm.BARE, ProbeForm.RUN) if self.tagged or self.source_identity else (ProbeForm.BARE,)

    @property
    def own_parts(self) -> tuple[str, ...]:
        """The parts of the external ID: installation, namespace and name, or all of one that the spec chose."""
        parts = (self.installation, self.namespace, self.name)
        return parts if self.external_id == external_id(*parts) else (self.external_id,)

    @property
    def positions(self) -> tuple[int, ...]:
        """All places at which a character of the external ID can be replaced, from 0."""
        return tuple(range(len(self.external_id)))

    @property
    def ends(self) -> tuple[int, ...]:
        """The first and the last place of each part."""
        lengths = [len(part) for part in self.own_parts]
        starts = [0, *accumulate(length + 1 for length in lengths)]
        return tuple(sorted({p for s, n in zip(starts, lengths, strict=False) for p in (s, s + n - 1)}))

    def part_at(self, position: int) -> int:
        """Which part a place lies in: 0, 1 or 2. A separator counts to the part before it."""
        return self.external_id[:position].count("@") if len(self.own_parts) > 1 else 0


def external_id_of(integration: AwsIntegration, installation: str) -> str:
    """The external ID that its role must require; only in worker mode may the spec choose another."""
    metadata, spec = integration.metadata, integration.spec
    own = external_id(installation, metadata.namespace, metadata.name)
    return (spec.external_id or own) if spec.generate_credentials_in_worker else own


def plan_of(integration: AwsIntegration, installation: str) -> ProbePlan | None:
    """What to ask for this integration; None without a role."""
    metadata, spec = integration.metadata, integration.spec
    if spec.role_arn is None:
        return None
    proposed = spec.proposed
    return ProbePlan(
        role_arn=spec.role_arn,
        installation=installation,
        namespace=metadata.namespace,
        name=metadata.name,
        external_id=external_id_of(integration, installation),
        region=spec.region,
        duration_seconds=spec.duration_seconds,
        tagged=spec.tag_assume_role,
        tags=(spec.tags or ()) if spec.tag_assume_role else (),
        stack=spec.allowed_stacks[0] if spec.tag_assume_role and spec.allowed_stacks else None,
        source_identity=spec.source_identity,
        policies=RunPolicies(spec.session_policy, tuple(spec.session_policy_arns or ())),
        proposed=RunPolicies(proposed.session_policy, tuple(proposed.session_policy_arns or ())) if proposed else None,
    )


def session_tags(run_id: str, stack: str | None, space: str) -> tuple[tuple[str, str], ...]:
    """The tags of every tagged session, all three always there: a policy may rely on them."""
    return (("run", run_id), ("stack", stack or ""), ("space", space))
