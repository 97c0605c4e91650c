"""What to do next for a Run: one pure function from what is known to a list of actions.

    Queued ──► IssueCredentials ──► CreatePod ──► (pod starts) Running ──► (pod ended) DeleteSecret ──► terminal phase
       │                                             │                                    ▲
       └── stop, deadline, refused template ─────────┴── stop, deadline, pod deleted ─────┘

Asked again after every action and every change, it needs no record of where it was: each answer follows from the
objects as they are. An action that was done already is either not asked for again or harmless to repeat.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spacelift_aws.api.reasons import ConditionType, SucceededReason
from spacelift_aws.api.run import Phase, RunStatus
from spacelift_aws.names import POOL_VOICE, child_name
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
class NoteVanished:
    """Remember since when the pod of another executor's Run is missing."""


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
    warning: str | None = None
    """The reason of the Event that tells a new message of a run under way; None where that is no news to anybody."""


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """The Run's time to live after its end is over."""


NEAR_EXPIRY = timedelta(minutes=5)
"""Credentials that a container has yet to read are replaced so long before their end: a third of the shortest life."""
RENEWAL_PAUSE = timedelta(minutes=1)
"""Credentials are not replaced sooner: where clocks disagree, a new session may seem to near its end at once."""
LAST_MOMENT = timedelta(minutes=1)
"""Those that could not be replaced are taken away so long before their end: no container starts with dead ones."""
CLOCK_SKEW = timedelta(seconds=5)
"""The API server's clock decides when a pod's deletion was asked for, ours when its deadline has come."""

STOPPING = "Stopping: the pod has its grace period to end."
ENDING = "The pod is being deleted."

Action = IssueCredentials | CreatePod | LookForPod | NoteVanished | DeletePod | DeleteSecret | WriteStatus | DeleteRun


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions to do now, in this order, and when to look again if nothing changes before."""

    actions: tuple[Action, ...] = ()
    again_at: datetime | None = None


def decide(seen: Observed) -> Decision:
    """The next actions for a Run."""
    if seen.run.status.phase.terminal:
        return _after_the_end(seen)
    if seen.pod is None and seen.run.status.phase is Phase.QUEUED:
        return _queued(seen)
    if seen.patience:
        left = _left_to_its_executor(seen)
        if left is not None:
            return left
    return _with_pod(seen, seen.pod) if seen.pod is not None else _pod_vanished(seen)


def _queued(seen: Observed) -> Decision:
    """No pod yet: may it have one, and if not, why?"""
    end = _end_of_waiting(seen)
    if end is not None:
        return _finish(seen, end)
    if seen.patience:
        return _left_to_another(seen)
    refused = refusal(seen.run.spec, own_account=seen.own_account)
    if refused is not None:
        return _finish(seen, End(Phase.FAILED, SucceededReason.TEMPLATE_REFUSED, refused))
    verdict = seen.memory.verdict
    if verdict is not None:
        return _finish(seen, End(Phase.FAILED, verdict.reason, verdict.message))
    if not isinstance(seen.grant, Grant):
        return _wait(seen, status.waiting(seen, seen.grant.reason, seen.grant.message), _starting_deadline(seen))
    trouble = seen.memory.trouble
    if trouble is not None and seen.now < trouble.retry_at:
        wanted = status.waiting(seen, trouble.reason, trouble.message)
        return _wait(seen, wanted, min(_starting_deadline(seen), trouble.retry_at))
    if seen.memory.secret is not SecretState.PRESENT or seen.now >= _renewal_due(seen):
        return Decision((IssueCredentials(seen.grant),))
    return Decision((CreatePod(),))


def _end_of_waiting(seen: Observed) -> End | None:
    """Why a Run without a pod is not to have one any more."""
    if seen.stopped and seen.now >= seen.run.metadata.creation_timestamp + seen.patience:
        return End(Phase.STOPPED, SucceededReason.STOPPED, "Stopped before it had started.")
    if seen.now >= _starting_deadline(seen):
        return End(Phase.FAILED, SucceededReason.STARTING_DEADLINE_EXCEEDED, _never_started(seen))
    return None


def _left_to_another(seen: Observed) -> Decision:
    """Another executor's Run: where that one is silent, say so. Its Secret, if it has one, is not ours to delete."""
    created = seen.run.metadata.creation_timestamp
    until = created + seen.patience if seen.stopped else _starting_deadline(seen)
    speaks_at = created + seen.limits.another_silent
    if seen.now < speaks_at:
        return Decision((), min(speaks_at, until))
    if isinstance(seen.grant, Grant) or _another_speaks(seen):
        return Decision((), until)
    return Decision(_write(seen, status.waiting(seen, seen.grant.reason, seen.grant.message)), until)


