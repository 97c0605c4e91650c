"""The status of a Run, and the Events that follow from its change. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spacelift_aws.api.conditions import with_condition, with_progress
from spacelift_aws.api.meta import Condition, ConditionStatus, format_time, shorten
from spacelift_aws.api.reasons import ConditionType, CredentialsIssuedReason, LogsMaskedReason, SucceededReason
from spacelift_aws.api.run import Phase, RunStatus
from spacelift_aws.aws.console import cloud_trail_url
from spacelift_aws.controllers.run.actions import WriteStatus
from spacelift_aws.controllers.run.earlier_life import kept_by
from spacelift_aws.controllers.run.pod.masking import MOUNT_PATH, Masking, all_masked
from spacelift_aws.controllers.run.pod.outcome import started_at
from spacelift_aws.controllers.run.pod.view import Pod, unmasked
from spacelift_aws.controllers.run.state import Authorized, Observed, PodSearch
from spacelift_aws.names import assumed_role_arn, child_name


@dataclass(frozen=True, slots=True)
class End:
    """How a Run ends; `reason` is that of condition `Succeeded`."""

    phase: Phase
    reason: SucceededReason
    message: str
    exit_code: int | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An Event to be recorded about a Run."""

    type: str
    reason: str
    message: str
    is_end: bool = False


def waiting(seen: Observed, reason: CredentialsIssuedReason, message: str) -> RunStatus:
    """Queued, and why."""
    message = seen.message_prefix + message
    status = _set(_base(seen), seen, ConditionType.CREDENTIALS_ISSUED, "False", reason, message)
    made = None if seen.progress.pod_search is PodSearch.NEVER_MADE else status.pod_created_after
    return status.model_copy(update={"message": shorten(message), "pod_created_after": made})


def about_to_create_pod(seen: Observed) -> RunStatus:
    """Queued, with the mark that a pod may have been made from now on."""
    return _base(seen).model_copy(update={"pod_created_after": seen.run.metadata.resource_version})


def with_pod(seen: Observed, pod: Pod, message: str | None) -> RunStatus:
    """Preparing or Running, with what troubles the pod."""
    status = _issued(seen, pod)
    update: dict[str, Any] = {"message": shorten(message) if message is not None else None}
    if status.phase is not Phase.RUNNING:
        update["phase"] = Phase.RUNNING if pod.running else Phase.PREPARING
    if pod.running:
        update["started_at"] = status.started_at or started_at(pod)
    return status.model_copy(update=update)


def image_volume_refused(seen: Observed, pod: Pod, message: str) -> RunStatus:
    """Preparing still: the pod's node does not bring the helper, and another pod takes the pod's place."""
    status = with_pod(seen, pod, message)
    return _set(status, seen, ConditionType.LOGS_MASKED, "False", LogsMaskedReason.IMAGE_VOLUME_REFUSED, message)


def is_pod_refused(status: RunStatus) -> bool:
    """Whether it was told that another pod takes the pod's place."""
    told = status.condition(ConditionType.LOGS_MASKED)
    return told is not None and told.reason == LogsMaskedReason.IMAGE_VOLUME_REFUSED


def not_renewed(seen: Observed, pod: Pod, why: str) -> RunStatus:
    """Preparing or Running with credentials whose renewal fails. They stay issued, and it is said until when."""
    ends = _ends(seen.now, seen.expires_at)
    return with_pod(seen, pod, f"The credentials could not be renewed and {ends}: {why}")


def held(seen: Observed, message: str) -> RunStatus:
    """The run has ended, its Secret has not."""
    return (_issued(seen, seen.pod) if _had_credentials(seen) else _base(seen)).model_copy(update={"message": message})


def terminal(seen: Observed, end: End) -> RunStatus:
    """The last status of a Run."""
    status = _issued(seen, seen.pod) if _had_credentials(seen) else _never_issued(seen)
    status = _set(status, seen, ConditionType.COMPLETE, "True", end.phase, end.message)
    succeeded: ConditionStatus = "True" if end.phase is Phase.FINISHED else "False"
    status = _set(status, seen, ConditionType.SUCCEEDED, succeeded, end.reason, end.message)
    started = status.started_at or (started_at(seen.pod) if seen.pod is not None and seen.pod.running else None)
    return status.model_copy(
        update={
            "phase": end.phase,
            "message": shorten(end.message),
            "exit_code": end.exit_code,
            "started_at": started,
            "finished_at": _whole(end.finished_at or seen.now),
        }
    )


