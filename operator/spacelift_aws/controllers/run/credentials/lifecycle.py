"""When a Run's Secret is replaced by one with a fresh session, and how it is got rid of. Pure.

The due time follows from when the session ends and how long a session of this Run lives, not from what this process
remembers. Whoever dies after the old Secret's deletion and before the new one's creation therefore leaves behind a Run
whose renewal is still due.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from spacelift_aws.controllers.run.actions import Action, Decision, DeletePod, DeleteSecret, IssueCredentials
from spacelift_aws.controllers.run.credentials.session_life import LONGEST_SESSION, NEAR_EXPIRY, SHORTEST_SESSION
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.state import Authorized, Observed, SecretState
from spacelift_aws.names import child_name

RENEWAL_PAUSE = timedelta(minutes=1)
"""Credentials are not replaced sooner: where clocks disagree, a new session may seem to near its end at once."""
LAST_MOMENT = timedelta(minutes=1)
"""Those that could not be replaced are taken away so long before their end: no container starts with dead ones."""
ASK_AGAIN = timedelta(minutes=1)
"""How long a refusal to renew stands before it is asked about again, should no change have told of itself."""


@dataclass(frozen=True, slots=True)
class NotRenewed:
    """Credentials cannot be replaced at this moment: why, and when to look again."""

    why: str
    again_at: datetime | None


def session_life(seen: Observed) -> timedelta:
    """How long a session of this Run lives: as asked of STS, else as its first one did, which its pod tells of."""
    if isinstance(seen.grant, Authorized):
        return timedelta(seconds=seen.grant.request.duration_seconds)
    pod = seen.pod
    told = pod.expires_at - pod.created if pod is not None and pod.expires_at is not None else SHORTEST_SESSION
    return min(max(told, SHORTEST_SESSION), LONGEST_SESSION)


def is_renewed(seen: Observed, pod: Pod) -> bool:
    """Whether the pod has use for fresh credentials: a file is read again and again, variables at the start only."""
    return seen.delivery.is_renewed or pod.awaits_credentials(seen.template.credentialed)


def is_awaited(seen: Observed, pod: Pod) -> bool:
    """Whether a kubelet is there to fetch fresh credentials, and would start a container with them.

    One that cannot pull an image has no use for variables yet, and says so when it misses them.
    """
    if pod.unheard_since is not None or pod.unscheduled:
        return False
    if pod.running or seen.delivery.is_renewed or _misses_secret(seen, pod):
        return True
    trouble = seen.progress.told_trouble
    return trouble is None or not trouble.kind.endswith(" image")


def renewal_due(seen: Observed, pod: Pod | None = None) -> datetime:
    """When the credentials are to be replaced by fresh ones."""
    issued_at = seen.progress.issued_at
    if pod is not None and seen.progress.secret is SecretState.GONE:
        # It went while the Run waited for its pod.
        return seen.now
    if pod is not None and _misses_secret(seen, pod):
        return issued_at + seen.limits.secret_seen if issued_at is not None else seen.now
    early, pause = NEAR_EXPIRY, RENEWAL_PAUSE
    if seen.delivery.is_renewed:
        life, after = session_life(seen), seen.limits.renew_after
        early, pause = life * (1 - after), min(pause, life * after)
    due = seen.expires_at - early if seen.expires_at is not None else seen.now
    return max(due, issued_at + pause) if issued_at is not None else due


def renew(seen: Observed, pod: Pod) -> Action | NotRenewed:
    """Fresh credentials, or what to do without."""
    progress, retry_at = seen.progress, seen.now + ASK_AGAIN
    if not isinstance(seen.grant, Authorized):
        why = seen.grant.message
    elif _acts_as_another(seen, pod, seen.grant):
        why = (
            f"the AwsIntegration now names another role, {seen.grant.request.role_arn}, and a run never changes its "
            "role."
        )
    elif progress.retryable_failure is None or seen.now >= progress.retryable_failure.retry_at:
        return IssueCredentials(seen.grant)
    else:
        why, retry_at = progress.retryable_failure.message, progress.retryable_failure.retry_at
    if seen.delivery.is_renewed and pod.running:
        # What runs goes on with what it has: nothing is taken away from it, not even at the end.
        return NotRenewed(why, retry_at)
    return _without_renewal(seen, pod, why, retry_at)


def _acts_as_another(seen: Observed, pod: Pod, grant: Authorized) -> bool:
    """Whether a run in the middle of its work would go on as another role."""
    in_the_middle = seen.delivery.is_renewed and pod.running
    return in_the_middle and pod.role_arn is not None and pod.role_arn != grant.request.role_arn


def _without_renewal(seen: Observed, pod: Pod, why: str, retry_at: datetime) -> Action | NotRenewed:
    """A container that has yet to start waits for its Secret, and shall not find one with dead credentials."""
    last_moment = seen.expires_at - LAST_MOMENT if seen.expires_at is not None else seen.now
    if seen.now < last_moment:
        return NotRenewed(why, min(last_moment, retry_at))
    if seen.progress.secret is SecretState.HELD:
        # Nothing else keeps the container from starting with credentials that are dead.
        return DeletePod(pod.uid)
    deletion = rid_of_secret(seen)
    if deletion is None:
        return NotRenewed(why, retry_at)
    if deletion.actions:
        return deletion.actions[0]
    return NotRenewed(why, min(deletion.again_at or retry_at, retry_at))


def rid_of_secret(seen: Observed, *, repeatedly: bool = True) -> Decision | None:
    """What remains to be done until the Secret is gone and cannot come back; None when nothing does.

    A creation that was never answered may still be carried out: its deletion is repeated until it no longer can, or at
    least done once more by then. A Secret that a finalizer holds is harmless once its credentials have expired.
    """
    progress, limits = seen.progress, seen.limits
    if progress.secret not in (SecretState.GONE, SecretState.HELD) or progress.deleted_at is None:
        return Decision((DeleteSecret(),))
    again_at = progress.deleted_at + limits.deletion_repeat
    if progress.secret is SecretState.HELD:
        dead_by = _dead_by(seen)
        if dead_by is not None and seen.now >= dead_by:
            return None
    else:
        doubt_ends = (
            progress.unanswered_at + limits.creation_in_doubt if progress.unanswered_at else progress.deleted_at
        )
        if progress.deleted_at >= doubt_ends:
            return None
        again_at = again_at if repeatedly else doubt_ends
    return Decision((DeleteSecret(),)) if seen.now >= again_at else Decision((), again_at)


def _dead_by(seen: Observed) -> datetime | None:
    """When no Secret of this Run holds live credentials any more, not even one whose creation was never answered."""
    progress, run = seen.progress, seen.run
    moments = [seen.expires_at]
    if progress.expires_at is None and seen.pod is not None:
        # Another process issued them: its last session is not known.
        moments.append(seen.pod.credentials_dead_by(seen.now))
    if progress.unanswered_at is not None and seen.expires_at is not None:
        life = session_life(seen) if isinstance(seen.grant, Authorized) else LONGEST_SESSION
        moments.append(progress.unanswered_at + life)
    known = [moment for moment in moments if moment is not None]
    if known:
        return max(known)
    ended = run.status.finished_at
    return min(ended, seen.now) + LONGEST_SESSION if ended is not None else None


def _misses_secret(seen: Observed, pod: Pod) -> bool:
    """Whether the kubelet says that the Secret is not there."""
    name = child_name(seen.run_id)
    return any(
        container.reason == "CreateContainerConfigError" and name in container.message for container in pod.containers
    )
