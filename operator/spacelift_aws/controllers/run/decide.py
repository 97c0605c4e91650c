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
from spacelift_aws.api.reasons import ConditionType, CredentialsIssuedReason, SucceededReason
from spacelift_aws.api.run import Phase, RunStatus
from spacelift_aws.controllers.run import earlier_life, status, supervise
from spacelift_aws.controllers.run.actions import Advise, CreatePod, Decision, IssueCredentials, LookForPod
from spacelift_aws.controllers.run.credentials.lifecycle import (
    NotRenewed,
    is_awaited,
    is_renewed,
    renew,
    renewal_due,
    rid_of_secret,
    session_life,
)
from spacelift_aws.controllers.run.deadlines import deadline_of_pod, earliest, starting_deadline
from spacelift_aws.controllers.run.ending import (
    after_the_end,
    by_whom,
    changed_on_the_way,
    end_of,
    end_pod,
    finish,
    never_started,
)
from spacelift_aws.controllers.run.pod.outcome import trouble_of
from spacelift_aws.controllers.run.pod.refused_helper import refusal_of, silent_at
from spacelift_aws.controllers.run.pod.view import Pod, template_part
from spacelift_aws.controllers.run.state import Authorized, Denied, Observed, PodSearch, SecretState
from spacelift_aws.controllers.run.status import End

STOPPING = "Stopping: the pod has its grace period to end."
ENDING = "The pod is being deleted."


def decide(seen: Observed) -> Decision:
    """The next actions for a Run."""
    if seen.takeover_grace:
        left = supervise.left_to_its_executor(seen)
        if left is not None:
            return left
    if isinstance(seen.grant, Authorized) or seen.progress.denied_since is None:
        return _next(seen)
    # Only refusals of STS in a row, while trust holds, add up to a failure.
    known = replace(seen.progress, denied_since=None)
    decision = _next(replace(seen, progress=known))
    return replace(decision, progress=decision.progress or known)


def _next(seen: Observed) -> Decision:
    if seen.run.status.phase.terminal:
        return after_the_end(seen)
    if seen.pod is not None:
        decision = _with_another_pod(seen, seen.pod) or _with_pod(seen, seen.pod)
    elif seen.run.status.phase is Phase.QUEUED:
        decision = _queued(seen)
    else:
        decision = _pod_vanished(seen)
    awaited = isinstance(seen.grant, Denied) and seen.grant.reason is CredentialsIssuedReason.INTEGRATION_NOT_READY
    return replace(decision, awaits_verdict=awaited)


def _queued(seen: Observed) -> Decision:
    """No pod yet: may it have one, and if not, why?"""
    if seen.run.status.pod_created_after is not None:
        if seen.progress.pod_search is PodSearch.NOT_LOOKED:
            return Decision((LookForPod(),))
        if seen.progress.pod_search is PodSearch.LOST:
            return finish(seen, end_of(seen, None))
    end = _end_of_waiting(seen)
    if end is not None:
        return finish(seen, end)
    refused = seen.template.refused(seen.own_account)
    if refused is not None:
        return finish(seen, End(Phase.FAILED, SucceededReason.TEMPLATE_REFUSED, refused))
    restored = earlier_life.restored(seen.run, seen.run_id)
    if restored is not None:
        return finish(seen, End(Phase.FAILED, SucceededReason.RESTORED, restored))
    failure = seen.progress.terminal_failure
    if failure is not None:
        return finish(seen, End(Phase.FAILED, failure.reason, failure.message))
    if not isinstance(seen.grant, Authorized):
        wanted = seen.run.status if _is_told(seen, seen.grant) else None
        wanted = wanted or status.waiting(seen, seen.grant.reason, seen.grant.message)
        return _wait(seen, wanted, starting_deadline(seen))
    last = seen.progress.retryable_failure
    if last is not None and seen.now < last.retry_at:
        wanted = status.waiting(seen, last.reason, last.message)
        return _wait(seen, wanted, min(starting_deadline(seen), last.retry_at))
    live = seen.progress.secret is SecretState.PRESENT and seen.now < renewal_due(seen)
    if not live and not seen.progress.pod_first and not seen.template.gated:
        return Decision((IssueCredentials(seen.grant),))
    if seen.run.status.pod_created_after is None:
        # Whoever dies after the pod's creation leaves word of it.
        never = replace(seen.progress, pod_search=PodSearch.NEVER_MADE)
        return Decision(status.write(seen, status.about_to_create_pod(seen)), progress=never)
    return Decision((CreatePod(),))


