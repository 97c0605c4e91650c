"""What to do next for a Run: one pure function from what is known to a list of actions.

    Queued ──► IssueCredentials ──► CreatePod ──► (pod starts) Running ──► (pod ended) DeleteSecret ──► terminal phase
       │                                             │                                    ▲
       └── stop, deadline, refused template ─────────┴── stop, deadline, pod deleted ─────┘

Asked again after every action and every change, it needs no record of where it was: each answer follows from the
objects as they are. An action that was done already is either not asked for again or harmless to repeat.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from spacelift_aws.api.meta import format_time
from spacelift_aws.api.reasons import ConditionType, SucceededReason
from spacelift_aws.api.run import MaskLogs, Phase, RunStatus
from spacelift_aws.controllers.run import earlier_life, status
from spacelift_aws.controllers.run.actions import (
    Action,
    Advise,
    CreatePod,
    Decision,
    DeletePod,
    DeleteRun,
    IssueCredentials,
    LookForPod,
    MarkEnded,
    WriteStatus,
)
from spacelift_aws.controllers.run.credentials.lifecycle import (
    NotRenewed,
    is_awaited,
    is_renewed,
    renew,
    renewal_due,
    rid_of_secret,
    session_life,
)
from spacelift_aws.controllers.run.pod.outcome import CLOCK_SKEW, finished_at, grace_over, outcome_of, trouble_of
from spacelift_aws.controllers.run.pod.refused_helper import SILENT_AFTER, refusal_of
from spacelift_aws.controllers.run.pod.view import Pod, template_part, unmasked
from spacelift_aws.controllers.run.state import Authorized, Observed, PodSearch, SecretState
from spacelift_aws.controllers.run.status import End
from spacelift_aws.names import POOL_PREFIX, child_name

STOPPING = "Stopping: the pod has its grace period to end."
ENDING = "The pod is being deleted."


def decide(seen: Observed) -> Decision:
    """The next actions for a Run."""
    if seen.run.status.phase.terminal:
        return _after_the_end(seen)
    if seen.pod is None and seen.run.status.phase is Phase.QUEUED:
        return _queued(seen)
    if seen.takeover_grace:
        left = _left_to_its_executor(seen)
        if left is not None:
            return left
    if seen.pod is None:
        return _pod_vanished(seen)
    return _with_another_pod(seen, seen.pod) or _with_pod(seen, seen.pod)


def _queued(seen: Observed) -> Decision:
    """No pod yet: may it have one, and if not, why?"""
    if seen.run.status.pod_created_after is not None and not seen.takeover_grace:
        if seen.memory.pod_search is PodSearch.NOT_LOOKED:
            return Decision((LookForPod(),))
        if seen.memory.pod_search is PodSearch.LOST:
            return _finish(seen, _end_of(seen, None))
    end = _end_of_waiting(seen)
    if end is not None:
        return _finish(seen, end)
    if seen.takeover_grace:
        return _left_to_another(seen)
    refused = seen.template.refused(seen.own_account)
    if refused is not None:
        return _finish(seen, End(Phase.FAILED, SucceededReason.TEMPLATE_REFUSED, refused))
    restored = earlier_life.restored(seen.run, seen.run_id)
    if restored is not None:
        return _finish(seen, End(Phase.FAILED, SucceededReason.RESTORED, restored))
    verdict = seen.memory.verdict
    if verdict is not None:
        return _finish(seen, End(Phase.FAILED, verdict.reason, verdict.message))
    if not isinstance(seen.grant, Authorized):
        return _wait(seen, status.waiting(seen, seen.grant.reason, seen.grant.message), _starting_deadline(seen))
    trouble = seen.memory.trouble
    if trouble is not None and seen.now < trouble.retry_at:
        wanted = status.waiting(seen, trouble.reason, trouble.message)
        return _wait(seen, wanted, min(_starting_deadline(seen), trouble.retry_at))
    live = seen.memory.secret is SecretState.PRESENT and seen.now < renewal_due(seen)
    if not live and not seen.memory.pod_first and not seen.template.gated:
        return Decision((IssueCredentials(seen.grant),))
    if seen.run.status.pod_created_after is None:
        # Whoever dies after the pod's creation leaves word of it.
        never = replace(seen.memory, pod_search=PodSearch.NEVER_MADE)
        return Decision(_write(seen, status.about_to_create_pod(seen)), progress=never)
    return Decision((CreatePod(),))


def _end_of_waiting(seen: Observed) -> End | None:
    """Why a Run without a pod is not to have one any more."""
    if seen.stopped and seen.now >= seen.run.metadata.creation_timestamp + seen.takeover_grace:
        return End(Phase.STOPPED, SucceededReason.STOPPED, f"Stopped before it had started{_by(seen)}.")
    if seen.now >= _starting_deadline(seen):
        return End(Phase.FAILED, SucceededReason.STARTING_DEADLINE_EXCEEDED, _never_started(seen))
    return None


def _left_to_another(seen: Observed) -> Decision:
    """Another executor's Run: where that one is silent, say so. Its Secret, if it has one, is not ours to delete."""
    created = seen.run.metadata.creation_timestamp
    until = created + seen.takeover_grace if seen.stopped else _starting_deadline(seen)
    speaks_at = created + seen.limits.another_silent
    if seen.now < speaks_at:
        return Decision((), min(speaks_at, until))
    if isinstance(seen.grant, Authorized) or _another_speaks(seen):
        return Decision((), until)
    return Decision(_write(seen, status.waiting(seen, seen.grant.reason, seen.grant.message)), until)


