"""A worker pool's entry in the status of an AwsIntegration. Pure."""

from spacelift_aws.api.awsintegration import AwsIntegrationStatus, WorkerVerdict
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws import policies
from spacelift_aws.integration import messages
from spacelift_aws.integration.question import external_id_of
from spacelift_aws.integration.status import Knowledge, asked_verdict, shown_probe
from spacelift_aws.integration.verdict import Verdict


def desired_status(known: Knowledge, pool: str) -> AwsIntegrationStatus:
    """The status with this pool's entry as it should be; everything else in it is others' and stays."""
    status = known.integration.status
    others = tuple(entry for entry in status.workers if entry.pool != pool)
    return status.model_copy(update={"workers": tuple(sorted((*others, _entry(known, pool)), key=lambda e: e.pool))})


def displayed_verdict(known: Knowledge) -> Verdict:
    """What the pool's entry says."""
    if known.integration.spec.role_arn is None:
        return Verdict("False", Reason.ROLE_NOT_SET, messages.ROLE_NOT_SET_FOR_POOL, known.now)
    return asked_verdict(known)


def _entry(known: Knowledge, pool: str) -> WorkerVerdict:
    verdict, history, principal = displayed_verdict(known), known.history, known.identity.principal
    statement = None
    if principal is not None:
        spec = known.integration.spec
        extra = policies.session_actions(tags=spec.tag_assume_role, source_identity=spec.source_identity)
        external_id = external_id_of(known.integration, known.installation)
        statement = policies.readable(policies.trust_statement(principal, external_id, extra))
    return WorkerVerdict(
        pool=pool,
        principal=principal,
        trust_policy_statement=statement,
        probes=tuple(shown_probe(result) for result in history.probes) if history else (),
        reason=str(verdict.reason),
        message=verdict.message,
        last_verified_time=history.verified_at if history else None,
    )
