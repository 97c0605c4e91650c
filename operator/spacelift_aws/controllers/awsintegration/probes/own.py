"""This integration's own external ID, with all that a Run's session would carry. It must be allowed."""

from spacelift_aws.api.awsintegration import ProbeForm, ProbeName
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws import policies
from spacelift_aws.aws.arns import account_of, parse_role_arn, partition_of
from spacelift_aws.aws.console import account_settings_url
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.controllers.awsintegration.messages import COMMON_CAUSES, or_principal, with_trust
from spacelift_aws.controllers.awsintegration.probes.answers import Finding, ProbeRound
from spacelift_aws.controllers.awsintegration.probes.call import ProbeCall
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan

HIDES_THE_REST = frozenset(
    {
        Failure.ACCESS_DENIED,
        Failure.DENIED_ELSEWHERE,
        Failure.REGION_DISABLED,
        Failure.INVALID_REQUEST,
        Failure.NO_IDENTITY,
        Failure.RETRYING,
    }
)
"""After these a denial of the other probes would prove nothing, as the same cause may hide an open trust."""


def calls(plan: ProbePlan) -> tuple[ProbeCall, ...]:
    """What is asked: for Runs, and once more for those of type `Proposed` where they carry something else."""
    kinds = [(plan.policies, False)]
    if plan.proposed is not None:
        kinds.append((plan.proposed, True))
    return tuple(
        ProbeCall(ProbeName.OWN, ProbeForm.RUN, plan.external_id, plan.namespace, policies=kind, proposed=proposed)
        for kind, proposed in kinds
    )


def denied(round: ProbeRound) -> Finding | None:
    """What a denied `sts:AssumeRole` means."""
    if not (round.own_failed_as(Failure.ACCESS_DENIED) or round.own_failed_as(Failure.DENIED_ELSEWHERE)):
        return None
    return "False", Reason.ACCESS_DENIED, _access_denied(round)


def refused(round: ProbeRound) -> Finding | None:
    """What a refusal of that means which only this probe carries: duration, tags, source identity, policies."""
    failure, plan = round.own.failure, round.plan
    if failure is None:
        return None
    match failure.kind:
        case Failure.DURATION_TOO_LONG:
            return "False", Reason.DURATION_TOO_LONG, _duration_too_long(plan, failure)
        case Failure.TAG_SESSION_DENIED:
            return "False", Reason.TAG_SESSION_DENIED, _session_action_denied(round, policies.TAG_SESSION)
        case Failure.SOURCE_IDENTITY_DENIED:
            text = _session_action_denied(round, policies.SET_SOURCE_IDENTITY)
            return "False", Reason.SOURCE_IDENTITY_DENIED, text
        case Failure.REGION_DISABLED:
            return "False", Reason.REGION_DISABLED, _region_disabled(plan, failure)
        case Failure.INVALID_SESSION_POLICY:
            return "False", Reason.INVALID_SESSION_POLICY, _invalid_session_policy(round, failure)
        case Failure.INVALID_REQUEST:
            return "False", Reason.INVALID_REQUEST, _invalid_request(round, failure)
        case _:
            return None


def _access_denied(round: ProbeRound) -> str:
    plan, identity, failure = round.plan, round.identity, round.own.failure
    parts = [f"STS denied `sts:AssumeRole` on {plan.role_arn}."]
    if failure is not None and failure.denied_by:
        parts.append(f"STS says that the {failure.denied_by} denies it. That is on the operator's side.")
    earlier = round.earlier_principal_id
    if earlier and identity.principal_id and earlier != identity.principal_id:
        parts.append(
            f"The operator's principal was recreated since the last verification (its unique ID was {earlier} and is "
            f"{identity.principal_id} now): save every trust policy that names it again."
        )
    if identity.note:
        parts.append(f"Note: {identity.note}.")
    actions = " and ".join(f"`{a}`" for a in ("sts:AssumeRole", *_extra(plan)))
    parts.append(
        f"{COMMON_CAUSES} Or the operator's own policy does not allow {actions} on this role, or a policy of the "
        "organization or a permissions boundary denies it. A change in IAM can take some minutes to take effect. If "
        "the role does not exist yet, create it with `status.trustPolicy`. If it does, its trust policy needs this "
        "statement:"
    )
    return with_trust(" ".join(parts), plan, identity)