def _another_speaks(seen: Observed) -> bool:
    """Whether a worker has said why the Run waits: its word stands, ours would only take turns with it."""
    said = seen.run.status.condition(ConditionType.CREDENTIALS_ISSUED)
    return said is not None and said.message.startswith(POOL_PREFIX)


def _wait(seen: Observed, wanted: RunStatus, until: datetime | None, warning: str | None = None) -> Decision:
    """Wait without a Secret: a live one that no pod uses is exposure for nothing."""
    memory = seen.memory
    if memory.secret is SecretState.UNKNOWN and memory.unanswered_at is None:
        return Decision(_write(seen, wanted, warning), until)
    deletion = rid_of_secret(seen, repeatedly=False)
    if deletion is None:
        return Decision(_write(seen, wanted, warning), until)
    return Decision(deletion.actions or _write(seen, wanted, warning), _earliest(until, deletion.again_at))


def _with_another_pod(seen: Observed, pod: Pod) -> Decision | None:
    """The pod's node refuses the image volume with the helper, and nothing has run: a pod with an init container
    takes its place. None where that is not so.
    """
    if not seen.helper_falls_back or seen.takeover_grace:
        return None
    known = seen.memory.refused_pod or (pod.uid if status.is_pod_refused(seen.run.status) else None)
    refusal = refusal_of(template_part(pod, seen.template.containers), seen.now, known)
    if refusal is None:
        return None
    if seen.memory.refused_pod != pod.uid:
        memory = replace(seen.memory, refused_pod=pod.uid, pod_search=PodSearch.NEVER_MADE)
        told = known is not None or pod.gone
        wanted = () if told else _write(seen, status.image_volume_refused(seen, pod, refusal))
        return Decision(wanted, progress=memory)
    if pod.gone:
        return _queued(replace(seen, pod=None))
    if pod.deletion is None:
        return _end_pod(seen, pod)
    lost_at = pod.deletion + seen.limits.lost_node
    return Decision((), lost_at) if seen.now < lost_at else None


def _with_pod(seen: Observed, pod: Pod) -> Decision:
    """The pod exists, or did a moment ago."""
    if pod.finished or pod.gone or template_part(pod, seen.template.containers).ended:
        return _finish(seen, _end_of(seen, pod))
    refused = _changed_on_the_way(seen, pod)
    if pod.deletion is not None:
        lost_at = pod.deletion + seen.limits.lost_node
        if seen.now >= lost_at:
            return _finish(seen, _end_of(seen, pod))
        message = refused or (STOPPING if seen.stopped else ENDING)
        return Decision(_write(seen, status.with_pod(seen, pod, message)), lost_at)
    deadline = _earliest(_deadline(seen, pod.created), _deadline_of_start(seen, pod))
    if refused is not None or seen.stopped or (deadline is not None and seen.now >= deadline):
        return _end_pod(seen, pod)
    silent = pod.image_volume and seen.helper_falls_back and not pod.running and pod.started_at is not None
    silent_at = pod.started_at + SILENT_AFTER if silent and pod.started_at is not None else None
    return _advise(seen, pod) or _with_trouble(seen, pod, _earliest(deadline, silent_at))


