"""What is asked of STS to learn whether a role's trust is right. Pure.

A verdict belongs to a question: a change of the spec that asks nothing else has the trust verified again, but the
verdict stands meanwhile.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from spacelift_aws.api.awsintegration import AwsIntegration, ProbeName
from spacelift_aws.aws import policies
from spacelift_aws.aws.arns import partition_of
from spacelift_aws.aws.sts import AssumeRoleRequest
from spacelift_aws.names import external_id

PROBE_PREFIX: Final = "trust-probe-"
"""Begins the session name of every probe, so that whoever reads CloudTrail understands the denied ones."""

NEGATIVE_DURATION: Final = 900
"""Seconds: the shortest session that STS gives, for probes that should get none."""

_NO_NAMESPACE: Final = "this-namespace-cannot-exist-because-its-name-is-longer-than-63-characters"
_NO_INSTALLATION: Final = "this-installation-cannot-exist-because-its-name-is-longer-than-63-characters"


@dataclass(frozen=True)
class SessionPolicies:
    """The session policies of one kind of Run: an inline one and managed ones."""

    inline: str | None = None
    arns: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrustQuestion:
    """Everything that the probes ask of STS for one AwsIntegration."""

    role_arn: str
    external_id: str
    sibling_external_id: str
    other_installation_external_id: str
    region: str | None
    duration_seconds: int
    space: str
    tagged: bool
    stack: str | None
    """The stack that the positive probe's tag names: the first of those allowed."""
    source_identity: bool
    policies: SessionPolicies
    proposed: SessionPolicies | None
    """What Runs of type `Proposed` carry instead, if that is asked for."""


@dataclass(frozen=True)
class ProbeCall:
    """One call of STS. `proposed` tells the positive probe for Runs of type `Proposed` from the ordinary one."""

    probe: ProbeName
    request: AssumeRoleRequest
    proposed: bool = False


def external_id_of(integration: AwsIntegration, installation: str) -> str:
    """The external ID that its role must require; only in worker mode may the spec choose another."""
    metadata, spec = integration.metadata, integration.spec
    own = external_id(installation, metadata.namespace, metadata.name)
    return (spec.external_id or own) if spec.generate_credentials_in_worker else own


def sibling_external_id(installation: str, namespace: str, name: str) -> str:
    """An ID that only a pattern over namespaces matches, whether it fixes the beginning or the end of the namespace."""
    return external_id(installation, f"{namespace}-{_NO_NAMESPACE}-{namespace}", name)


def other_installation_external_id(installation: str, namespace: str, name: str) -> str:
    """An ID that only a pattern over installations matches."""
    return external_id(f"{installation}-{_NO_INSTALLATION}-{installation}", namespace, name)


def question_of(integration: AwsIntegration, installation: str) -> TrustQuestion | None:
    """What to ask for this integration; None without a role."""
    metadata, spec = integration.metadata, integration.spec
    if spec.role_arn is None:
        return None
    proposed = spec.proposed
    parts = (installation, metadata.namespace, metadata.name)
    return TrustQuestion(
        role_arn=spec.role_arn,
        external_id=external_id_of(integration, installation),
        sibling_external_id=sibling_external_id(*parts),
        other_installation_external_id=other_installation_external_id(*parts),
        region=spec.region,
        duration_seconds=spec.duration_seconds,
        space=metadata.namespace,
        tagged=spec.tag_assume_role,
        stack=spec.allowed_stacks[0] if spec.tag_assume_role and spec.allowed_stacks else None,
        source_identity=spec.source_identity,
        policies=SessionPolicies(spec.session_policy, tuple(spec.session_policy_arns or ())),
        proposed=(
            SessionPolicies(proposed.session_policy, tuple(proposed.session_policy_arns or ())) if proposed else None
        ),
    )


def session_tags(run_id: str, stack: str | None, space: str) -> tuple[tuple[str, str], ...]:
    """The tags of every tagged session, all three always there: a policy may rely on them."""
    return (("run", run_id), ("stack", stack or ""), ("space", space))


def own_calls(question: TrustQuestion) -> tuple[ProbeCall, ...]:
    """The positive probe, with all that a Run's session would carry; a second one for `proposed`."""
    kinds = [(question.policies, False)]
    if question.proposed is not None:
        kinds.append((question.proposed, True))
    return tuple(ProbeCall(ProbeName.OWN, _own_request(question, kind), proposed) for kind, proposed in kinds)


def negative_calls(question: TrustQuestion) -> tuple[ProbeCall, ...]:
    """The three that ought to be denied, and bare: a denied `sts:TagSession` would hide an open `sts:AssumeRole`."""
    return tuple(
        ProbeCall(
            probe,
            AssumeRoleRequest(
                role_arn=question.role_arn,
                session_name=_session_name(question, probe),
                external_id=sent,
                duration_seconds=NEGATIVE_DURATION,
                region=question.region,
                session_policy=policies.deny_all(),
            ),
        )
        for probe, sent in (
            (ProbeName.NONE, None),
            (ProbeName.SIBLING, question.sibling_external_id),
            (ProbeName.OTHER_INSTALLATION, question.other_installation_external_id),
        )
    )


def _own_request(question: TrustQuestion, kind: SessionPolicies) -> AssumeRoleRequest:
    session_name = _session_name(question, ProbeName.OWN)
    inline, arns = kind.inline, kind.arns
    # An explicit deny wins wherever it stands: inline where that place is free, else beside the user's policies.
    if inline is None:
        inline = policies.deny_all()
    else:
        arns = (*arns, policies.deny_all_arn(partition_of(question.role_arn)))
    return AssumeRoleRequest(
        role_arn=question.role_arn,
        session_name=session_name,
        external_id=question.external_id,
        duration_seconds=question.duration_seconds,
        region=question.region,
        tags=session_tags(session_name, question.stack, question.space) if question.tagged else (),
        source_identity=session_name if question.source_identity else None,
        session_policy=inline,
        session_policy_arns=arns,
    )


def _session_name(question: TrustQuestion, probe: ProbeName) -> str:
    """At least as long as a run ID, so that the positive probe's tags take as much of the packed size as a Run's."""
    words = {ProbeName.OTHER_INSTALLATION: "other-installation"}.get(probe, probe.lower())
    digest = hashlib.sha256(question.external_id.encode()).hexdigest()[:10]
    return f"{PROBE_PREFIX}{words}-{digest}"
