"""What to do next for a Job: one pure function from what is known to the next actions.

    (suspended) ──► CreateRun ──► WriteJobStatus (active) ──► the Run's own way ──► WriteJobStatus (Complete or Failed)
         ▲                                │
         └── DeleteRunOfJob ◄── StopRun ◄──────┘ suspend; the deadline only stops

The Run does all that a pod and credentials are needed for; this only begins it, stops it, and tells its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from spacelift_aws.api.reasons import SucceededReason
from spacelift_aws.api.run import Phase, Run
from spacelift_aws.controllers.job import status
from spacelift_aws.controllers.job.rules import refusal
from spacelift_aws.controllers.job.view import MANAGED_BY, Job, owns
from spacelift_aws.names import ANNOTATION_ENDED, ANNOTATION_REQUESTED_BY

REFUSED = "JobRefused"
"""Reason of a Job that cannot be executed as it is written."""
UNCHECKED = "CreatorNotChecked"
"""Reason of a Job that is older than the policy which asks what its creator may use."""
RUN_DELETED = "RunDeleted"
"""Reason of a Job whose Run somebody deleted before it had ended."""
NAME_TAKEN = "RunNameTaken"
"""Reason of the Event of a Job that waits because a Run of its name is somebody else's."""


Patch = Mapping[str, Any]
"""A merge patch of a status."""


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """One Job, the Run of its name, and what this process was told."""

    job: Job
    run: Run | None
    now: datetime
    checked_since: datetime | None = None
    """Since when creators of Jobs are checked; None where nobody checks them."""
    run_missing: bool = False
    """The API server answered that there is no such Run."""


@dataclass(frozen=True, slots=True)
class CreateRun:
    """Create the Job's Run."""


@dataclass(frozen=True, slots=True)
class LookForRun:
    """Ask the API server for the Run: what was seen so far does not prove that it is gone."""


@dataclass(frozen=True, slots=True)
class StopRun:
    """Let the Run end, with its grace."""


@dataclass(frozen=True, slots=True)
class DeleteRunOfJob:
    """Delete the Run, which has ended, so that another may take its name."""

    uid: str


@dataclass(frozen=True, slots=True)
class WriteJobStatus:
    """Merge this into the Job's status, if the Job is still the one decided on."""

    patch: Patch
    event: tuple[str, str, str] | None = None
    """Type, reason and message of the Event that tells of it."""


@dataclass(frozen=True, slots=True)
class Tell:
    """An Event."""

    type: str
    reason: str
    message: str


JobAction = CreateRun | LookForRun | StopRun | DeleteRunOfJob | WriteJobStatus | Tell


@dataclass(frozen=True, slots=True)
class JobDecision:
    """Actions to do now, in this order, and when to look again if nothing changes before."""

    actions: tuple[JobAction, ...] = ()
    again_at: datetime | None = None


def decide(seen: ObservedJob) -> JobDecision:
    """The next actions for a Job."""
    job, run = seen.job, seen.run
    if job.finished or job.deleted:
        return _over(seen)
    if run is not None and not owns(job, run):
        return _name_taken(seen)
    if run is None:
        return _without_run(seen)
    if run.status.phase is Phase.FINISHED:
        return _end(seen, run)
    # Of a suspension that was taken back only the Run that it stopped is left: the one that follows is not stopped.
    if job.suspended or (job.suspending and run.spec.stop):
        return _suspend(seen, run)
    if run.status.phase.terminal:
        return _end(seen, run)
    return _under_way(seen, run)


def _over(seen: ObservedJob) -> JobDecision:
    """No pod goes on for a Job that has ended: its creation arrived late, or somebody else wrote the Job's end."""
    run = seen.run
    if run is None or seen.job.deleted or not owns(seen.job, run) or run.status.phase.terminal or run.spec.stop:
        return JobDecision()
    return JobDecision((StopRun(),))