def _end_pod(seen: Observed, pod: Pod) -> Decision:
    """Delete the pod; where the API server refuses that, say so and try again."""
    kept = seen.memory.pod_kept
    if kept is None or seen.now >= kept.retry_at:
        return Decision((DeletePod(pod.uid),))
    if seen.run.status.phase.terminal:
        return Decision((), kept.retry_at)
    return Decision(_write(seen, status.with_pod(seen, pod, kept.message)), kept.retry_at)


def _changed_on_the_way(seen: Observed, pod: Pod) -> str | None:
    """What a webhook made of the pod: other credentials than the run's would win in it, or be printed, unnoticed."""
    names = seen.template.credentialed
    bare = unmasked(pod, names) if seen.run.spec.mask_logs is MaskLogs.REQUIRED else ()
    if bare:
        return (
            f"Container `{bare[0]}` of the pod has no helper that masks logs. The operator put it there, so a webhook "
            "of the cluster took it away. Keep the webhook from this pod, or use `maskLogs: Auto`."
        )
    for container in pod.containers:
        hindrance = container.hindrances.get(seen.run.spec.delivery)
        if container.name in names and hindrance is not None:
            return (
                f"Container `{container.name}` was given {hindrance}. The template does not have it, so a webhook of "
                "the cluster did it, such as EKS's for service accounts with a role. " + seen.delivery.remedy
            )
    return None


def _advise(seen: Observed, pod: Pod) -> Decision | None:
    """Tell of `delivery: File` where it is missing."""
    advice = _advice_due(seen, pod)
    if advice is None or seen.now < advice:
        return None
    ends = f"at {format_time(seen.expires_at)}" if seen.expires_at is not None else "before that"
    seconds = seen.run.spec.active_deadline_seconds
    told = replace(seen.memory, advised=True)
    start = f"The run may go on for {seconds} seconds" if seconds is not None else "The run has no deadline"
    return Decision(
        (Advise(f"{start}, but its credentials, fixed in variables, end {ends}: use `delivery: File`."),), progress=told
    )


def _advice_due(seen: Observed, pod: Pod) -> datetime | None:
    """When to tell that variables may not last: at the start if that is known then, else at half of the session."""
    if seen.delivery.is_renewed or seen.memory.advised or not isinstance(seen.grant, Authorized):
        return None
    life, seconds = session_life(seen), seen.run.spec.active_deadline_seconds
    if seconds is not None:
        return pod.created if timedelta(seconds=seconds) > life else None
    return seen.expires_at - life / 2 if pod.running and seen.expires_at is not None else None


def _deadline_of_start(seen: Observed, pod: Pod) -> datetime | None:
    """Until when a container has to have started. The wait for a scheduling gate is a queue's business."""
    return None if pod.running or pod.gates else _starting_deadline(seen)


def _with_trouble(seen: Observed, pod: Pod, deadline: datetime | None) -> Decision:
    """Remember the words for what troubles the pod: they stay while the trouble is the same."""
    trouble = trouble_of(pod, seen.memory.told_trouble)
    if trouble == seen.memory.told_trouble:
        return _keep_going(seen, pod, deadline)
    known = replace(seen.memory, told_trouble=trouble)
    decision = _keep_going(replace(seen, memory=known), pod, deadline)
    return replace(decision, progress=decision.progress or known)


def _keep_going(seen: Observed, pod: Pod, deadline: datetime | None) -> Decision:
    """The pod starts or runs: credentials that it has yet to read must be alive when it does."""
    trouble, wake = seen.memory.told_trouble, _earliest(deadline, _advice_due(seen, pod))
    message = trouble.message if trouble is not None else None
    if pod.gates or (is_renewed(seen, pod) and seen.now >= renewal_due(seen, pod) and not is_awaited(seen, pod)):
        wanted = status.with_pod(seen, pod, message)
        if pod.running:
            # What runs keeps what it has.
            return Decision(_write(seen, wanted, "PodNotReady"), wake)
        return _wait(seen, wanted, wake, "PodNotReady")
    if is_renewed(seen, pod):
        due = renewal_due(seen, pod)
        if seen.now < due:
            wake = _earliest(wake, due)
        else:
            renewal = renew(seen, pod)
            if not isinstance(renewal, NotRenewed):
                return Decision((renewal,))
            return _go_on_without(seen, pod, renewal, wake)
    # A short run costs no status write of its own for what it is doing.
    if trouble is None and seen.run.status.phase is Phase.QUEUED:
        settled = pod.created + seen.limits.preparing
        if seen.now < settled:
            return Decision((), _earliest(wake, settled))
    return Decision(_write(seen, status.with_pod(seen, pod, message), "PodNotReady"), wake)


