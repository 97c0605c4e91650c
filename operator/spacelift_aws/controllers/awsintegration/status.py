"""The whole status of an AwsIntegration, from what is given. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from spacelift_aws.api.awsintegration import AwsIntegration, AwsIntegrationStatus, Probe, ProbeAnswer, ProbeName
from spacelift_aws.api.conditions import with_condition, with_progress
from spacelift_aws.api.meta import Condition, ConditionStatus, format_time
from spacelift_aws.api.reasons import ConditionType, ReadyReason
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws import policies
from spacelift_aws.aws.arns import partition_of
from spacelift_aws.aws.console import WIZARD_MAX_DURATION, create_role_url
from spacelift_aws.aws.identity import Identity
from spacelift_aws.controllers.awsintegration import messages
from spacelift_aws.controllers.awsintegration.history import History, next_time
from spacelift_aws.controllers.awsintegration.probes.answers import ProbeResult
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan, external_id_of
from spacelift_aws.controllers.awsintegration.verdict import Verdict

TRUST_VERIFIED, READY = ConditionType.TRUST_VERIFIED, ConditionType.READY


@dataclass(frozen=True)
class StatusInput:
    """All that a status is made of. `history` None: there is nothing to ask STS about."""

    integration: AwsIntegration
    installation: str
    identity: Identity
    history: History | None
    suggested_policies: Sequence[str]
    now: datetime


def desired_status(given: StatusInput) -> AwsIntegrationStatus:
    """What the status should be; the workers' words in it stay.

    It is the same for the same knowledge: `now` shows only where a condition turns.
    """
    integration, history = given.integration, given.history
    status = AwsIntegrationStatus(
        observed_generation=integration.metadata.generation,
        external_id=external_id_of(integration, given.installation),
        conditions=_conditions(given),
        workers=integration.status.workers if integration.spec.generate_credentials_in_worker else (),
    )
    if not integration.spec.generate_credentials_in_worker:
        status = status.model_copy(update=_our_side(given))
    if history is None:
        return status
    return status.model_copy(
        update={
            "probes": tuple(shown_probe(result) for result in history.probes),
            "last_verified_time": history.verified_at,
            "next_verify_time": next_time(history, integration.spec.verify_every),
        }
    )


def displayed_verdict(given: StatusInput) -> Verdict:
    """What condition `TrustVerified` says."""
    spec = given.integration.spec
    if spec.role_arn is None:
        return Verdict("False", Reason.ROLE_NOT_SET, _role_not_set(given), given.now)
    if spec.generate_credentials_in_worker:
        return Verdict("Unknown", Reason.NOT_VERIFIABLE, messages.NOT_VERIFIABLE, given.now)
    return asked_verdict(given)


def asked_verdict(given: StatusInput) -> Verdict:
    """What STS's answers amount to so far."""
    history = given.history
    if history is None or history.verdict is None:
        return Verdict("Unknown", Reason.NOT_VERIFIED_YET, messages.NOT_VERIFIED_YET, given.now)
    verdict, inconclusive = history.verdict, history.inconclusive
    if inconclusive is None or verdict.status == "Unknown":
        return verdict
    message = messages.unanswered_since(verdict.message, format_time(inconclusive.since), inconclusive.verdict.message)
    return replace(verdict, message=message)


def remembered(integration: AwsIntegration, plan: ProbePlan, external_id: str) -> History:
    """The history that an earlier process left in the status, for what is shown; nothing is issued on its word."""
    status = integration.status
    history = History(plan, principal_id=status.principal_id)
    condition = status.condition(TRUST_VERIFIED)
    if (
        condition is None
        or condition.status == "Unknown"
        or condition.observed_generation != integration.metadata.generation
        or status.external_id != external_id
    ):
        return history
    verdict = Verdict(
        "True" if condition.status == "True" else "False",
        condition.reason,
        messages.without_silence(condition.message),
        condition.last_transition_time,
    )
    # After a restart nobody expects a trust that has not been there for long: it is asked about as seldom as before.
    missing_since = None if verdict.is_good else condition.last_transition_time
    return replace(
        history,
        verdict=verdict,
        verified_at=status.last_verified_time,
        no_since=missing_since,
        let_in=place_let_in(status.probes, plan),
    )