def settled(seen: Observed) -> RunStatus:
    """A terminal status with all that belongs to it, also where another hand wrote the phase or the spec changed since.

    Whoever waits for a condition waits for it to be about the newest spec.
    """
    status = _base(seen)
    complete = status.condition(ConditionType.COMPLETE)
    if complete is not None and complete.status == "True" and status.finished_at is not None:
        return status.model_copy(update={"message": _kept(seen, complete.message)})
    message = "The operator did not write this phase. It ends the run's pod and deletes the run's credentials."
    status = _set(status, seen, ConditionType.COMPLETE, "True", status.phase, message)
    succeeded: ConditionStatus = "True" if status.phase is Phase.FINISHED else "False"
    reason = {Phase.FINISHED: SucceededReason.FINISHED, Phase.STOPPED: SucceededReason.STOPPED}.get(
        status.phase, SucceededReason.POD_DELETED
    )
    status = _set(status, seen, ConditionType.SUCCEEDED, succeeded, reason, message)
    return status.model_copy(update={"message": message, "finished_at": status.finished_at or _whole(seen.now)})


def _kept(seen: Observed, message: str) -> str:
    """The message of the end, and where the time to live is not followed, why."""
    tool = kept_by(seen.run)
    if tool is None or seen.run.spec.ttl_seconds_after_finished is None:
        return seen.run.status.message or message
    return shorten(
        f"{message} The time to live deletes only the pod and not the Run: {tool} tracks the Run and would create it "
        "again, which would execute it again."
    )


_UNDER_WAY = {
    Phase.QUEUED: "The Run waits; condition CredentialsIssued says why.",
    Phase.PREPARING: "The run's pod is starting.",
    Phase.RUNNING: "The run is under way.",
}


def _with_progress(seen: Observed, status: RunStatus) -> RunStatus:
    """The status with what kstatus reads: under way, or over without success. A stopped Run did not do its work."""
    ended = status.condition(ConditionType.SUCCEEDED)
    progress = None
    if not status.phase.terminal:
        progress = _condition(seen, ConditionType.RECONCILING, "True", status.phase, _UNDER_WAY[status.phase])
    elif status.phase is not Phase.FINISHED and ended is not None:
        progress = _condition(seen, ConditionType.STALLED, "True", ended.reason, ended.message)
    return status.model_copy(update={"conditions": with_progress(status.conditions, progress)})


def write(seen: Observed, wanted: RunStatus, warning: str | None = None) -> tuple[WriteStatus, ...]:
    """What writes this status; nothing where the Run has it already."""
    wanted = _with_progress(seen, wanted)
    return () if wanted == seen.run.status else (WriteStatus(wanted, warning),)


def events(before: RunStatus, after: RunStatus, warning: str | None) -> Iterator[Event]:
    """What a person wants to be told: credentials issued, or not and why; the end.

    `warning` is the reason under which a new message of a run under way is told; None for one that is no news.
    """
    was, now = before.condition(ConditionType.CREDENTIALS_ISSUED), after.condition(ConditionType.CREDENTIALS_ISSUED)
    if now is not None and (was is None or (was.status, was.message) != (now.status, now.message)):
        if now.status == "True":
            if was is None or was.status != "True" or before.credentials_expire_at != after.credentials_expire_at:
                yield Event("Normal", "CredentialsIssued", now.message)
        elif not after.phase.terminal:
            yield Event("Warning", now.reason, now.message)
    yield from _masking_told(before, after)
    if after.phase.terminal and not before.phase.terminal:
        end = after.condition(ConditionType.SUCCEEDED)
        gentle = after.phase in (Phase.FINISHED, Phase.STOPPED)
        yield Event("Normal" if gentle else "Warning", end.reason if end else after.phase, after.message or "", True)
    elif warning and after.message and after.message != before.message:
        yield Event("Warning", warning, after.message)


def _masking_told(before: RunStatus, after: RunStatus) -> Iterator[Event]:
    """That logs are not masked, where nobody asked for that; the end of a Run says it itself."""
    was, now = before.condition(ConditionType.LOGS_MASKED), after.condition(ConditionType.LOGS_MASKED)
    if now is None or now.status == "True" or now.reason == LogsMaskedReason.NOT_ASKED or after.phase.terminal:
        return
    if was is None or (was.status, was.message) != (now.status, now.message):
        yield Event("Warning", now.reason, now.message)


def _base(seen: Observed) -> RunStatus:
    generation = seen.run.metadata.generation
    # What may change of a spec, `stop` and the time to live, makes no condition untrue.
    conditions = tuple(
        condition
        if condition.observed_generation == generation
        else condition.model_copy(update={"observed_generation": generation})
        for condition in seen.run.status.conditions
    )
    over = seen.run.status.phase.terminal
    status = seen.run.status.model_copy(
        update={
            "observed_generation": generation,
            "run_id": seen.run_id,
            "requested_by": seen.requested_by,
            "executor": seen.run.status.executor if seen.takeover_grace or over else seen.executor,
            "conditions": conditions,
        }
    )
    masking = None if seen.takeover_grace else _masking(seen)
    if masking is None:
        return status
    masked: ConditionStatus = "True" if masking.reason is LogsMaskedReason.MASKED else "False"
    return _set(status, seen, ConditionType.LOGS_MASKED, masked, masking.reason, masking.message)