def _go_on_without(seen: Observed, pod: Pod, renewal: NotRenewed, wake: datetime | None) -> Decision:
    """Credentials are due and cannot be had."""
    wake = _earliest(wake, renewal.again_at)
    if not seen.delivery.is_renewed:
        wanted = status.with_pod(seen, pod, f"The pod waits for fresh credentials: {renewal.why}")
        return Decision(_write(seen, wanted, "PodNotReady"), wake)
    if seen.expires_at is not None and seen.now < seen.expires_at:
        wake = _earliest(wake, seen.expires_at)
    return Decision(_write(seen, status.not_renewed(seen, pod, renewal.why), "CredentialsNotRenewed"), wake)


def _left_to_its_executor(seen: Observed) -> Decision | None:
    """The pod that another executor made is not there: that one has some time to end the Run; None when it is over."""
    if seen.memory.vanished_at is None:
        return Decision((), progress=replace(seen.memory, vanished_at=seen.now))
    until = seen.memory.vanished_at + seen.takeover_grace
    return Decision((), until) if seen.now < until else None


def _pod_vanished(seen: Observed) -> Decision:
    """There was a pod once, by the Run's phase, and none is known now."""
    if seen.memory.pod_search is PodSearch.NOT_LOOKED:
        return Decision((LookForPod(),))
    return _finish(seen, _end_of(seen, None))


def _end_of(seen: Observed, pod: Pod | None) -> End:
    """How a Run ends whose pod has finished, is gone, or hangs on a lost node."""
    own = template_part(pod, seen.template.containers) if pod is not None else None
    ended = (finished_at(own) if own is not None and (own.finished or own.ended) else None) or seen.now
    refused = _changed_on_the_way(seen, pod) if pod is not None else None
    if refused is not None:
        return End(Phase.FAILED, SucceededReason.TEMPLATE_REFUSED, refused, None, ended)
    outcome = outcome_of(own, seen.run.spec.success_exit_codes) if own is not None else None
    killed = grace_over(own) if own is not None else ""
    if outcome is None or outcome.reason is SucceededReason.POD_DELETED:
        end = _cut_short(seen, pod, ended)
        return replace(end, message=end.message + killed)
    if outcome.reason is SucceededReason.FINISHED:
        return End(Phase.FINISHED, outcome.reason, outcome.message, outcome.exit_code, ended)
    return End(Phase.FAILED, outcome.reason, outcome.message + killed, outcome.exit_code, ended)


def _cut_short(seen: Observed, pod: Pod | None, ended: datetime) -> End:
    """The pod was deleted before it had a result: by whom, and why?"""
    if seen.stopped:
        by = _by(seen) or " as asked for"
        return End(Phase.STOPPED, SucceededReason.STOPPED, f"Stopped{by}.", None, ended)
    asked = pod.deletion - pod.grace if pod is not None and pod.deletion is not None else seen.now
    since = pod.created if pod is not None else seen.run.status.started_at
    deadline = _deadline(seen, min(since, seen.now)) if since is not None else None
    if deadline is not None and deadline <= asked + CLOCK_SKEW:
        message = f"The run was ended after {seen.run.spec.active_deadline_seconds} seconds, its deadline."
        return End(Phase.FAILED, SucceededReason.DEADLINE_EXCEEDED, message, None, ended)
    start = _starting_deadline(seen)
    if pod is not None and not pod.running and not pod.gates and start <= asked + CLOCK_SKEW:
        return End(Phase.FAILED, SucceededReason.STARTING_DEADLINE_EXCEEDED, _never_started(seen), None, ended)
    if pod is not None and not pod.gone and not pod.finished and pod.started_at is not None:
        return End(Phase.FAILED, SucceededReason.NODE_LOST, "The pod's node no longer answers.", None, ended)
    if pod is None:
        unknown = "The run's pod is gone, and how it ended is unknown; CloudTrail shows what it did."
        return End(Phase.FAILED, SucceededReason.RESULT_UNKNOWN, unknown, None, ended)
    return End(Phase.FAILED, SucceededReason.POD_DELETED, "The pod was deleted before it had finished.", None, ended)


