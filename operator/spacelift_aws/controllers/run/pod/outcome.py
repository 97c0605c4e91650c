"""From a pod to what a person wants to know: how it ended, and what troubles it while it has not."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from spacelift_aws.api.meta import format_time
from spacelift_aws.api.reasons import SucceededReason
from spacelift_aws.controllers.run.pod.masking import HELPER_VOICE
from spacelift_aws.controllers.run.pod.view import Container, Pod

CLOCK_SKEW = timedelta(seconds=5)
"""The API server's clock decides when a deletion was asked for, others when a container ended or a deadline came."""

# Reasons of `DisruptionTarget` (https://kubernetes.io/docs/concepts/workloads/pods/disruptions/).
_NODE_LOST = ("DeletionByTaintManager", "DeletionByPodGC")

_KILLED = 128 + 9
"""The exit code of what SIGKILL has ended."""

_EVICTED = ("Evicted", "Preempting")

# Only these are the words of the kubelet or the runtime. All others may be what the container itself has printed, as
# with `terminationMessagePolicy: FallbackToLogsOnError`: they stay in the pod, where they were.
_NOT_ITS_OWN_WORDS = ("StartError", "ContainerCannotRun", "ContainerStatusUnknown")

# A container waits for these without anything being wrong.
_PATIENT = ("", "ContainerCreating", "PodInitializing")

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """What keeps a pod from starting or running, in one sentence."""

    kind: str
    """The same for the same trouble, however often its words change."""
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pod ended."""

    reason: SucceededReason
    message: str
    exit_code: int | None


def outcome_of(pod: Pod, success: Collection[int] = (0,)) -> Outcome:
    """The outcome of a pod that has finished or is gone, by the containers of its template.

    With init containers and sidecars the result is the pod's; the exit code is that of the container that decided it.
    `success`: the exit codes of a container that has succeeded.
    """
    if not _deleted_first(pod) and not pod.reason and _succeeded(pod, success):
        codes = [container.exit_code for container in pod.containers if not container.init and container.exit_code]
        return Outcome(
            SucceededReason.FINISHED, "The run finished; its credentials are deleted.", codes[0] if codes else 0
        )
    decisive = _decisive(pod, success)
    code = decisive.exit_code if decisive else None
    disruption = pod.condition("DisruptionTarget")
    if pod.reason == "NodeLost" or (disruption and disruption.status == "True" and disruption.reason in _NODE_LOST):
        return Outcome(SucceededReason.NODE_LOST, _sentence("The pod's node was lost", pod.message), code)
    if pod.reason in _EVICTED or (disruption and disruption.status == "True"):
        said = pod.message or (disruption.message if disruption else "")
        return Outcome(SucceededReason.EVICTED, _sentence("The pod was evicted from its node", said), code)
    if pod.reason == "DeadlineExceeded":
        return Outcome(
            SucceededReason.DEADLINE_EXCEEDED, "The pod ran longer than the template's own deadline allows.", code
        )
    if _deleted_first(pod) or not (pod.finished or pod.ended):
        return Outcome(SucceededReason.POD_DELETED, "The pod was deleted before it had finished.", None)
    if decisive and decisive.reason == "OOMKilled":
        return Outcome(
            SucceededReason.OOM_KILLED,
            f"{_called(decisive)} needed more memory than its limit allows and was killed.",
            code,
        )
    if decisive:
        return Outcome(SucceededReason.CONTAINER_FAILED, _container_failed(decisive), code)
    said = ": ".join(part for part in (pod.reason, pod.message) if part)
    return Outcome(SucceededReason.CONTAINER_FAILED, _sentence("The pod failed", said), None)


def trouble_of(pod: Pod, before: PodTrouble | None = None) -> PodTrouble | None:
    """What keeps a pod from starting or running; None if nothing does.

    A kubelet tells of an image in turns that the pull failed and that it waits for the next try, and a scheduler counts
    its nodes each time: while the trouble is the same, the words of `before` stay.
    """
    trouble = _node_trouble(pod) or _container_trouble(pod)
    return before if trouble is not None and before is not None and before.kind == trouble.kind else trouble


def _node_trouble(pod: Pod) -> PodTrouble | None:
    if pod.gates:
        gates = ", ".join(f"`{gate}`" for gate in pod.gates)
        return PodTrouble(f"gates {gates}", f"The pod waits until its scheduling gate {gates} is removed.")
    if pod.unheard_since is not None:
        since = format_time(pod.unheard_since)
        return PodTrouble(f"node {since}", f"The pod's node has not responded since {since}.")
    scheduled = pod.condition("PodScheduled")
    if scheduled and scheduled.status == "False" and scheduled.reason == "Unschedulable":
        words = re.sub(r"[0-9]+", "", scheduled.message)
        return PodTrouble(f"scheduler {words}", _sentence("No node can take the pod", scheduled.message))
    return None


def _container_trouble(pod: Pod) -> PodTrouble | None:
    for container in pod.containers:
        if container.state != "waiting" or container.reason in _PATIENT:
            continue
        if container.reason not in _IMAGE:
            start = f"{_called(container)} cannot start ({container.reason})"
            return PodTrouble(f"{container.name} {container.reason}", _sentence(start, container.message))
        start = f"{_called(container)}: its image cannot be pulled"
        return PodTrouble(f"{container.name} image", _sentence(start, container.message or container.reason))
    return None


def started_at(pod: Pod) -> datetime | None:
    """When the first container of the template started, or at least when a node took the pod."""
    started = (c.started_at for c in pod.containers if c.started_at and not c.brings_helper)
    return min(started, default=pod.started_at)


def finished_at(pod: Pod) -> datetime | None:
    """When the last container of a finished pod ended."""
    return max((c.finished_at for c in pod.containers if c.finished_at), default=None)


def grace_over(pod: Pod) -> str:
    """That a container was killed because it had not ended in the time that it was given; empty if none was."""
    if pod.deletion is None:
        return ""
    killed = (
        container
        for container in pod.containers
        if container.exit_code == _KILLED and container.reason != "OOMKilled" and container.finished_at is not None
    )
    late = next((one for one in killed if one.finished_at and one.finished_at >= pod.deletion - CLOCK_SKEW), None)
    if late is None:
        return ""
    return (
        f" {_called(late)} did not end within its grace period of {pod.grace.total_seconds():.0f} seconds and was "
        "killed, which may leave locks behind: raise terminationGracePeriodSeconds in the template."
    )


def _deleted_first(pod: Pod) -> bool:
    """Whether the deletion was asked for before the result was there: an exit on SIGTERM is none."""
    if pod.deletion is None:
        return False
    asked = pod.deletion - pod.grace - CLOCK_SKEW
    ended = [container for container in pod.containers if container.finished_at and container.finished_at < asked]
    failed_early = any(container.init and not container.sidecar and container.exit_code for container in ended)
    return not failed_early and not all(container.init or container in ended for container in pod.containers)


def _succeeded(pod: Pod, success: Collection[int]) -> bool:
    """Whether all containers have done their work; what a kubelet no longer tells of each, the pod's phase does."""
    mains = [container for container in pod.containers if not container.init]
    if not all(container.state == "terminated" for container in mains):
        return pod.phase == "Succeeded"
    return bool(mains) and all(container.exit_code in success for container in mains)


