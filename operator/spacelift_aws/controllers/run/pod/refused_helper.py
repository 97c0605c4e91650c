"""How a node shows that it cannot bring the helper that masks logs as an image volume. Pure.

Image volumes need a kubelet that has them on (by default since Kubernetes 1.35) and a runtime that mounts them
(containerd 2.1, CRI-O 1.33). A runtime that does not know them fails to create the container, or creates it without the
helper, so that it cannot start. A kubelet that does not know them says nothing at all.
"""

from datetime import datetime, timedelta

from spacelift_aws.controllers.run.pod.view import Container, Pod

SILENT_AFTER = timedelta(minutes=2)
"""A kubelet that has said no word of a container so long after it took the pod waits for a volume for ever, or pulls a
large image, which it goes on with for the pod that takes this one's place."""

_NOT_CREATED = ("CreateContainerError", "RunContainerError", "ImageVolumeMountFailed")
_NOT_STARTED = "StartError"
_NO_WORD = ("", "ContainerCreating", "PodInitializing")

_GONE_BEFORE = "ContainerStatusUnknown"
"""What a kubelet writes at the end of a pod of a container that it has not found."""


def silent_at(pod: Pod) -> datetime | None:
    """When a kubelet that goes on to say nothing of the pod's containers has been silent for too long; None where one
    runs, or where no image volume is waited for.
    """
    if pod.started_at is None or pod.running or not pod.image_volume:
        return None
    return pod.started_at + SILENT_AFTER


def refusal_of(pod: Pod, now: datetime, known: str | None = None) -> str | None:
    """Why another pod should take this one's place; None if nothing shows that, or if a container has ever run.

    `pod` has the containers of its template only; `known` is the UID of the pod of which it was seen before.
    """
    if not pod.image_volume or any(_has_run(one) for one in pod.containers):
        return None
    said = next((_words(one) for one in pod.containers if one.reason in (*_NOT_CREATED, _NOT_STARTED)), None)
    if said is not None or pod.uid == known:
        return f"{_START}: {said}" if said else f"{_START}."
    if pod.deletion is not None or pod.finished or pod.started_at is None or pod.gone:
        return None
    waits = all(one.state == "waiting" and one.reason in _NO_WORD for one in pod.containers)
    if waits and now >= pod.started_at + SILENT_AFTER:
        return f"{_START}: the node reported no container for {SILENT_AFTER.total_seconds():.0f} seconds."
    return None


_START = (
    "The pod's node cannot mount the helper that masks logs as an image volume; a pod with an init container replaces "
    "this pod"
)


def _words(container: Container) -> str:
    message = " ".join(container.message.split())
    said = f"{container.reason}: {message}" if message else container.reason
    return said if len(said) <= 300 else said[:300] + "…"


def _has_run(container: Container) -> bool:
    if container.reason == _GONE_BEFORE:
        return container.started_at is not None
    return container.started and container.reason != _NOT_STARTED
