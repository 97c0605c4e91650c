"""What to do next for a Run: one pure function from what is known to a list of actions.

    Queued ──► IssueCredentials ──► CreatePod ──► (pod starts) Running ──► (pod ended) DeleteSecret ──► terminal phase
       │                                             │                                    ▲
       └── stop, deadline, refused template ─────────┴── stop, deadline, pod deleted ─────┘

Asked again after every action and every change, it needs no record of where it was: each answer follows from the
objects as they are. An action that was done already is either not asked for again or harmless to repeat.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spacelift_aws.api.reasons import SucceededReason
from spacelift_aws.api.run import Phase, RunStatus
from spacelift_aws.names import child_name
from spacelift_aws.run import status
from spacelift_aws.run.observed import Grant, Observed, SecretState
from spacelift_aws.run.outcome import finished_at, outcome_of, trouble_of
from spacelift_aws.run.pods import Pod
from spacelift_aws.run.status import End
from spacelift_aws.run.template import credentialed_containers, refusal


@dataclass(frozen=True, slots=True)
class IssueCredentials:
    """Assume the role and put the session into the Run's Secret, in place of one that may be there."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create the Run's pod; its Secret is there."""


@dataclass(frozen=True, slots=True)
class LookForPod:
    """Ask the API server for the pod: what was seen so far does not prove that it is gone."""


@dataclass(frozen=True, slots=True)
class DeletePod:
    """End the pod gently."""

    uid: str


@dataclass(frozen=True, slots=True)
class DeleteSecret:
    """Delete the Secret by name, whether or not it is there."""


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Write this status, if the Run is still the one decided on."""

    status: RunStatus


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """The Run's time to live after its end is over."""


NEAR_EXPIRY = timedelta(minutes=5)
"""Credentials that a container has yet to read are replaced so long before their end: a third of the shortest life."""
CLOCK_SKEW = timedelta(seconds=5)
"""The API server's clock decides when a pod's deletion was asked for, ours when its deadline has come."""
LAST_MOMENT = timedelta(minutes=1)
"""Those that could not be replaced are taken away so long before their end: no container starts with dead ones."""