def _decisive(pod: Pod, success: Collection[int]) -> Container | None:
    """The first container that failed: an init container before the others; a sidecar decides nothing."""
    failed = [
        container
        for container in pod.containers
        if container.state == "terminated"
        and not container.sidecar
        and container.exit_code not in (success if not container.init else (0,))
    ]
    inits = [container for container in failed if container.init]
    if inits:
        return inits[0]
    return min(failed, key=lambda c: c.finished_at.timestamp() if c.finished_at else 0.0, default=None)


def _helper_says(container: Container) -> bool:
    """Whether it is the helper that says why the command was not started: masked, as all that it writes."""
    return container.masked and container.exit_code in (126, 127) and container.message.startswith(HELPER_VOICE)


def _called(container: Container) -> str:
    name = f"Container `{container.name}`"
    return f"{name} (the helper that masks logs)" if container.brings_helper else name


def _container_failed(container: Container) -> str:
    start = f"{_called(container)} ended with exit code {container.exit_code}"
    if container.misses_first_place and _ended_at_once(container):
        return (
            f"{start} at once: `{container.misses_first_place}` must be process 1 of its container, and with the "
            "helper that masks logs it is not. Write the command that it is to start instead, or use `maskLogs: Never`."
        )
    if container.brings_helper or _helper_says(container):
        return _sentence(start, container.message)
    if container.reason in _NOT_ITS_OWN_WORDS:
        return _sentence(f"{start} ({container.reason})", container.message)
    return f"{start}." if container.reason in ("", "Error") else f"{start} ({container.reason})."


def _ended_at_once(container: Container) -> bool:
    """Within a second: a kubelet tells whole ones."""
    began, ended = container.started_at, container.finished_at
    return began is not None and ended is not None and ended - began <= timedelta(seconds=1)


def _sentence(start: str, detail: str) -> str:
    """One sentence, with what the kubelet or the scheduler said after a colon, shortened."""
    detail = " ".join(detail.split())
    if len(detail) > 400:
        detail = detail[:400] + "…"
    return f"{start}: {detail}" if detail else f"{start}."