def _another_speaks(seen: Observed) -> bool:
    """Whether a worker has said why the Run waits: its word stands, ours would only take turns with it."""
    said = seen.run.status.condition(ConditionType.CREDENTIALS_ISSUED)
    return said is not None and said.message.startswith(POOL_VOICE)


def _wait(seen: Observed, wanted: RunStatus, until: datetime) -> Decision:
    """Wait without a Secret: a live one that no pod uses is exposure for nothing."""
    memory = seen.memory
    if memory.secret is SecretState.UNKNOWN and memory.unanswered_at is None:
        return Decision(_write(seen, wanted), until)
    deletion = _rid_of_secret(seen, repeatedly=False)
    if deletion is None:
        return Decision(_write(seen, wanted), until)
    return Decision(deletion.actions or _write(seen, wanted), _earliest(until, deletion.again_at))


def _with_pod(seen: Observed, pod: Pod) -> Decision:
    """The pod exists, or did a moment ago."""
    if pod.finished or pod.gone:
        return _finish(seen, _end_of(seen, pod))
    if pod.deletion is not None:
        lost_at = pod.deletion + seen.limits.lost_node
        if seen.now >= lost_at:
            return _finish(seen, _end_of(seen, pod))
        return Decision(_write(seen, status.with_pod(seen, pod, STOPPING if seen.stopped else ENDING)), lost_at)
    deadline = _deadline(seen, pod.created)
    if seen.stopped or (deadline is not None and seen.now >= deadline):
        return Decision((DeletePod(pod.uid),))
    return _keep_going(seen, pod, deadline)


def _keep_going(seen: Observed, pod: Pod, deadline: datetime | None) -> Decision:
    """The pod starts or runs: credentials that it has yet to read must be alive when it does."""
    trouble, wake = trouble_of(pod, seen.run.status.message), deadline
    if pod.awaits_credentials(credentialed_containers(seen.run.spec)):
        due = _renewal_due(seen, missing=_misses_secret(seen, pod))
        if seen.now < due:
            wake = _earliest(wake, due)
        else:
            renewal = _renew(seen, pod)
            if not isinstance(renewal, _NotRenewed):
                return Decision((renewal,))
            trouble, wake = renewal.message, _earliest(wake, renewal.again_at)
    if not pod.running and trouble is None and seen.run.status.phase is Phase.QUEUED:
        settled = pod.created + seen.limits.preparing
        if seen.now < settled:
            return Decision((), _earliest(wake, settled))
    return Decision(_write(seen, status.with_pod(seen, pod, trouble), "PodNotReady"), wake)


@dataclass(frozen=True, slots=True)
class _NotRenewed:
    """Credentials cannot be replaced at this moment: what to tell, and when to look again."""

    message: str
    again_at: datetime | None


def _renewal_due(seen: Observed, *, missing: bool = False) -> datetime:
    """When credentials that no container has read yet are to be replaced; `missing` is what a kubelet says."""
    issued_at = seen.memory.issued_at
    if missing:
        return issued_at + seen.limits.secret_seen if issued_at is not None else seen.now
    due = seen.expires_at - NEAR_EXPIRY if seen.expires_at is not None else seen.now
    return max(due, issued_at + RENEWAL_PAUSE) if issued_at is not None else due


