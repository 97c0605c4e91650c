"""The whole status of an AwsIntegration, from what is known. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from spacelift_aws.api.awsintegration import AwsIntegration, AwsIntegrationStatus
from spacelift_aws.api.meta import Condition, format_time
from spacelift_aws.api.reasons import ConditionType, ReadyReason
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws import policies
from spacelift_aws.aws.arns import partition_of
from spacelift_aws.aws.console import WIZARD_MAX_DURATION, create_role_url
from spacelift_aws.aws.identity import Identity
from spacelift_aws.integration import messages
from spacelift_aws.integration.history import History, next_time
from spacelift_aws.integration.probes import ProbeResult
from spacelift_aws.integration.question import TrustQuestion, external_id_of
from spacelift_aws.integration.verdict import Truth, Verdict

TRUST_VERIFIED, READY = ConditionType.TRUST_VERIFIED, ConditionType.READY

WireStatus = dict[str, Any]
"""A status as the API has it: JSON with camelCase names, without nulls."""


@dataclass(frozen=True)
class Knowledge:
    """All that a status is made of. `history` None: there is nothing to ask STS about."""

    integration: AwsIntegration
    installation: str
    identity: Identity
    history: History | None
    suggested_policies: Sequence[str]
    now: datetime


def desired_status(known: Knowledge) -> WireStatus:
    """What the status should be. It is the same for the same knowledge: `now` shows only where a condition turns."""
    integration, history = known.integration, known.history
    status: WireStatus = {
        "observedGeneration": integration.metadata.generation,
        "externalId": external_id_of(integration, known.installation),
        "conditions": _conditions(known),
    }
    if not integration.spec.generate_credentials_in_worker:
        status.update(_our_side(known))
    if history is not None:
        status["probes"] = [_probe(result) for result in history.probes]
        status["lastVerifiedTime"] = history.verified_at
        status["nextVerifyTime"] = next_time(history, integration.spec.verify_every)
    return _wire(AwsIntegrationStatus.model_validate(status))


def changes(current: AwsIntegrationStatus, desired: WireStatus) -> WireStatus:
    """The merge patch from one status to the other, empty if there is nothing to change; `workers` are the workers'."""
    before = _wire(current)
    patch = {key: value for key, value in desired.items() if before.get(key) != value}
    return patch | {key: None for key in before if key not in desired}


def displayed_verdict(known: Knowledge) -> Verdict:
    """What condition `TrustVerified` says."""
    spec = known.integration.spec
    if spec.role_arn is None:
        return Verdict("False", Reason.ROLE_NOT_SET, _role_not_set(known), known.now)
    if spec.generate_credentials_in_worker:
        return Verdict("Unknown", Reason.NOT_VERIFIABLE, messages.NOT_VERIFIABLE, known.now)
    history = known.history
    if history is None or history.verdict is None:
        return Verdict("Unknown", Reason.NOT_VERIFIED_YET, messages.NOT_VERIFIED_YET, known.now)
    verdict, nothing = history.verdict, history.nothing
    if nothing is None or verdict.status == "Unknown":
        return verdict
    message = messages.unanswered_since(verdict.message, format_time(nothing.since), nothing.verdict.message)
    return replace(verdict, message=message)


def remembered(integration: AwsIntegration, question: TrustQuestion, external_id: str) -> History:
    """The history that an earlier process left in the status, for what is shown; nothing is issued on its word."""
    status, history = integration.status, History(question)
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
    return History(
        question,
        verdict=verdict,
        verified_at=status.last_verified_time,
        principal_id=status.principal_id,
    )


def _wire(status: AwsIntegrationStatus) -> WireStatus:
    return status.model_dump(by_alias=True, exclude_none=True, mode="json", exclude={"workers"})


def _our_side(known: Knowledge) -> WireStatus:
    """What the role must be told of the operator, and the operator of the role."""
    spec, identity = known.integration.spec, known.identity
    external_id = external_id_of(known.integration, known.installation)
    extra = policies.session_actions(tags=spec.tag_assume_role, source_identity=spec.source_identity)
    principal = identity.principal
    if principal is None:
        return {}
    role = spec.role_arn or policies.role_placeholder(partition_of(principal))
    wizard = not extra and spec.duration_seconds <= WIZARD_MAX_DURATION
    return {
        "principal": principal,
        "principalId": identity.principal_id,
        "trustPolicyStatement": policies.readable(policies.trust_statement(principal, external_id, extra)),
        "trustPolicy": policies.readable(policies.trust_policy(principal, external_id, extra)),
        "callerPolicyStatement": policies.readable(policies.caller_statement(role, extra)),
        "createRoleUrl": create_role_url(principal, external_id, known.suggested_policies) if wizard else None,
    }


def _conditions(known: Knowledge) -> list[WireStatus | Condition]:
    verdict = displayed_verdict(known)
    usable = verdict.is_good or verdict.reason == Reason.NOT_VERIFIABLE
    if verdict.is_good:
        why, text = str(ReadyReason.VERIFIED), "Runs may use this integration."
    elif usable:
        why, text = str(ReadyReason.WORKER_MODE), "Runs may use this integration through their worker pools."
    else:
        why, text = str(verdict.reason), "No Run is issued credentials: condition TrustVerified says why."
    others = [
        condition for condition in known.integration.status.conditions if condition.type not in (TRUST_VERIFIED, READY)
    ]
    return [
        _condition(known, READY, "True" if usable else "False", why, text),
        _condition(known, TRUST_VERIFIED, verdict.status, str(verdict.reason), verdict.message),
        *others,
    ]


def _condition(known: Knowledge, type_: str, status: Truth, reason: str, message: str) -> WireStatus:
    """A condition whose transition time moves only when its status does."""
    before = known.integration.status.condition(type_)
    turned = before is None or before.status != status
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": known.integration.metadata.generation,
        "lastTransitionTime": known.now if turned or before is None else before.last_transition_time,
    }


def _role_not_set(known: Knowledge) -> str:
    if known.integration.spec.generate_credentials_in_worker:
        return messages.ROLE_NOT_SET_IN_WORKER_MODE
    if known.identity.principal is None and known.identity.failure is not None:
        return messages.role_not_set_without_identity(known.identity.failure)
    return messages.ROLE_NOT_SET


def _probe(result: ProbeResult) -> WireStatus:
    return {
        "name": result.probe,
        "result": result.answer,
        "time": result.at,
        "requestId": result.request_id,
        "message": result.failure.message if result.failure else None,
    }
