"""The status of a Job, as its Run and the Job API demand it. Pure.

What the API server holds a controller to is in Kubernetes' `ValidateJobStatusUpdate`: `FailureTarget` comes with or
before `Failed`, `SuccessCriteriaMet` with or before `Complete`, a finished Job has a start time and nothing active, and
a start time changes only while the Job is suspended.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from spacelift_aws.api.meta import format_time, shorten
from spacelift_aws.api.reasons import ConditionType, SucceededReason
from spacelift_aws.api.run import Phase, Run
from spacelift_aws.controllers.job.view import PREFIX, Job, JobBody

WAITS = PREFIX + ConditionType.CREDENTIALS_ISSUED
"""The Run's condition of that name, on its Job: for what it waits."""

Conditions = tuple[JobBody, ...]


def begun(job: Job, run: Run, now: datetime) -> dict[str, Any]:
    """The Job has a Run that has not ended."""
    conditions: Conditions = tuple(job.status.get("conditions") or ())
    if job.holds("Suspended"):
        conditions = _with(conditions, "Suspended", "False", "JobResumed", "Job resumed", now)
    conditions = _with_what_it_waits_for(job, conditions, run, now)
    return {
        "startTime": job.status.get("startTime") or format_time(now),
        "active": 1,
        "ready": 1 if run.status.phase is Phase.RUNNING else 0,
        "terminating": 0,
        **_list(conditions),
    }


def suspended(job: Job, now: datetime) -> dict[str, Any]:
    """The Job has no Run, and is to have none for now. Its time starts anew when it is resumed."""
    conditions: Conditions = tuple(job.status.get("conditions") or ())
    if not job.holds("Suspended"):
        conditions = _with(conditions, "Suspended", "True", "JobSuspended", "Job suspended", now)
    return {"startTime": None, "active": 0, "ready": 0, "terminating": 0, **_list(conditions)}


def suspending(job: Job) -> dict[str, Any]:
    """The Job's Run is on its way to its end, and its pod with it."""
    return {"active": 0, "ready": 0, "terminating": 1}


def succeeded(job: Job, run: Run, now: datetime) -> dict[str, Any]:
    """The Run is Finished."""
    conditions: Conditions = tuple(job.status.get("conditions") or ())
    for type_ in ("SuccessCriteriaMet", "Complete"):
        conditions = _with(conditions, type_, "True", "CompletionsReached", _words(run), now)
    return {**_ended(job, now), "succeeded": 1, "completionTime": format_time(now), **_list(conditions)}


def failed(job: Job, reason: str, message: str, now: datetime, *, pods: int = 0) -> dict[str, Any]:
    """The Job has ended without success; `pods` is how many pods failed with it."""
    conditions: Conditions = tuple(job.status.get("conditions") or ())
    for type_ in ("FailureTarget", "Failed"):
        conditions = _with(conditions, type_, "True", reason, message, now)
    return {**_ended(job, now), "failed": pods, **_list(conditions)}


def failure_of(job: Job, run: Run, now: datetime, *, late: bool) -> dict[str, Any]:
    """The Run ended without success; `late`: because the Job's own deadline was over."""
    told = run.status.condition(ConditionType.SUCCEEDED)
    reason = str(told.reason) if told is not None else str(run.status.phase)
    message = _words(run)
    if late and reason == SucceededReason.STOPPED:
        reason = str(SucceededReason.DEADLINE_EXCEEDED)
        message = f"The Job was still running after its {job.spec['activeDeadlineSeconds']} seconds. {message}"
    return failed(job, reason, message, now, pods=1 if run.status.pod_name is not None else 0)


def patch(job: Job, wanted: JobBody) -> dict[str, Any]:
    """The merge patch that brings a Job's status to what is wanted; empty where it is so already.

    The API server leaves out what is zero.
    """
    return {key: value for key, value in wanted.items() if (job.status.get(key) or None) != (value or None)}


def _ended(job: Job, now: datetime) -> dict[str, Any]:
    return {"startTime": job.status.get("startTime") or format_time(now), "active": 0, "ready": 0, "terminating": 0}


def _words(run: Run) -> str:
    identity = f", run ID {run.status.run_id}" if run.status.run_id else ""
    return f"Run {run.metadata.name}{identity}: {run.status.message or run.status.phase}"


def _with_what_it_waits_for(job: Job, conditions: Conditions, run: Run, now: datetime) -> Conditions:
    """A Run that has credentials needs no word on its Job, unless the Job still says that it waits."""
    told = run.status.condition(ConditionType.CREDENTIALS_ISSUED)
    if told is None or (told.status == "True" and job.condition(WAITS) is None):
        return conditions
    return _with(conditions, WAITS, told.status, str(told.reason), told.message, now)


def _with(
    conditions: Iterable[JobBody], type_: str, status: str, reason: str, message: str, now: datetime
) -> Conditions:
    """The conditions with one replaced or added; its transition time stays where its status does."""
    kept = tuple(conditions)
    known = next((one for one in kept if one.get("type") == type_), None)
    moment = known["lastTransitionTime"] if known and known.get("status") == status else format_time(now)
    new = {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": shorten(message),
        "lastProbeTime": known.get("lastProbeTime") if known else format_time(now),
        "lastTransitionTime": moment,
    }
    return (*(one for one in kept if one.get("type") != type_), new)


def _list(conditions: Conditions) -> dict[str, Any]:
    return {"conditions": list(conditions)} if conditions else {}
