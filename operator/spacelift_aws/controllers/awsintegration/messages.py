"""The sentences of condition `TrustVerified`: what is the matter, and what to write where. Pure."""

from spacelift_aws.api.awsintegration import ProbeName
from spacelift_aws.aws import policies
from spacelift_aws.aws.arns import account_of, parse_role_arn, partition_of
from spacelift_aws.aws.console import account_settings_url
from spacelift_aws.aws.errors import StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.controllers.awsintegration.probes import ProbeResult
from spacelift_aws.controllers.awsintegration.question import TrustQuestion

_SILENCE = " (Nothing could be asked of STS since "

VERIFIED = "The role trusts this integration's external ID and no other: all four probes were answered as they should."

ROLE_NOT_SET = "Create a role with `status.trustPolicy`, then write its ARN into `spec.roleArn`."

ROLE_NOT_SET_IN_WORKER_MODE = (
    "Write the ARN of the role into `spec.roleArn`. It must trust the identity of the worker pools that use it."
)

ROLE_NOT_SET_FOR_POOL = (
    "Write the ARN of the role into `spec.roleArn`. It must trust this pool: "
    "add `trustPolicyStatement` to its trust policy."
)

VERIFIED_BY_POOL = "This pool can assume the role."

NOT_VERIFIED_YET = "STS has not been asked yet."

NOT_VERIFIABLE = "The worker pools verify this role under their own identities: see `status.workers`."


def role_not_set_without_identity(failure: StsError) -> str:
    """What to do first, if the operator itself cannot tell what to trust."""
    return (
        f"Write the ARN of a role into `spec.roleArn`. What it must trust is not known yet: {failure.message}. "
        f"Its external ID is in `status.externalId`."
    )


def access_denied(question: TrustQuestion, identity: Identity, earlier_principal_id: str | None) -> str:
    """The trust, the caller's side, and what else could deny."""
    extra = policies.session_actions(tags=question.tagged, source_identity=question.source_identity)
    caller = policies.one_line(policies.caller_statement(question.role_arn, extra))
    parts = [f"STS denied `sts:AssumeRole` on {question.role_arn}."]
    if earlier_principal_id and identity.principal_id and earlier_principal_id != identity.principal_id:
        parts.append(
            f"The operator's principal was created anew since the last verification (its unique ID was "
            f"{earlier_principal_id} and is {identity.principal_id} now): every trust policy that names it has to be "
            f"saved again."
        )
    parts.append(
        f"If the role does not exist yet, create it with `status.trustPolicy`. If it does, its trust policy needs this "
        f"statement: {_trust(question, identity)}"
    )
    parts.append(
        f"If it has it: the operator's own policy may lack {caller}, or a policy of the organization or a "
        f"permissions boundary denies it. A change in IAM takes up to some minutes to arrive."
    )
    if identity.note:
        parts.append(f"Note: {identity.note}.")
    return " ".join(parts)


def external_id_not_required(question: TrustQuestion, identity: Identity, result: ProbeResult) -> str:
    """The role is open to whoever knows its ARN."""
    return (
        f"STS gave a session without any external ID{_by_tags(result)}: whoever may use this operator and knows the "
        f"role's ARN could use the role. Every statement of the trust policy that allows `sts:AssumeRole` to this "
        f"principal, its account or everyone needs the condition `StringEquals` on `sts:ExternalId` "
        f"(not `StringEqualsIfExists`): {_trust(question, identity)}"
    )


def other_external_id_accepted(question: TrustQuestion, identity: Identity, results: list[ProbeResult]) -> str:
    """The role is open to a pattern of external IDs."""
    whose = {
        ProbeName.SIBLING: f"another namespace ({question.sibling_external_id})",
        ProbeName.OTHER_INSTALLATION: f"another installation ({question.other_installation_external_id})",
    }
    accepted = " and of ".join(whose[result.probe] + _by_tags(result) for result in results)
    installation, namespace, _ = question.external_id.split("@", 2)
    return (
        f"STS gave a session for the external ID of {accepted}: a pattern in the trust policy is too wide. Write "
        f"`StringEquals` and the exact value: {_trust(question, identity)} The widest pattern that is safe is "
        f"`StringLike` with `{installation}@{namespace}@*`."
    )


def duration_too_long(question: TrustQuestion, failure: StsError) -> str:
    """The role's maximum, or role chaining's."""
    if "chaining" in failure.message.lower():
        return (
            f"STS refuses a session of {question.duration_seconds} seconds: the operator's own credentials come from "
            f"a role, and roles assumed from one get an hour at most. Set `spec.durationSeconds` to 3600 or less."
        )
    role = parse_role_arn(question.role_arn)
    name, seconds = role.name if role else question.role_arn, max(3600, question.duration_seconds)
    return (
        f"STS refuses a session of {question.duration_seconds} seconds: raise the role's maximum session duration "
        f"(in the IAM console, or `aws iam update-role --role-name {name} --max-session-duration {seconds}`), or "
        f"lower `spec.durationSeconds`. STS says: {failure.message}"
    )