def _without_run(seen: ObservedJob) -> JobDecision:
    """No Run: was there one, and may there be one now?"""
    job = seen.job
    refused = refusal(job)
    if refused is not None:
        return fail(seen, REFUSED, refused)
    if job.suspended:
        return _write(seen, status.suspended(job, seen.now))
    if not job.begun:
        if ANNOTATION_ENDED in job.annotations:
            return fail(seen, SucceededReason.RESTORED, _restored())
        if seen.checked_since is not None and job.created < seen.checked_since:
            return fail(seen, UNCHECKED, _unchecked())
        return JobDecision((CreateRun(),))
    if not seen.run_missing:
        return JobDecision((LookForRun(),))
    return fail(seen, RUN_DELETED, f"Run {job.name} was deleted before it had ended.", pods=1)


def _unchecked() -> str:
    return (
        f"The Job is older than the admission policy for Jobs of {MANAGED_BY}, so it was not checked what its creator "
        "may use. Delete it and create it again."
    )


def _restored() -> str:
    return (
        f"This Job was restored or copied: its annotation {ANNOTATION_ENDED} comes from an earlier Job. To execute it "
        f"again, create it without {ANNOTATION_ENDED} and {ANNOTATION_REQUESTED_BY}."
    )


def _name_taken(seen: ObservedJob) -> JobDecision:
    """Whoever has the name keeps it: a Job acts on no Run but its own."""
    name = seen.job.name
    return JobDecision(
        (Tell("Warning", NAME_TAKEN, f"Run {name} does not belong to this Job: delete the Run, or rename the Job."),)
    )


def _suspend(seen: ObservedJob, run: Run) -> JobDecision:
    """The pod ends with its grace, and the Run makes way for the next one."""
    if run.status.phase.terminal:
        return JobDecision((DeleteRunOfJob(run.metadata.uid),))
    actions = _patched(seen, status.suspending(seen.job))
    return JobDecision(actions if run.spec.stop else (*actions, StopRun()))


def _end(seen: ObservedJob, run: Run) -> JobDecision:
    """The Run has ended, and the Job with it."""
    if run.status.phase is Phase.FINISHED:
        return _write(seen, status.succeeded(seen.job, run, seen.now), "Normal")
    deadline = _deadline(seen.job)
    late = deadline is not None and seen.now >= deadline
    return _write(seen, status.failure_of(seen.job, run, seen.now, late=late), "Warning")


def _under_way(seen: ObservedJob, run: Run) -> JobDecision:
    """The Run goes its way; the Job shows how far it is, and has a deadline of its own."""
    deadline = _deadline(seen.job)
    actions = _patched(seen, status.begun(seen.job, run, seen.now))
    if deadline is not None and seen.now >= deadline and not run.spec.stop:
        return JobDecision((*actions, StopRun()))
    return JobDecision(actions, deadline)


def _deadline(job: Job) -> datetime | None:
    seconds = job.spec.get("activeDeadlineSeconds")
    return job.started + timedelta(seconds=seconds) if seconds is not None and job.started is not None else None


def fail(seen: ObservedJob, reason: str, message: str, *, pods: int = 0) -> JobDecision:
    """End the Job without success."""
    return _write(seen, status.failed(seen.job, reason, message, seen.now, pods=pods), "Warning")


def _write(seen: ObservedJob, wanted: Mapping[str, Any], event: str | None = None) -> JobDecision:
    """Write what differs; an end is told by an Event too, in the words of its last condition."""
    patch = status.patch(seen.job, wanted)
    if not patch:
        return JobDecision()
    if event is None:
        return JobDecision((WriteJobStatus(patch),))
    last = wanted["conditions"][-1]
    return JobDecision((WriteJobStatus(patch, (event, last["reason"], last["message"])),))


def _patched(seen: ObservedJob, wanted: Mapping[str, Any]) -> tuple[JobAction, ...]:
    patch = status.patch(seen.job, wanted)
    if not patch:
        return ()
    said, says = seen.job.condition(status.WAITS), _waits(wanted)
    news = says is not None and says["status"] == "False" and (said or {}).get("reason") != says["reason"]
    return (WriteJobStatus(patch, ("Warning", says["reason"], says["message"]) if news and says else None),)


def _waits(wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((one for one in wanted.get("conditions") or () if one["type"] == status.WAITS), None)