def _duration_too_long(plan: ProbePlan, failure: StsError) -> str:
    """The role's maximum, or role chaining's."""
    if "chaining" in failure.message.lower():
        return (
            f"STS refuses a session of {plan.duration_seconds} seconds: the operator's own credentials come from "
            "a role, and AWS limits role chaining to one hour. Set `spec.durationSeconds` to 3600 or less."
        )
    role = parse_role_arn(plan.role_arn)
    name, seconds = role.name if role else plan.role_arn, max(3600, plan.duration_seconds)
    return (
        f"STS refuses a session of {plan.duration_seconds} seconds. STS says: {failure.message} Lower "
        f"`spec.durationSeconds`, or raise the role's maximum session duration, in the IAM console or by "
        f"`aws iam update-role --role-name {name} --max-session-duration {seconds}`."
    )


def _session_action_denied(round: ProbeRound, action: str) -> str:
    """`sts:TagSession` or `sts:SetSourceIdentity` is missing on one side."""
    plan, identity = round.plan, round.identity
    tags = action == policies.TAG_SESSION
    asked, field = (plan.tagged, "tagAssumeRole") if tags else (plan.source_identity, "sourceIdentity")
    if asked:
        why = f"`spec.{field}` is on"
    else:
        why = (
            f"the operator's own session passes on {'tags' if tags else 'a source identity'}"
            f"{' (as under EKS Pod Identity, where they can be turned off)' if tags else ''}"
        )
    trust = policies.one_line(policies.session_statement(or_principal(identity), (action,)))
    return (
        f"STS denied `{action}` on {plan.role_arn}, which is needed because {why}. The operator's own policy needs "
        f"`{action}` on this role, and the trust policy needs this statement too: {trust}"
    )


def _region_disabled(plan: ProbePlan, failure: StsError) -> str:
    """Off in the role's account, or in the operator's."""
    region = plan.region or "the operator's region"
    if failure.code.startswith("RegionDisabled"):
        url = account_settings_url(partition_of(plan.role_arn))
        where = f" at {url}" if url else " in IAM's account settings"
        return (
            f"The STS endpoint of {region} is not active in account {account_of(plan.role_arn)} of the role: "
            f"activate it there{where}, or set `spec.region` to another region."
        )
    return (
        f"The STS endpoint of {region} does not accept the operator's credentials, but that of its home region does: "
        "the region is not enabled in the operator's own account. Enable it there, or set `spec.region` to another "
        "region."
    )


def _invalid_session_policy(round: ProbeRound, failure: StsError) -> str:
    """Malformed, unknown, or too large."""
    prefix = "spec.proposed" if round.own.proposed else "spec"
    fields = f"`{prefix}.sessionPolicy` or `{prefix}.sessionPolicyArns`"
    if failure.code.startswith("PackedPolicyTooLarge"):
        tags = ", the session tags" if round.plan.tagged else ""
        return (
            f"The session policies{tags} and what the operator's own session passes on are too large together. "
            f"Shorten {fields}. STS says: {failure.message}"
        )
    return f"STS refuses a session policy. Correct {fields}. STS says: {failure.message}"


def _invalid_request(round: ProbeRound, failure: StsError) -> str:
    """A parameter that STS does not take, most often the role's ARN."""
    principal, theirs = round.identity.principal, partition_of(round.plan.role_arn)
    mine = partition_of(principal) if principal else None
    if mine is not None and mine != theirs:
        return (
            f"The role is in partition {theirs}, the operator in {mine}: a role cannot be assumed across partitions. "
            f"Use a role in partition {mine}. STS says: {failure.message}"
        )
    return f"STS refuses the request: check `spec.roleArn` and `spec.region`. STS says: {failure.message}"


def _extra(plan: ProbePlan) -> tuple[str, ...]:
    return policies.session_actions(tags=plan.tagged, source_identity=plan.source_identity)
