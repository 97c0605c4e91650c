"""How a Run ends: its pod first, then its Secret, then its terminal phase, and later the Run itself. Pure."""

from dataclasses import replace
from datetime import datetime

from spacelift_aws.api.reasons import SucceededReason
from spacelift_aws.api.run import MaskLogs, Phase
from spacelift_aws.controllers.run import earlier_life, status
from spacelift_aws.controllers.run.actions import Action, Decision, DeletePod, DeleteRun, MarkEnded
from spacelift_aws.controllers.run.credentials.lifecycle import rid_of_secret
from spacelift_aws.controllers.run.deadlines import deadline, expiry, starting_deadline
from spacelift_aws.controllers.run.pod.outcome import CLOCK_SKEW, finished_at, grace_over, outcome_of
from spacelift_aws.controllers.run.pod.view import Pod, template_part, unmasked
from spacelift_aws.controllers.run.state import Authorized, Observed, SecretState
from spacelift_aws.controllers.run.status import End
from spacelift_aws.names import child_name


def end_pod(seen: Observed, pod: Pod) -> Decision:
    """Delete the pod; where the API server refuses that, say so and try again."""
    kept = seen.progress.pod_kept
    if kept is None or seen.now >= kept.retry_at:
        return Decision((DeletePod(pod.uid),))
    if seen.run.status.phase.terminal:
        return Decision((), kept.retry_at)
    return Decision(status.write(seen, status.with_pod(seen, pod, kept.message)), kept.retry_at)


def changed_on_the_way(seen: Observed, pod: Pod) -> str | None:
    """What a webhook made of the pod: other credentials than the run's would win in it, or be printed, unnoticed."""
    names = seen.template.credentialed
    bare = unmasked(pod, names) if seen.run.spec.mask_logs is MaskLogs.REQUIRED else ()
    if bare:
        return (
            f"Container `{bare[0]}` of the pod has no helper that masks logs. The operator added it, so a webhook "
            "of the cluster removed it. Exclude this pod from the webhook, or use `maskLogs: Auto`."
        )
    for container in pod.containers:
        hindrance = container.hindrances.get(seen.run.spec.delivery)
        if container.name in names and hindrance is not None:
            return (
                f"Container `{container.name}` has {hindrance}. The template does not ask for that, so a webhook of "
                "the cluster changed the pod, such as EKS's for service accounts with a role. " + seen.delivery.remedy
            )
    return None


def end_of(seen: Observed, pod: Pod | None) -> End:
    """How a Run ends whose pod has finished, is gone, or hangs on a lost node."""
    own = template_part(pod, seen.template.containers) if pod is not None else None
    ended = (finished_at(own) if own is not None and (own.finished or own.ended) else None) or seen.now
    refused = changed_on_the_way(seen, pod) if pod is not None else None
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
        by = by_whom(seen) or " as requested"
        return End(Phase.STOPPED, SucceededReason.STOPPED, f"Stopped{by}.", None, ended)
    asked = pod.deletion - pod.grace if pod is not None and pod.deletion is not None else seen.now
    since = pod.created if pod is not None else seen.run.status.started_at
    due = deadline(seen, min(since, seen.now)) if since is not None else None
    if due is not None and due <= asked + CLOCK_SKEW:
        message = f"The run was ended after {seen.run.spec.active_deadline_seconds} seconds, its deadline."
        return End(Phase.FAILED, SucceededReason.DEADLINE_EXCEEDED, message, None, ended)
    start = starting_deadline(seen)
    if pod is not None and not pod.running and not pod.gates and start <= asked + CLOCK_SKEW:
        return End(Phase.FAILED, SucceededReason.STARTING_DEADLINE_EXCEEDED, never_started(seen), None, ended)
    if pod is not None and not pod.gone and not pod.finished and pod.started_at is not None:
        return End(Phase.FAILED, SucceededReason.NODE_LOST, "The pod's node no longer answers.", None, ended)
    if pod is None:
        unknown = "The run's pod is gone, and how it ended is unknown; CloudTrail shows what it did."
        return End(Phase.FAILED, SucceededReason.RESULT_UNKNOWN, unknown, None, ended)
    return End(Phase.FAILED, SucceededReason.POD_DELETED, "The pod was deleted before it had finished.", None, ended)