Action = IssueCredentials | CreatePod | LookForPod | DeletePod | DeleteSecret | WriteStatus | DeleteRun


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions to do now, in this order, and when to look again if nothing changes before."""

    actions: tuple[Action, ...] = ()
    again_at: datetime | None = None


def decide(seen: Observed) -> Decision:
    """The next actions for a Run."""
    if seen.run.status.phase.terminal:
        return _after_the_end(seen)
    if seen.pod is not None:
        return _with_pod(seen, seen.pod)
    if seen.run.status.phase is not Phase.QUEUED:
        return _pod_vanished(seen)
    return _queued(seen)


def _queued(seen: Observed) -> Decision:
    """No pod yet: may it have one, and if not, why?"""
    run = seen.run
    waits_since = run.metadata.creation_timestamp
    deadline = waits_since + timedelta(seconds=run.spec.starting_deadline_seconds) + seen.patience
    if run.spec.stop and seen.now >= waits_since + seen.patience:
        return _finish(seen, End(Phase.STOPPED, SucceededReason.STOPPED, "Stopped before it had started."))
    if seen.now >= deadline:
        return _finish(seen, End(Phase.FAILED, SucceededReason.STARTING_DEADLINE_EXCEEDED, _never_started(seen)))
    refused = refusal(run.spec)
    if refused is not None:
        return _finish(seen, End(Phase.FAILED, SucceededReason.TEMPLATE_REFUSED, refused))
    verdict = seen.memory.verdict
    if verdict is not None:
        return _finish(seen, End(Phase.FAILED, verdict.reason, verdict.message))
    if not isinstance(seen.grant, Grant):
        return _wait(seen, status.waiting(seen, seen.grant.reason, seen.grant.message), deadline)
    trouble = seen.memory.trouble
    if trouble is not None and seen.now < trouble.retry_at:
        return _wait(seen, status.waiting(seen, trouble.reason, trouble.message), min(deadline, trouble.retry_at))
    if seen.memory.secret is not SecretState.PRESENT:
        return Decision((IssueCredentials(seen.grant),))
    if seen.expires_at is None or seen.now >= seen.expires_at - NEAR_EXPIRY:
        return Decision((IssueCredentials(seen.grant),))
    return Decision((CreatePod(),))


def _wait(seen: Observed, wanted: RunStatus, until: datetime) -> Decision:
    """Wait without a Secret: a live one that no pod uses is exposure for nothing."""
    memory = seen.memory
    deletion = None
    if memory.secret is not SecretState.UNKNOWN or memory.unanswered_at is not None:
        deletion = _rid_of_secret(seen)
    if deletion is not None and deletion.actions:
        return deletion
    if seen.run.spec.stop:
        until = min(until, seen.run.metadata.creation_timestamp + seen.patience)
    if deletion is not None and deletion.again_at is not None:
        until = min(until, deletion.again_at)
    return Decision(_write(seen, wanted), until)


def _with_pod(seen: Observed, pod: Pod) -> Decision:
    """The pod exists, or did a moment ago."""
    if pod.finished or pod.gone:
        return _finish(seen, _end_of(seen, pod))
    if pod.deletion is not None:
        lost_at = pod.deletion + seen.limits.lost_node
        if seen.now >= lost_at:
            return _finish(seen, _end_of(seen, pod))
        return Decision(_write(seen, status.with_pod(seen, pod, _ending(seen, pod))), lost_at)
    deadline = _deadline(seen, pod.created)
    if seen.run.spec.stop or (deadline is not None and seen.now >= deadline):
        return Decision((DeletePod(pod.uid),))
    return _keep_going(seen, pod, deadline)


def _keep_going(seen: Observed, pod: Pod, deadline: datetime | None) -> Decision:
    """The pod starts or runs: credentials that it has yet to read must be alive when it does."""
    wakes = [deadline]
    trouble = trouble_of(pod)
    if pod.awaits_credentials(credentialed_containers(seen.run.spec)):
        decision, wake = _keep_fresh(seen, pod)
        if decision is not None:
            return decision
        wakes.append(wake)
    if not pod.running and trouble is None and seen.run.status.phase is Phase.QUEUED:
        settled = pod.created + seen.limits.preparing
        if seen.now < settled:
            return Decision((), min(wake for wake in [*wakes, settled] if wake is not None))
    wanted = status.with_pod(seen, pod, trouble)
    return Decision(_write(seen, wanted), min((wake for wake in wakes if wake is not None), default=None))


def _keep_fresh(seen: Observed, pod: Pod) -> tuple[Decision | None, datetime | None]:
    """Replace credentials that near expiry before a container read them; or when to look at that again."""
    expires_at = seen.expires_at
    due = expires_at - NEAR_EXPIRY if expires_at is not None else seen.now
    if _misses_secret(seen, pod):
        issued_at = seen.memory.issued_at
        due = min(due, issued_at + seen.limits.secret_seen if issued_at else seen.now)
    if seen.now < due:
        return None, due
    trouble = seen.memory.trouble
    if isinstance(seen.grant, Grant) and (trouble is None or seen.now >= trouble.retry_at):
        return Decision((IssueCredentials(seen.grant),)), None
    last_moment = expires_at - LAST_MOMENT if expires_at is not None else seen.now
    if seen.now >= last_moment and seen.memory.secret is not SecretState.GONE:
        # Without a Secret the container waits; with this one it would start with credentials that are dead.
        return Decision((DeleteSecret(),)), None
    retry_at = trouble.retry_at if trouble else None
    return None, min((t for t in (last_moment, retry_at) if t is not None and t > seen.now), default=None)


def _pod_vanished(seen: Observed) -> Decision:
    """There was a pod once, by the Run's phase, and none is known now."""
    if not seen.memory.pod_missing:
        return Decision((LookForPod(),))
    return _finish(seen, _end_of(seen, None))


def _end_of(seen: Observed, pod: Pod | None) -> End:
    """How a Run ends whose pod has finished, is gone, or hangs on a lost node."""
    outcome = outcome_of(pod) if pod is not None else None
    ended = (finished_at(pod) if pod is not None else None) or seen.now
    if outcome is not None and outcome.reason is SucceededReason.FINISHED:
        message = "The run finished; its credentials are deleted."
        return End(Phase.FINISHED, SucceededReason.FINISHED, message, outcome.exit_code, ended)
    cut_short = outcome is None or outcome.reason is SucceededReason.POD_DELETED
    if cut_short and seen.run.spec.stop:
        return End(Phase.STOPPED, SucceededReason.STOPPED, "Stopped as asked for.", None, ended)
    since = pod.created if pod is not None else seen.run.status.started_at
    deadline = _deadline(seen, since) if since is not None else None
    if cut_short and deadline is not None and deadline <= (_deletion_asked(pod) or seen.now) + CLOCK_SKEW:
        message = f"The run was still going after its {seen.run.spec.active_deadline_seconds} seconds and was ended."
        return End(Phase.FAILED, SucceededReason.DEADLINE_EXCEEDED, message, None, ended)
    if pod is not None and not pod.gone and not pod.finished:
        return End(Phase.FAILED, SucceededReason.NODE_LOST, "The pod's node no longer answers.", None, ended)
    if outcome is None:
        return End(Phase.FAILED, SucceededReason.POD_DELETED, "The pod was deleted.", None, ended)
    return End(Phase.FAILED, outcome.reason, outcome.message, outcome.exit_code, ended)