def _our_side(given: StatusInput) -> dict[str, Any]:
    """What the role must be told of the operator, and the operator of the role."""
    spec, identity = given.integration.spec, given.identity
    external_id = external_id_of(given.integration, given.installation)
    extra = policies.session_actions(tags=spec.tag_assume_role, source_identity=spec.source_identity)
    principal = identity.principal
    if principal is None:
        return {}
    role = spec.role_arn or policies.role_placeholder(partition_of(principal))
    wizard = not extra and spec.duration_seconds <= WIZARD_MAX_DURATION
    return {
        "principal": principal,
        "principal_id": identity.principal_id,
        "trust_policy_statement": policies.readable(policies.trust_statement(principal, external_id, extra)),
        "trust_policy": policies.readable(policies.trust_policy(principal, external_id, extra)),
        "caller_policy_statement": policies.readable(policies.caller_statement(role, extra)),
        "create_role_url": create_role_url(principal, external_id, given.suggested_policies) if wizard else None,
    }


def _conditions(given: StatusInput) -> tuple[Condition, ...]:
    verdict = displayed_verdict(given)
    usable = verdict.is_good or verdict.reason == Reason.NOT_VERIFIABLE
    if verdict.is_good:
        why, text = str(ReadyReason.VERIFIED), "Runs may use this integration."
    elif usable:
        why, text = str(ReadyReason.WORKER_MODE), "Runs may use this integration through their worker pools."
    else:
        why, text = str(verdict.reason), "No Run is issued credentials: condition TrustVerified says why."
    ready = _condition(given, READY, "True" if usable else "False", why, text)
    trust = _condition(given, TRUST_VERIFIED, verdict.status, str(verdict.reason), verdict.message)
    conditions = with_condition(with_condition(given.integration.status.conditions, ready), trust)
    return with_progress(conditions, None if usable else _progress(given, verdict))


_WRONG_AS_IT_IS = (Reason.INVALID_REQUEST, Reason.INVALID_SESSION_POLICY)
"""Nothing but a change of the integration itself mends these."""


def _progress(given: StatusInput, verdict: Verdict) -> Condition:
    """What kstatus reads of an integration that no Run may use: a role may appear, its trust may be mended."""
    spec = given.integration.spec
    # A managed policy that is named may come into being, as a role may.
    named = spec.session_policy_arns or (spec.proposed is not None and spec.proposed.session_policy_arns)
    if verdict.reason in _WRONG_AS_IT_IS and not named:
        return _condition(given, ConditionType.STALLED, "True", str(verdict.reason), verdict.message)
    message = "The integration cannot be used yet: condition TrustVerified says why."
    return _condition(given, ConditionType.RECONCILING, "True", str(verdict.reason), message)


def _condition(given: StatusInput, type_: str, status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=given.now,
        observed_generation=given.integration.metadata.generation,
    )


def _role_not_set(given: StatusInput) -> str:
    if given.integration.spec.generate_credentials_in_worker:
        return messages.ROLE_NOT_SET_IN_WORKER_MODE
    if given.identity.principal is None and given.identity.failure is not None:
        return messages.role_not_set_without_identity(given.identity.failure)
    return messages.ROLE_NOT_SET


def place_let_in(probes: Sequence[Probe], plan: ProbePlan) -> int | None:
    """Where a spelling was let in, as a status shows it; a place that the external ID does not have is none."""
    places = (probe.position for probe in probes if probe.result is ProbeAnswer.ALLOWED and probe.position)
    return next((place - 1 for place in places if place - 1 in plan.positions), None)


def shown_probe(result: ProbeResult) -> Probe:
    """A probe's answer as a status shows it."""
    as_it_should_be = result.answer is (ProbeAnswer.ALLOWED if result.probe is ProbeName.OWN else ProbeAnswer.DENIED)
    return Probe(
        name=result.probe,
        result=result.answer,
        time=result.at,
        request_id=result.request_id,
        message=result.failure.message if result.failure and not as_it_should_be else None,
        # The positive probe always has a Run's form.
        form=None if result.probe is ProbeName.OWN else result.form,
        position=result.position + 1 if result.position is not None and not as_it_should_be else None,
    )
