"""Until when a Run may wait, start and go on. Pure."""

from datetime import datetime, timedelta

from spacelift_aws.api.reasons import ConditionType
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.state import Observed


def deadline(seen: Observed, since: datetime) -> datetime | None:
    """When a run whose pod was created then has had all of its time; None where it has no deadline."""
    seconds = seen.run.spec.active_deadline_seconds
    return since + timedelta(seconds=seconds) if seconds is not None else None


def starting_deadline(seen: Observed) -> datetime:
    """Until when a container has to have started, whatever the Run waits for."""
    seconds = seen.run.spec.starting_deadline_seconds
    return seen.run.metadata.creation_timestamp + timedelta(seconds=seconds)


def deadline_of_pod(seen: Observed, pod: Pod) -> datetime | None:
    """Until when a pod may go on. The wait for a scheduling gate is a queue's business and needs no start in time."""
    started = pod.running or bool(pod.gates)
    return earliest(deadline(seen, pod.created), None if started else starting_deadline(seen))


def expiry(seen: Observed) -> datetime | None:
    """When an ended Run's time to live is over; None where it has none."""
    ttl, ended = seen.run.spec.ttl_seconds_after_finished, ended_at(seen)
    return ended + timedelta(seconds=ttl) if ttl is not None and ended is not None else None


def ended_at(seen: Observed) -> datetime | None:
    """When the end was written, by our own clock: `finishedAt` comes from the clock of a node."""
    complete = seen.run.status.condition(ConditionType.COMPLETE)
    written = complete.last_transition_time if complete is not None else seen.run.status.finished_at
    return min(written, seen.now) if written is not None else None


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of the moments that there are."""
    return min((moment for moment in moments if moment is not None), default=None)