def _renew(seen: Observed, pod: Pod) -> Action | _NotRenewed:
    """Fresh credentials for a pod that has yet to read them, or what to do without."""
    memory, retry_at = seen.memory, None
    if isinstance(seen.grant, Grant):
        trouble = memory.trouble
        if trouble is None or seen.now >= trouble.retry_at:
            return IssueCredentials(seen.grant)
        said, retry_at = trouble.message, trouble.retry_at
    else:
        said = seen.grant.message
    message = f"The pod waits for fresh credentials: {said}"
    last_moment = seen.expires_at - LAST_MOMENT if seen.expires_at is not None else seen.now
    if seen.now < last_moment:
        return _NotRenewed(message, _earliest(last_moment, retry_at))
    if memory.secret is SecretState.HELD:
        # Nothing else keeps the container from starting with credentials that are dead.
        return DeletePod(pod.uid)
    # Without a Secret the container waits.
    deletion = _rid_of_secret(seen)
    if deletion is None:
        return _NotRenewed(message, retry_at)
    return next(iter(deletion.actions), None) or _NotRenewed(message, _earliest(deletion.again_at, retry_at))


def _left_to_its_executor(seen: Observed) -> Decision | None:
    """The pod that another executor made is not there: that one has some time to end the Run; None when it is over."""
    if seen.memory.vanished_at is None:
        return Decision((NoteVanished(),))
    until = seen.memory.vanished_at + seen.patience
    return Decision((), until) if seen.now < until else None


def _pod_vanished(seen: Observed) -> Decision:
    """There was a pod once, by the Run's phase, and none is known now."""
    if not seen.memory.pod_missing:
        return Decision((LookForPod(),))
    return _finish(seen, _end_of(seen, None))


def _end_of(seen: Observed, pod: Pod | None) -> End:
    """How a Run ends whose pod has finished, is gone, or hangs on a lost node."""
    ended = (finished_at(pod) if pod is not None and pod.finished else None) or seen.now
    outcome = outcome_of(pod) if pod is not None else None
    if outcome is None or outcome.reason is SucceededReason.POD_DELETED:
        return _cut_short(seen, pod, ended)
    if outcome.reason is SucceededReason.FINISHED:
        return End(Phase.FINISHED, outcome.reason, outcome.message, outcome.exit_code, ended)
    return End(Phase.FAILED, outcome.reason, outcome.message, outcome.exit_code, ended)


def _cut_short(seen: Observed, pod: Pod | None, ended: datetime) -> End:
    """The pod was deleted before it had a result: by whom, and why?"""
    if seen.stopped:
        return End(Phase.STOPPED, SucceededReason.STOPPED, "Stopped as asked for.", None, ended)
    asked = pod.deletion - pod.grace if pod is not None and pod.deletion is not None else seen.now
    since = pod.created if pod is not None else seen.run.status.started_at
    deadline = _deadline(seen, min(since, seen.now)) if since is not None else None
    if deadline is not None and deadline <= asked + CLOCK_SKEW:
        message = f"The run was still going after its {seen.run.spec.active_deadline_seconds} seconds and was ended."
        return End(Phase.FAILED, SucceededReason.DEADLINE_EXCEEDED, message, None, ended)
    if pod is not None and not pod.gone and not pod.finished and pod.started_at is not None:
        return End(Phase.FAILED, SucceededReason.NODE_LOST, "The pod's node no longer answers.", None, ended)
    return End(Phase.FAILED, SucceededReason.POD_DELETED, "The pod was deleted before it had finished.", None, ended)


