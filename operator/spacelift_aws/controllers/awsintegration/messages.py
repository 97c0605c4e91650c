"""The sentences of condition `TrustVerified` that belong to no probe alone, and what those of probes share. Pure."""

from collections.abc import Sequence
from typing import Final

from spacelift_aws.api.awsintegration import ProbeForm
from spacelift_aws.aws import policies
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.controllers.awsintegration.probes.answers import ProbeResult
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan

_SILENCE = " (Nothing could be asked of STS since "

VERIFIED = "The role trusts this integration's external ID and no other: STS answered all probes as expected."

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

COMMON_CAUSES: Final = (
    "A trust policy with the right principal and the right external ID may also require something else: "
    "the session's name (`sts:RoleSessionName`; it is the run ID, 26 characters of 0-9 and A-Z), session tags "
    "(`aws:RequestTag/…`), a source identity (`sts:SourceIdentity`), MFA (`aws:MultiFactorAuthPresent`), the caller's "
    "address (`aws:SourceIp`, `aws:SourceVpce`) or organization (`aws:PrincipalOrgID`)."
)
"""What commonly denies a call whose principal and external ID are right; STS tells no caller which condition it was."""


def role_not_set_without_identity(failure: StsError) -> str:
    """What to do first, if the operator itself cannot tell what to trust."""
    return (
        f"Write the ARN of a role into `spec.roleArn`. What it must trust is not known yet: {failure.message}. "
        f"Its external ID is in `status.externalId`."
    )


def other_external_id_accepted(plan: ProbePlan, identity: Identity, accepted: Sequence[tuple[str, ProbeResult]]) -> str:
    """The role is open to a pattern of external IDs. `accepted`: whose were let in, each with STS's answer."""
    whose = " and of ".join(f"{who}{as_asked(result)}" for who, result in accepted)
    text = (
        f"STS gave a session for the external ID of {whose}: a pattern in the trust policy is too wide. The widest "
        f"safe pattern is `StringLike` with `{plan.installation}@{plan.namespace}@*`. Write `StringEquals` and the "
        "exact value:"
    )
    return with_trust(text, plan, identity)


def refused_run(failure: StsError) -> str:
    """STS refuses a Run although its integration is trusted."""
    said = f"STS refuses to issue a session: {failure.code}: {failure.message}"
    return f"{said}. {COMMON_CAUSES}" if failure.kind is Failure.ACCESS_DENIED else said


def no_identity(failure: StsError) -> str:
    """The operator's own credentials are the matter."""
    return f"STS could not be asked: {failure.message}. The operator's administrator must repair this."


def retrying(plan: ProbePlan, result: ProbeResult) -> str:
    """STS gave no answer to rely on."""
    failure = result.failure
    if failure is not None and failure.kind is Failure.DENIED_ELSEWHERE:
        return (
            f"Probe {result.probe} was denied by the {failure.denied_by} of the operator's side, so its answer says "
            "nothing about the role's trust policy. Allow the operator `sts:AssumeRole` on this role with every "
            f"external ID: the trust policy alone must decide. STS says: {failure.message}"
        )
    said = f"{failure.code}: {failure.message}" if failure else "not asked"
    hint = f" Is `{plan.region}` in `spec.region` right?" if _looks_unreachable(result) and plan.region else ""
    return f"STS gave no answer to probe {result.probe} ({said}). The operator asks again.{hint}"


def unanswered_since(message: str, since: str, why: str) -> str:
    """A verdict that stays, although nothing could be asked for a while."""
    return f"{message}{_SILENCE}{since}. {why})"


def without_silence(message: str) -> str:
    """The verdict's own message again."""
    return message.partition(_SILENCE)[0]


def as_asked(result: ProbeResult) -> str:
    """How an allowed probe was asked, where that matters, as a clause."""
    clauses = []
    if result.form is ProbeForm.RUN:
        clauses.append("with the tags and the source identity that a Run from there would send")
    if result.failure is not None:
        missed = policies.TAG_SESSION
        if result.failure.kind is Failure.SOURCE_IDENTITY_DENIED:
            missed = policies.SET_SOURCE_IDENTITY
        clauses.append(f"only the permission for {missed} was missing")
    return f" ({'; '.join(clauses)})" if clauses else ""


def with_trust(text: str, plan: ProbePlan, identity: Identity) -> str:
    """A message that ends with the statement to paste."""
    extra = policies.session_actions(tags=plan.tagged, source_identity=plan.source_identity)
    statement = policies.trust_statement(or_principal(identity), plan.external_id, extra)
    return f"{text} {policies.one_line(statement)}"


def or_principal(identity: Identity) -> str:
    """Whom the role must trust, or the place where to write it."""
    return identity.principal or "<the operator's principal>"


def _looks_unreachable(result: ProbeResult) -> bool:
    return result.failure is not None and result.failure.code == "EndpointConnectionError"