def _end_of_waiting(seen: Observed) -> End | None:
    """Why a Run without a pod is not to have one any more."""
    if seen.stopped:
        return End(Phase.STOPPED, SucceededReason.STOPPED, f"Stopped{by_whom(seen)} before it started.")
    if seen.now >= starting_deadline(seen):
        return End(Phase.FAILED, SucceededReason.STARTING_DEADLINE_EXCEEDED, never_started(seen))
    return None


def _is_told(seen: Observed, denied: Denied) -> bool:
    """Whether an earlier process has said why the Run waits, and this one does not know better yet."""
    said = seen.run.status.condition(ConditionType.CREDENTIALS_ISSUED)
    return denied.is_preliminary and said is not None and said.reason == CredentialsIssuedReason.INTEGRATION_NOT_READY


def _wait(seen: Observed, wanted: RunStatus, until: datetime | None, warning: str | None = None) -> Decision:
    """Wait without a Secret: a live one that no pod uses is exposure for nothing."""
    progress = seen.progress
    if progress.secret is SecretState.UNKNOWN and progress.unanswered_at is None:
        return Decision(status.write(seen, wanted, warning), until)
    deletion = rid_of_secret(seen, repeatedly=False)
    if deletion is None:
        return Decision(status.write(seen, wanted, warning), until)
    return Decision(deletion.actions or status.write(seen, wanted, warning), earliest(until, deletion.again_at))


def _with_another_pod(seen: Observed, pod: Pod) -> Decision | None:
    """The pod's node refuses the image volume with the helper, and nothing has run: a pod with an init container
    takes its place. None where that is not so.
    """
    if not seen.helper_falls_back:
        return None
    known = seen.progress.refused_pod or (pod.uid if status.is_pod_refused(seen.run.status) else None)
    refusal = refusal_of(template_part(pod, seen.template.containers), seen.now, known)
    if refusal is None:
        return None
    if seen.progress.refused_pod != pod.uid:
        progress = replace(seen.progress, refused_pod=pod.uid, pod_search=PodSearch.NEVER_MADE)
        told = known is not None or pod.gone
        wanted = () if told else status.write(seen, status.image_volume_refused(seen, pod, refusal))
        return Decision(wanted, progress=progress)
    if pod.gone:
        return _queued(replace(seen, pod=None))
    if pod.deletion is None:
        return end_pod(seen, pod)
    lost_at = pod.deletion + seen.limits.lost_node
    return Decision((), lost_at) if seen.now < lost_at else None


def _with_pod(seen: Observed, pod: Pod) -> Decision:
    """The pod exists, or did a moment ago."""
    if pod.finished or pod.gone or template_part(pod, seen.template.containers).ended:
        return finish(seen, end_of(seen, pod))
    refused = changed_on_the_way(seen, pod)
    if pod.deletion is not None:
        lost_at = pod.deletion + seen.limits.lost_node
        if seen.now >= lost_at:
            return finish(seen, end_of(seen, pod))
        message = refused or (STOPPING if seen.stopped else ENDING)
        return Decision(status.write(seen, status.with_pod(seen, pod, message)), lost_at)
    deadline = deadline_of_pod(seen, pod)
    if refused is not None or seen.stopped or (deadline is not None and seen.now >= deadline):
        return end_pod(seen, pod)
    silent = silent_at(pod) if seen.helper_falls_back else None
    return _advise(seen, pod) or _with_trouble(seen, pod, earliest(deadline, silent))