def session_action_denied(question: TrustQuestion, identity: Identity, action: str) -> str:
    """`sts:TagSession` or `sts:SetSourceIdentity` is missing on one side."""
    tags = action == policies.TAG_SESSION
    asked, field = (question.tagged, "tagAssumeRole") if tags else (question.source_identity, "sourceIdentity")
    if asked:
        why = f"`spec.{field}` is on"
    else:
        why = (
            f"the operator's own session passes {'tags' if tags else 'a source identity'} on"
            f"{' (as under EKS Pod Identity, where they can be turned off)' if tags else ''}"
        )
    principal = identity.principal or "<the operator's principal>"
    trust = policies.one_line(policies.session_statement(principal, (action,)))
    caller = policies.one_line(
        {"Effect": "Allow", "Action": action, "Resource": question.role_arn},
    )
    return (
        f"STS denied `{action}` on {question.role_arn}, which is needed as {why}. The trust policy needs this "
        f"statement too: {trust} The operator's own policy needs: {caller}"
    )


def region_disabled(question: TrustQuestion, failure: StsError) -> str:
    """Off in the role's account, or in the operator's."""
    region = question.region or "the operator's region"
    if failure.code.startswith("RegionDisabled"):
        url = account_settings_url(partition_of(question.role_arn))
        where = f" at {url}" if url else " in IAM's account settings"
        return (
            f"The STS endpoint of {region} is not active in account {account_of(question.role_arn)} of the role: "
            f"activate it there{where}, or set `spec.region` to another region."
        )
    return (
        f"The STS endpoint of {region} does not know the operator, which its home region does: the region is not "
        f"enabled in the operator's own account. Enable it there, or set `spec.region` to another region."
    )


def invalid_session_policy(question: TrustQuestion, failure: StsError, *, proposed: bool) -> str:
    """Malformed, unknown, or too large."""
    prefix = "spec.proposed" if proposed else "spec"
    fields = f"`{prefix}.sessionPolicy` or `{prefix}.sessionPolicyArns`"
    if failure.code.startswith("PackedPolicyTooLarge"):
        tags = ", the session tags" if question.tagged else ""
        return (
            f"STS packs the session policies{tags} and what the operator's own session passes on, and the result is "
            f"too large. Shorten {fields}. STS says: {failure.message}"
        )
    return f"STS refuses a session policy. Correct {fields}. STS says: {failure.message}"


def invalid_request(question: TrustQuestion, identity: Identity, failure: StsError) -> str:
    """A parameter that STS does not take, most often the role's ARN."""
    mine = partition_of(identity.principal) if identity.principal else None
    theirs = partition_of(question.role_arn)
    if mine is not None and mine != theirs:
        return (
            f"The role is in partition {theirs}, the operator in {mine}: a role is never assumed across partitions. "
            f"STS says: {failure.message}"
        )
    return f"STS refuses the request: check `spec.roleArn` and `spec.region`. STS says: {failure.message}"


def no_identity(failure: StsError) -> str:
    """The operator's own credentials are the matter."""
    return f"STS could not be asked: {failure.message}. This is for whoever runs the operator to repair."


def retrying(question: TrustQuestion, result: ProbeResult) -> str:
    """STS gave no answer to rely on."""
    said = f"{result.failure.code}: {result.failure.message}" if result.failure else "not asked"
    hint = f" Is `{question.region}` in `spec.region` right?" if _looks_unreachable(result) and question.region else ""
    return f"STS gave no answer to probe {result.probe} ({said}); it is asked again.{hint}"


def unanswered_since(message: str, since: str, why: str) -> str:
    """A verdict that stays, although nothing could be asked for a while."""
    return f"{message}{_SILENCE}{since}. {why})"


def without_silence(message: str) -> str:
    """The verdict's own message again."""
    return message.partition(_SILENCE)[0]


def _looks_unreachable(result: ProbeResult) -> bool:
    return result.failure is not None and result.failure.code == "EndpointConnectionError"


def _by_tags(result: ProbeResult) -> str:
    return f" (STS missed only the permission for {_session_action(result)})" if result.failure else ""


def _session_action(result: ProbeResult) -> str:
    denied = result.failure.message if result.failure else ""
    return policies.SET_SOURCE_IDENTITY if policies.SET_SOURCE_IDENTITY in denied else policies.TAG_SESSION


def _trust(question: TrustQuestion, identity: Identity) -> str:
    extra = policies.session_actions(tags=question.tagged, source_identity=question.source_identity)
    principal = identity.principal or "<the operator's principal>"
    return policies.one_line(policies.trust_statement(principal, question.external_id, extra))
