"""What is kept of a Run that has ended and of which nothing is left to do: a few hundred bytes instead of 16 KiB. Pure.

Ended Runs are most of those that there are. What else is to be known of one is read when it is needed.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from spacelift_aws.api.reasons import ConditionType
from spacelift_aws.api.run import Phase, Run, RunType
from spacelift_aws.controllers.run import earlier_life
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.names import ANNOTATION_ENDED, LABEL_NO_BACKUP, run_id
from spacelift_aws.runtime.store import ObjectKey

_PHASES = {str(phase): phase for phase in Phase if phase.terminal}


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A Run that has ended, bears the mark of it, and whose status says all that it should."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    run_id: str
    type: str
    phase: Phase
    integration: ObjectKey
    worker_pool: str
    expires_at: datetime | None
    """When its time to live is over."""


def read_ended(body: Mapping[str, Any]) -> EndedRun | None:
    """An object of the API as an ended Run; None where something is left to do, or it has to be looked at whole."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    phase, annotations, labels = (
        _PHASES.get(status.get("phase", "")),
        metadata.get("annotations"),
        metadata.get("labels"),
    )
    if phase is None or not annotations or not labels or metadata.get("deletionTimestamp"):
        return None
    ttl = spec.get("ttlSecondsAfterFinished")
    if ttl is not None and earlier_life.tracked_by({**labels, **annotations}) is not None:
        return None
    complete = _complete_since(status, metadata.get("generation"))
    if ANNOTATION_ENDED not in annotations or labels.get(LABEL_NO_BACKUP) != "true" or complete is None:
        return None
    reference, namespace, created = spec["integrationRef"], metadata["namespace"], metadata["creationTimestamp"]
    expires_at = _parsed(complete) + timedelta(seconds=ttl) if ttl is not None else None
    return EndedRun(
        namespace=sys.intern(namespace),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        run_id=run_id(_parsed(created), metadata["uid"]),
        type=sys.intern(spec.get("type", RunType.TASK)),
        phase=phase,
        integration=(sys.intern(reference.get("namespace") or namespace), sys.intern(reference["name"])),
        worker_pool=sys.intern(spec.get("workerPool", "default")),
        expires_at=expires_at,
    )


def _parsed(time: str) -> datetime:
    return datetime.fromisoformat(time)


def _complete_since(status: Mapping[str, Any], generation: int | None) -> str | None:
    """Since when the Run is complete, where its status is all that it should be, and about the newest spec."""
    if status.get("finishedAt") is None or status.get("observedGeneration") != generation:
        return None
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    if any(condition.get("observedGeneration") != generation for condition in conditions.values()):
        return None
    complete = conditions.get(ConditionType.COMPLETE)
    if complete is None or complete["status"] != "True" or ConditionType.SUCCEEDED not in conditions:
        return None
    told = ConditionType.STALLED in conditions or status["phase"] == Phase.FINISHED
    since: str = complete["lastTransitionTime"]
    return since if told and ConditionType.RECONCILING not in conditions else None


def ended_of(run: Run, identifier: str) -> EndedRun | None:
    """A Run for which nothing is left to do now, as what is kept of it; None where it has to be kept whole."""
    metadata, spec = run.metadata, run.spec
    unmarked = earlier_life.mark(run, identifier) is not None
    ttl, complete = spec.ttl_seconds_after_finished, run.status.condition(ConditionType.COMPLETE)
    kept = ttl is not None and earlier_life.kept_by(run) is not None
    if not run.status.phase.terminal or metadata.deletion_timestamp is not None or unmarked or complete is None or kept:
        return None
    home, name = integration_key(run)
    return EndedRun(
        namespace=sys.intern(metadata.namespace),
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
        run_id=identifier,
        type=sys.intern(str(spec.type)),
        phase=run.status.phase,
        integration=(sys.intern(home), sys.intern(name)),
        worker_pool=sys.intern(spec.worker_pool),
        expires_at=complete.last_transition_time + timedelta(seconds=ttl) if ttl is not None else None,
    )


def parse_run(body: Mapping[str, Any]) -> Run | EndedRun:
    """Read a Run of the API, whole or as what is kept of one that has ended."""
    return read_ended(body) or Run.model_validate(body)