def _advise(seen: Observed, pod: Pod) -> Decision | None:
    """Tell of `delivery: File` where it is missing."""
    advice = _advice_due(seen, pod)
    if advice is None or seen.now < advice:
        return None
    ends = f"at {format_time(seen.expires_at)}" if seen.expires_at is not None else "before that"
    seconds = seen.run.spec.active_deadline_seconds
    told = replace(seen.progress, advised=True)
    start = f"The run may go on for {seconds} seconds" if seconds is not None else "The run has no deadline"
    return Decision(
        (Advise(f"{start}, but its credentials end {ends}, and variables are not renewed: use `delivery: File`."),),
        progress=told,
    )


def _advice_due(seen: Observed, pod: Pod) -> datetime | None:
    """When to tell that variables may not last: at the start if that is known then, else at half of the session."""
    if seen.delivery.is_renewed or seen.progress.advised or not isinstance(seen.grant, Authorized):
        return None
    life, seconds = session_life(seen), seen.run.spec.active_deadline_seconds
    if seconds is not None:
        return pod.created if timedelta(seconds=seconds) > life else None
    return seen.expires_at - life / 2 if pod.running and seen.expires_at is not None else None


def _with_trouble(seen: Observed, pod: Pod, deadline: datetime | None) -> Decision:
    """Remember the words for what troubles the pod: they stay while the trouble is the same."""
    trouble = trouble_of(pod, seen.progress.told_trouble)
    if trouble == seen.progress.told_trouble:
        return _keep_going(seen, pod, deadline)
    known = replace(seen.progress, told_trouble=trouble)
    decision = _keep_going(replace(seen, progress=known), pod, deadline)
    return replace(decision, progress=decision.progress or known)


def _keep_going(seen: Observed, pod: Pod, deadline: datetime | None) -> Decision:
    """The pod starts or runs: credentials that it has yet to read must be alive when it does."""
    trouble, wake = seen.progress.told_trouble, earliest(deadline, _advice_due(seen, pod))
    message = trouble.message if trouble is not None else None
    if pod.gates or (is_renewed(seen, pod) and seen.now >= renewal_due(seen, pod) and not is_awaited(seen, pod)):
        wanted = status.with_pod(seen, pod, message)
        if pod.running:
            # What runs keeps what it has.
            return Decision(status.write(seen, wanted, "PodNotReady"), wake)
        return _wait(seen, wanted, wake, "PodNotReady")
    if is_renewed(seen, pod):
        due = renewal_due(seen, pod)
        if seen.now < due:
            wake = earliest(wake, due)
        else:
            renewal = renew(seen, pod)
            if not isinstance(renewal, NotRenewed):
                return Decision((renewal,))
            return _go_on_without(seen, pod, renewal, wake)
    # A short run costs no status write of its own for what it is doing.
    if trouble is None and seen.run.status.phase is Phase.QUEUED:
        settled = pod.created + seen.limits.preparing
        # It was the API server's clock that told when; ours may be far behind it.
        if seen.now < settled <= seen.now + 2 * seen.limits.preparing:
            return Decision((), earliest(wake, settled))
    return Decision(status.write(seen, status.with_pod(seen, pod, message), "PodNotReady"), wake)


def _go_on_without(seen: Observed, pod: Pod, renewal: NotRenewed, wake: datetime | None) -> Decision:
    """Credentials are due and cannot be had."""
    wake = earliest(wake, renewal.again_at)
    if not seen.delivery.is_renewed:
        wanted = status.with_pod(seen, pod, f"The pod waits for fresh credentials: {renewal.why}")
        return Decision(status.write(seen, wanted, "PodNotReady"), wake)
    if seen.expires_at is not None and seen.now < seen.expires_at:
        wake = earliest(wake, seen.expires_at)
    return Decision(status.write(seen, status.not_renewed(seen, pod, renewal.why), "CredentialsNotRenewed"), wake)


def _pod_vanished(seen: Observed) -> Decision:
    """There was a pod once, by the Run's phase, and none is known now."""
    if seen.progress.pod_search is PodSearch.NOT_LOOKED:
        return Decision((LookForPod(),))
    return finish(seen, end_of(seen, None))