def _finish(seen: Observed, end: End) -> Decision:
    """The terminal phase, but first the Secret: gone by the API server's own word, and for good."""
    deletion = _rid_of_secret(seen)
    if deletion is None:
        return Decision(_write(seen, status.terminal(seen, end)))
    if deletion.actions or seen.memory.secret is not SecretState.HELD:
        return deletion
    if seen.expires_at is not None and seen.now >= seen.expires_at:
        return Decision(_write(seen, status.terminal(seen, end)))
    message = (
        f"Secret `{child_name(seen.run_id)}` is deleted but held by a finalizer, with credentials that live until "
        "they expire; remove the finalizer. The run's end is written once the Secret is gone."
    )
    return Decision(_write(seen, status.held(seen, message)), deletion.again_at)


def _rid_of_secret(seen: Observed) -> Decision | None:
    """What remains to be done until the Secret is gone and cannot come back; None when nothing does.

    A creation that was never answered may still be carried out: its deletion is repeated until it no longer can.
    """
    memory, limits = seen.memory, seen.limits
    if memory.secret not in (SecretState.GONE, SecretState.HELD) or memory.deleted_at is None:
        return Decision((DeleteSecret(),))
    in_doubt_until = memory.unanswered_at + limits.creation_in_doubt if memory.unanswered_at else memory.deleted_at
    if memory.secret is SecretState.GONE and memory.deleted_at >= in_doubt_until:
        return None
    again_at = memory.deleted_at + limits.deletion_repeat
    return Decision((DeleteSecret(),)) if seen.now >= again_at else Decision((), again_at)


def _after_the_end(seen: Observed) -> Decision:
    """Nothing of a Run outlives its terminal phase, whoever wrote it; later the Run itself goes."""
    actions: list[Action] = []
    pod, memory = seen.pod, seen.memory
    if pod is not None and not pod.gone and not pod.finished and pod.deletion is None:
        actions.append(DeletePod(pod.uid))
    if actions:
        return Decision(tuple(actions), seen.now + seen.limits.deletion_repeat)
    # A terminal phase of our own was written after the Secret's end. One that another hand wrote shows
    # in what this process remembers or, after a restart, in a pod whose credentials are still alive.
    live = pod is not None and pod.expires_at is not None and pod.expires_at > seen.now
    if live or memory.secret is not SecretState.UNKNOWN or memory.unanswered_at is not None:
        deletion = _rid_of_secret(seen)
        if deletion is not None:
            return deletion
    ttl, ended = seen.run.spec.ttl_seconds_after_finished, seen.run.status.finished_at
    if ttl is None or ended is None:
        return Decision()
    expires = ended + timedelta(seconds=ttl)
    return Decision((DeleteRun(),)) if seen.now >= expires else Decision((), expires)


def _write(seen: Observed, wanted: RunStatus) -> tuple[Action, ...]:
    return () if wanted == seen.run.status else (WriteStatus(wanted),)


def _misses_secret(seen: Observed, pod: Pod) -> bool:
    """Whether the kubelet says that the Secret is not there."""
    name = child_name(seen.run_id)
    return any(
        container.reason == "CreateContainerConfigError" and name in container.message for container in pod.containers
    )


def _deadline(seen: Observed, since: datetime) -> datetime | None:
    seconds = seen.run.spec.active_deadline_seconds
    return since + timedelta(seconds=seconds) if seconds is not None else None


def _deletion_asked(pod: Pod | None) -> datetime | None:
    return pod.deletion - pod.grace if pod is not None and pod.deletion is not None else None


def _ending(seen: Observed, pod: Pod) -> str | None:
    if seen.run.spec.stop:
        return "Stopping: the pod has its grace period to end."
    return "The pod is being deleted."


def _never_started(seen: Observed) -> str:
    said = seen.memory.trouble.message if seen.memory.trouble else None
    if said is None and not isinstance(seen.grant, Grant):
        said = seen.grant.message
    start = f"Not started within {seen.run.spec.starting_deadline_seconds} seconds"
    return f"{start}: {said}" if said else f"{start}."