def _finish(seen: Observed, end: End) -> Decision:
    """The terminal phase, but first the Secret: gone by the API server's own word, and for good."""
    deletion = _rid_of_secret(seen)
    if deletion is None:
        return Decision(_write(seen, status.terminal(seen, end)))
    if deletion.actions:
        return deletion
    if seen.memory.secret is SecretState.HELD:
        message = (
            f"Secret `{child_name(seen.run_id)}` is deleted but held by a finalizer, with credentials that live until "
            "they expire; remove the finalizer. The run's end is written once the Secret is gone."
        )
        return Decision(_write(seen, status.held(seen, message), "SecretHeld"), deletion.again_at)
    message = "The run has ended; its end is written once its Secret, sent without an answer, can no longer arrive."
    return Decision(_write(seen, status.held(seen, message)), deletion.again_at)


def _rid_of_secret(seen: Observed, *, repeatedly: bool = True) -> Decision | None:
    """What remains to be done until the Secret is gone and cannot come back; None when nothing does.

    A creation that was never answered may still be carried out: its deletion is repeated until it no longer can, or at
    least done once more by then. A Secret that a finalizer holds is harmless once its credentials have expired.
    """
    memory, limits = seen.memory, seen.limits
    if memory.secret not in (SecretState.GONE, SecretState.HELD) or memory.deleted_at is None:
        return Decision((DeleteSecret(),))
    again_at = memory.deleted_at + limits.deletion_repeat
    if memory.secret is SecretState.HELD:
        if seen.expires_at is not None and seen.now >= seen.expires_at:
            return None
    else:
        doubt_ends = memory.unanswered_at + limits.creation_in_doubt if memory.unanswered_at else memory.deleted_at
        if memory.deleted_at >= doubt_ends:
            return None
        again_at = again_at if repeatedly else doubt_ends
    return Decision((DeleteSecret(),)) if seen.now >= again_at else Decision((), again_at)


def _after_the_end(seen: Observed) -> Decision:
    """Nothing of a Run outlives its terminal phase, whoever wrote it; later the Run itself goes."""
    pod, memory = seen.pod, seen.memory
    if pod is not None and not pod.gone and not pod.finished and pod.deletion is None:
        return Decision((DeletePod(pod.uid),))
    # A terminal phase of our own was written after the Secret's end. One that another hand wrote shows
    # in what this process remembers or, after a restart, in a pod whose credentials are still alive.
    live = pod is not None and pod.expires_at is not None and pod.expires_at > seen.now and not seen.patience
    if live or memory.secret is not SecretState.UNKNOWN or memory.unanswered_at is not None:
        deletion = _rid_of_secret(seen)
        if deletion is not None:
            return deletion
    ttl, ended = seen.run.spec.ttl_seconds_after_finished, seen.run.status.finished_at
    expires = min(ended, seen.now) + timedelta(seconds=ttl) if ttl is not None and ended is not None else None
    if expires is not None and seen.now >= expires:
        return Decision((DeleteRun(),))
    return Decision(() if seen.patience else _write(seen, status.settled(seen)), expires)


def _write(seen: Observed, wanted: RunStatus, warning: str | None = None) -> tuple[Action, ...]:
    return () if wanted == seen.run.status else (WriteStatus(wanted, warning),)


def _misses_secret(seen: Observed, pod: Pod) -> bool:
    """Whether the kubelet says that the Secret is not there."""
    name = child_name(seen.run_id)
    return any(
        container.reason == "CreateContainerConfigError" and name in container.message for container in pod.containers
    )


def _deadline(seen: Observed, since: datetime) -> datetime | None:
    seconds = seen.run.spec.active_deadline_seconds
    return since + timedelta(seconds=seconds) if seconds is not None else None


def _starting_deadline(seen: Observed) -> datetime:
    seconds = seen.run.spec.starting_deadline_seconds
    return seen.run.metadata.creation_timestamp + timedelta(seconds=seconds) + seen.patience


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _never_started(seen: Observed) -> str:
    said = seen.memory.trouble.message if seen.memory.trouble else None
    if said is None and not isinstance(seen.grant, Grant):
        said = seen.grant.message
    start = f"Not started within {seen.run.spec.starting_deadline_seconds} seconds"
    return f"{start}: {said}" if said else f"{start}."