def _finish(seen: Observed, end: End) -> Decision:
    """The terminal phase, but first the Secret: gone by the API server's own word, and for good."""
    deletion = rid_of_secret(seen)
    if deletion is None:
        return Decision(_write(seen, status.terminal(seen, end)))
    if deletion.actions:
        return deletion
    if seen.memory.secret is SecretState.HELD:
        message = (
            f"Secret `{child_name(seen.run_id)}` is still there, with credentials that live until they expire: "
            f"{seen.memory.held_because}. The run's end is written once it is gone."
        )
        return Decision(_write(seen, status.held(seen, message), "SecretHeld"), deletion.again_at)
    message = "The run has ended; its end is written once its Secret, sent without an answer, can no longer arrive."
    return Decision(_write(seen, status.held(seen, message)), deletion.again_at)


def _after_the_end(seen: Observed) -> Decision:
    """Nothing of a Run outlives its terminal phase, whoever wrote it; later the Run itself goes."""
    pod, memory = seen.pod, seen.memory
    if pod is not None and not pod.gone and not pod.finished and pod.deletion is None:
        return _end_pod(seen, pod)
    # A terminal phase of our own was written after the Secret's end. One that another hand wrote shows
    # in what this process remembers or, after a restart, in a pod whose credentials are still alive.
    live = pod is not None and seen.expires_at is not None and seen.expires_at > seen.now and not seen.takeover_grace
    if live or memory.secret is not SecretState.UNKNOWN or memory.unanswered_at is not None:
        deletion = rid_of_secret(seen)
        if deletion is not None:
            return deletion
    if seen.run.metadata.deletion_timestamp is not None:
        return Decision()  # only a finalizer holds it
    ttl, ended = seen.run.spec.ttl_seconds_after_finished, _ended_at(seen)
    expires = ended + timedelta(seconds=ttl) if ttl is not None and ended is not None else None
    kept = earlier_life.kept_by(seen.run) is not None
    if expires is not None and seen.now >= expires and not kept:
        return Decision((DeleteRun(),))
    if seen.takeover_grace:
        return Decision((), expires)
    actions = _write(seen, status.settled(seen)) or _mark(seen)
    if kept and expires is not None and seen.now >= expires:
        there = pod is not None and not pod.gone and pod.deletion is None
        return Decision((*actions, *((DeletePod(pod.uid),) if there and pod is not None else ())))
    return Decision(actions, expires)


def _mark(seen: Observed) -> tuple[Action, ...]:
    """Once, after the end is written: what has ended is not executed again, wherever it turns up."""
    change = earlier_life.mark(seen.run, seen.run_id)
    return () if change is None or seen.memory.unmarkable else (MarkEnded(change),)


def _ended_at(seen: Observed) -> datetime | None:
    """When the end was written, by our own clock: `finishedAt` comes from the clock of a node."""
    complete = seen.run.status.condition(ConditionType.COMPLETE)
    written = complete.last_transition_time if complete is not None else seen.run.status.finished_at
    return min(written, seen.now) if written is not None else None


def _write(seen: Observed, wanted: RunStatus, warning: str | None = None) -> tuple[Action, ...]:
    wanted = status.with_progress_of(seen, wanted)
    return () if wanted == seen.run.status else (WriteStatus(wanted, warning),)


def _deadline(seen: Observed, since: datetime) -> datetime | None:
    seconds = seen.run.spec.active_deadline_seconds
    return since + timedelta(seconds=seconds) if seconds is not None else None


def _starting_deadline(seen: Observed) -> datetime:
    seconds = seen.run.spec.starting_deadline_seconds
    return seen.run.metadata.creation_timestamp + timedelta(seconds=seconds) + seen.takeover_grace


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _never_started(seen: Observed) -> str:
    known = seen.memory.trouble or seen.memory.told_trouble
    said = known.message if known is not None else None
    if said is None and not isinstance(seen.grant, Authorized):
        said = seen.grant.message
    start = f"Not started within {seen.run.spec.starting_deadline_seconds} seconds"
    return f"{start}: {said}" if said else f"{start}."


def _by(seen: Observed) -> str:
    """Who stopped the Run, as the rest of a sentence; empty where the cluster cannot tell."""
    return f" by {seen.stopped_by}" if seen.stopped_by is not None else ""