def _masking(seen: Observed) -> Masking | None:
    """What the pod shows of the helper; before there is a pod, only what speaks against one."""
    planned = seen.template.masking
    if planned is None or planned.reason is LogsMaskedReason.NOT_ASKED:
        return planned
    if seen.pod is None:
        # What was seen of a pod that is gone stays.
        told = seen.run.status.phase is not Phase.QUEUED or planned.reason is LogsMaskedReason.MASKED
        return None if told else planned
    if seen.progress.refused_pod == seen.pod.uid:
        return None  # what was told of that stays until there is another pod
    credentialed = seen.template.credentialed
    bare = unmasked(seen.pod, credentialed)
    if not bare:
        return all_masked(credentialed)
    if planned.reason is not LogsMaskedReason.MASKED:
        return planned
    return Masking((), LogsMaskedReason.NO_HELPER, _taken_out(seen.pod, bare[0]))


def _taken_out(pod: Pod, name: str) -> str:
    """That the pod is not as it was made."""
    command = next((one.command for one in pod.containers if one.name == name), "")
    words = f"a webhook changed its command to `{shorten(command)}`, which does not start the helper" if command else ""
    if command.startswith(MOUNT_PATH):
        words = "the helper's volume was removed from the pod, for example by an API server without image volumes"
    return f"Container `{name}` of the pod has no helper that masks logs{': ' if words else ''}{words}."


def _had_credentials(seen: Observed) -> bool:
    return seen.pod is not None or seen.progress.issued_at is not None or seen.run.status.phase is not Phase.QUEUED


def _never_issued(seen: Observed) -> RunStatus:
    """The last reason for waiting stays; a Run that had no time to wait was never asked for any."""
    status = _base(seen)
    if status.condition(ConditionType.CREDENTIALS_ISSUED) is not None:
        return status
    message = "The Run ended before credentials were issued."
    return _set(status, seen, ConditionType.CREDENTIALS_ISSUED, "False", CredentialsIssuedReason.NOT_NEEDED, message)


def _issued(seen: Observed, pod: Pod | None) -> RunStatus:
    """The public facts about the run's credentials; the access key ID only where this process issued them."""
    role_arn = pod.role_arn if pod is not None else None
    if role_arn is None and isinstance(seen.grant, Authorized):
        role_arn = seen.grant.request.role_arn
    name, expires_at = child_name(seen.run_id), seen.expires_at
    status = _base(seen).model_copy(
        update={
            "pod_name": name,
            "secret_name": name,
            "credentials_expire_at": _whole(expires_at) if expires_at else None,
        }
    )
    if role_arn is None or expires_at is None:
        return status
    assumed = assumed_role_arn(role_arn, seen.run_id)
    status = status.model_copy(
        update={
            "role_arn": role_arn,
            "assumed_role_arn": assumed,
            "cloud_trail_url": cloud_trail_url(role_arn, seen.region, seen.run_id),
        }
    )
    known = status.condition(ConditionType.CREDENTIALS_ISSUED)
    renewed = status.credentials_expire_at != seen.run.status.credentials_expire_at
    if known is not None and known.status == "True" and not renewed:
        return status
    message = _issued_message(assumed, expires_at, seen.progress.access_key_id, seen.requested_by)
    message = f"{message} {seen.template.caveats}".rstrip()
    return _set(status, seen, ConditionType.CREDENTIALS_ISSUED, "True", CredentialsIssuedReason.ISSUED, message)


def _ends(now: datetime, expires_at: datetime | None) -> str:
    if expires_at is None:
        return "are gone"
    return f"{'end' if now < expires_at else 'have ended'} at {format_time(expires_at)}"


def _issued_message(assumed: str, expires_at: datetime, access_key_id: str | None, requested_by: str | None) -> str:
    key = f" with access key ID {access_key_id}" if access_key_id else ""
    who = f" The Run was requested by {requested_by}." if requested_by else ""
    return f"Issued a session as {assumed}{key} that ends at {format_time(expires_at)}.{who}"


def _set(
    status: RunStatus, seen: Observed, type_: ConditionType, value: ConditionStatus, reason: str, message: str
) -> RunStatus:
    new = _condition(seen, type_, value, reason, message)
    return status.model_copy(update={"conditions": with_condition(status.conditions, new)})


def _condition(seen: Observed, type_: ConditionType, value: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(
        type=type_,
        status=value,
        reason=reason,
        message=message,
        last_transition_time=seen.now,
        observed_generation=seen.run.metadata.generation,
    )


def _whole(moment: datetime) -> datetime:
    """As the wire has it: otherwise a status would differ from itself once it was read back."""
    return moment.replace(microsecond=0)