def finish(seen: Observed, end: End) -> Decision:
    """The terminal phase, but first the Secret: gone by the API server's own word, and for good."""
    deletion = rid_of_secret(seen)
    if deletion is None:
        return Decision(status.write(seen, status.terminal(seen, end)))
    if deletion.actions:
        return deletion
    if seen.progress.secret is SecretState.HELD:
        message = (
            f"Secret `{child_name(seen.run_id)}` is still there, with credentials that are valid until they expire: "
            f"{seen.progress.held_because}. The Run gets its final phase when the Secret is gone."
        )
        return Decision(status.write(seen, status.held(seen, message), "SecretHeld"), deletion.again_at)
    message = (
        "The run has ended. The API server did not answer the request that creates its Secret: the Run gets its final "
        "phase when it is certain that the Secret is gone."
    )
    return Decision(status.write(seen, status.held(seen, message)), deletion.again_at)


def after_the_end(seen: Observed) -> Decision:
    """Nothing of a Run outlives its terminal phase, whoever wrote it; later the Run itself goes."""
    pod, progress = seen.pod, seen.progress
    if pod is not None and goes_on(pod):
        return end_pod(seen, pod)
    # A terminal phase of our own was written after the Secret's end. One that another hand wrote shows
    # in what this process remembers or, after a restart, in a pod whose credentials are still alive.
    told_live = seen.expires_at is not None and seen.expires_at > seen.now
    live = pod is not None and (told_live or not pod.has_dead_credentials(seen.now))
    if live or progress.secret is not SecretState.UNKNOWN or progress.unanswered_at is not None:
        deletion = rid_of_secret(seen)
        if deletion is not None:
            return deletion
    if seen.run.metadata.deletion_timestamp is not None:
        return Decision()  # only a finalizer holds it
    expires = expiry(seen)
    over = expires is not None and seen.now >= expires
    kept = earlier_life.kept_by(seen.run) is not None
    if over and not kept:
        return Decision((DeleteRun(),))
    actions = status.write(seen, status.settled(seen)) or _mark(seen)
    if not over:
        return Decision(actions, expires)
    if pod is not None and not pod.gone and pod.deletion is None:
        actions = (*actions, DeletePod(pod.uid))
    return Decision(actions)


def goes_on(pod: Pod) -> bool:
    """Whether nobody has ended a pod, itself included."""
    return not pod.gone and not pod.finished and pod.deletion is None


def is_unmarked(seen: Observed) -> bool:
    """Whether an ended Run lacks the mark of its end, and may be given it."""
    return not seen.progress.unmarkable and earlier_life.mark(seen.run, seen.run_id) is not None


def _mark(seen: Observed) -> tuple[Action, ...]:
    """Once, after the end is written: what has ended is not executed again, wherever it turns up."""
    change = earlier_life.mark(seen.run, seen.run_id)
    return () if change is None or seen.progress.unmarkable else (MarkEnded(change),)


def never_started(seen: Observed) -> str:
    """That the deadline for the start is over, and what the Run has waited for."""
    known = seen.progress.retryable_failure or seen.progress.told_trouble
    said = known.message if known is not None else None
    if said is None and not isinstance(seen.grant, Authorized):
        said = seen.grant.message
    start = f"Not started within {seen.run.spec.starting_deadline_seconds} seconds"
    return f"{start}: {said}" if said else f"{start}."


def by_whom(seen: Observed) -> str:
    """Who stopped the Run, as the rest of a sentence; empty where the cluster cannot tell."""
    return f" by {seen.stopped_by}" if seen.stopped_by is not None else ""
