"""A worker pool's entry in the status of an AwsIntegration. Pure."""

from dataclasses import replace
from datetime import UTC, datetime

from spacelift_aws.api.awsintegration import MOST_POOLS, AwsIntegration, AwsIntegrationStatus, WorkerVerdict
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws import policies
from spacelift_aws.controllers.awsintegration import messages
from spacelift_aws.controllers.awsintegration.history import History
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan, external_id_of
from spacelift_aws.controllers.awsintegration.status import StatusInput, asked_verdict, shown_probe
from spacelift_aws.controllers.awsintegration.verdict import Verdict

_NEVER = datetime.min.replace(tzinfo=UTC)

_NO_VERDICTS = (Reason.ROLE_NOT_SET, Reason.NO_IDENTITY, Reason.RETRYING, Reason.NOT_VERIFIED_YET)


def desired_status(given: StatusInput, pool: str) -> AwsIntegrationStatus:
    """The status with this pool's entry as it should be; everything else in it is others' and stays."""
    status = given.integration.status
    others = [entry for entry in status.workers if entry.pool != pool]
    # Pools that are gone leave their entries behind: those that verified last keep theirs.
    others.sort(key=lambda entry: entry.last_verified_time or _NEVER, reverse=True)
    del others[MOST_POOLS - 1 :]
    return status.model_copy(update={"workers": tuple(sorted((*others, _entry(given, pool)), key=lambda e: e.pool))})


def remembered(integration: AwsIntegration, plan: ProbePlan, pool: str) -> History:
    """The history that an earlier process of the pool left in its entry, for what is shown; nothing is issued on it."""
    history = History(plan)
    entry = next((entry for entry in integration.status.workers if entry.pool == pool), None)
    if (
        entry is None
        or entry.reason in (None, *_NO_VERDICTS)
        or entry.observed_generation != integration.metadata.generation
    ):
        return history
    good = entry.reason == Reason.VERIFIED
    at = entry.last_verified_time or integration.metadata.creation_timestamp
    message = messages.without_silence(entry.message or "")
    verdict = Verdict("True" if good else "False", entry.reason, message, at)
    return replace(history, verdict=verdict, verified_at=entry.last_verified_time)


def displayed_verdict(given: StatusInput) -> Verdict:
    """What the pool's entry says."""
    if given.integration.spec.role_arn is None:
        return Verdict("False", Reason.ROLE_NOT_SET, messages.ROLE_NOT_SET_FOR_POOL, given.now)
    return asked_verdict(given)


def _entry(given: StatusInput, pool: str) -> WorkerVerdict:
    verdict, history, principal = displayed_verdict(given), given.history, given.identity.principal
    statement = None
    if principal is not None:
        spec = given.integration.spec
        extra = policies.session_actions(tags=spec.tag_assume_role, source_identity=spec.source_identity)
        external_id = external_id_of(given.integration, given.installation)
        statement = policies.readable(policies.trust_statement(principal, external_id, extra))
    return WorkerVerdict(
        pool=pool,
        principal=principal,
        trust_policy_statement=statement,
        probes=tuple(shown_probe(result) for result in history.probes) if history else (),
        reason=str(verdict.reason),
        message=verdict.message,
        last_verified_time=history.verified_at if history else None,
        observed_generation=given.integration.metadata.generation,
    )
