"""Looking after the Runs of another executor. Pure.

A worker pool that was removed, with its namespace say, ends nothing any more. So the controller watches whether a Run
of a worker has something to be done about it: its end, or what follows on it. Where that stays undone for
`takeover_grace`, the controller does it as for a Run of its own. A Run that goes on well needs no pool for that.

How long it has been undone is measured by this process: nothing in a Run says since when `stop` is set.
"""

from dataclasses import replace
from datetime import datetime

from spacelift_aws.api.reasons import ConditionType
from spacelift_aws.api.run import Phase
from spacelift_aws.controllers.run import earlier_life, status
from spacelift_aws.controllers.run.actions import Decision
from spacelift_aws.controllers.run.deadlines import deadline_of_pod, earliest, expiry, starting_deadline
from spacelift_aws.controllers.run.ending import goes_on, is_unmarked
from spacelift_aws.controllers.run.pod.view import Pod, template_part
from spacelift_aws.controllers.run.state import Authorized, Observed


def left_to_its_executor(seen: Observed) -> Decision | None:
    """What to do while it is another executor's turn; None where that one has let it pass."""
    since, undone = seen.progress.undone_since, _is_undone(seen)
    until = since + seen.takeover_grace if since is not None else None
    if not undone and until is not None and (seen.now < until or not seen.run.status.phase.terminal):
        return Decision(progress=replace(seen.progress, undone_since=None))
    if not undone:
        return _wait(seen, _next_change(seen))
    if until is None:
        return Decision(progress=replace(seen.progress, undone_since=seen.now))
    return _wait(seen, until) if seen.now < until else None


def _is_undone(seen: Observed) -> bool:
    """Whether its executor has something to do about the Run's end at this moment."""
    if seen.run.status.phase.terminal:
        return _is_untidy(seen)
    if seen.stopped:
        return True
    waits = seen.run.status.phase is Phase.QUEUED or status.is_pod_refused(seen.run.status)
    if seen.pod is not None and not (waits and seen.pod.gone):
        return _is_to_end(seen, seen.pod)
    return not waits or seen.now >= starting_deadline(seen)


def _is_to_end(seen: Observed, pod: Pod) -> bool:
    if pod.finished or pod.gone or template_part(pod, seen.template.containers).ended:
        return True
    until = pod.deletion or deadline_of_pod(seen, pod)
    return until is not None and seen.now >= until


def _is_untidy(seen: Observed) -> bool:
    """Whether something of an ended Run is left that its executor should have removed, or marked."""
    if seen.run.metadata.deletion_timestamp is not None:
        return False
    if (seen.pod is not None and goes_on(seen.pod)) or is_unmarked(seen):
        return True
    expires = expiry(seen)
    return expires is not None and seen.now >= expires and earlier_life.kept_by(seen.run) is None


def _next_change(seen: Observed) -> datetime | None:
    """When its executor may have something to do next, should nothing happen before."""
    if seen.run.status.phase.terminal:
        expires = expiry(seen)
        return expires if expires is not None and expires > seen.now else None
    if seen.pod is not None:
        return seen.pod.deletion or deadline_of_pod(seen, seen.pod)
    return starting_deadline(seen)


def _wait(seen: Observed, until: datetime | None) -> Decision:
    """Where a Run waits and its executor is silent, say so. Its Secret, if it has one, is not ours to delete."""
    if seen.pod is not None or seen.run.status.phase is not Phase.QUEUED:
        return Decision((), until)
    speaks_at = seen.run.metadata.creation_timestamp + seen.limits.another_silent
    if seen.now < speaks_at:
        return Decision((), earliest(until, speaks_at))
    if isinstance(seen.grant, Authorized) or _has_spoken(seen):
        return Decision((), until)
    return Decision(status.write(seen, status.waiting(seen, seen.grant.reason, seen.grant.message)), until)


def _has_spoken(seen: Observed) -> bool:
    """Whether a worker has said why the Run waits: its word stands, ours would only take turns with it."""
    said = seen.run.status.condition(ConditionType.CREDENTIALS_ISSUED)
    return said is not None and seen.run.status.executor not in (None, seen.executor)
