"""What the operator needs to know of a pod, as plain data: a tenth of the size of the object it is read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from spacelift_aws.api.run import Delivery
from spacelift_aws.aws.arns import parse_role_arn
from spacelift_aws.controllers.run.credentials.session_life import LONGEST_SESSION, NEAR_EXPIRY
from spacelift_aws.controllers.run.delivery import DELIVERIES
from spacelift_aws.controllers.run.pod import masking
from spacelift_aws.names import ANNOTATION_EXPIRES_AT, ANNOTATION_ROLE_ARN, ANNOTATION_RUN, LABEL_RUN_ID, executor_of


@dataclass(frozen=True, slots=True)
class Container:
    """One container's status; `state` is `waiting`, `running` or `terminated`, also before the kubelet said a word."""

    name: str
    init: bool
    sidecar: bool
    state: str
    reason: str
    message: str
    exit_code: int | None
    started_at: datetime | None
    finished_at: datetime | None
    hindrances: Mapping[Delivery, str]
    """What keeps its SDKs from using the run's credentials, by the pod's spec, for each delivery that is hindered."""
    restarts: bool
    """Whether it has a restart policy of its own."""
    masked: bool
    """Whether the helper that masks logs stands in front of its command, by the pod's spec."""
    command: str = ""
    """The program that it starts, by the pod's spec; empty where that is the image's."""
    misses_first_place: str = ""
    """The program behind the helper that insists on being process 1; empty where none does."""

    @property
    def started(self) -> bool:
        """Whether its process ever ran."""
        return self.state != "waiting"

    @property
    def brings_helper(self) -> bool:
        """Whether it is not the template's, but brings the helper that masks logs."""
        return self.name == masking.INIT_CONTAINER


@dataclass(frozen=True, slots=True)
class PodCondition:
    """One condition of a pod."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as last seen; `gone` means that it was seen for the last time."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    run_id: str
    run_name: str
    executor: str
    owner_uid: str | None
    created: datetime
    deletion: datetime | None
    grace: timedelta
    phase: str
    reason: str
    message: str
    started_at: datetime | None
    expires_at: datetime | None
    role_arn: str | None
    conditions: tuple[PodCondition, ...]
    containers: tuple[Container, ...]
    is_renewed: bool
    """Whether its delivery renews credentials: it may hold newer ones than those that it was made with."""
    image_volume: bool = False
    """Whether the helper that masks logs comes as a volume of its image."""
    gates: tuple[str, ...] = ()
    """The scheduling gates that it waits for."""
    gone: bool = False

    @property
    def ended(self) -> bool:
        """Whether all containers but init containers have ended, and none of them starts again by itself."""
        mains = [one for one in self.containers if not one.init]
        return bool(mains) and all(one.state == "terminated" and not one.restarts for one in mains)

    @property
    def unscheduled(self) -> bool:
        """Whether no node has it, and the scheduler has said so."""
        scheduled = self.condition("PodScheduled")
        return scheduled is not None and scheduled.status == "False"

    @property
    def unheard_since(self) -> datetime | None:
        """Since when its node is silent: the node controller then says that it is not ready while its containers are.

        A readiness gate gives its own reason.
        """
        ready, containers = self.condition("Ready"), self.condition("ContainersReady")
        if ready is None or containers is None or self.finished or ready.reason == "ReadinessGatesNotReady":
            return None
        return ready.since if (ready.status, containers.status) == ("False", "True") else None

    @property
    def finished(self) -> bool:
        """Whether no container of it runs or ever will."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def running(self) -> bool:
        """Whether a container of the template was started, init containers included."""
        return self.phase == "Running" or any(one.started for one in self.containers if not one.brings_helper)

    def has_dead_credentials(self, now: datetime) -> bool:
        """Whether all credentials that its Secret may hold have expired, by what the pod itself tells."""
        dead_by = self.credentials_dead_by(now)
        return dead_by is not None and now >= dead_by

    def credentials_dead_by(self, now: datetime) -> datetime | None:
        """When all credentials that its Secret may hold have expired; None while it has not ended.

        Those that it was made with may have been replaced: in a file until it ended, as variables until its last
        container had started.
        """
        moments = [moment for one in self.containers for moment in (one.started_at, one.finished_at) if moment]
        moments += [condition.since for condition in self.conditions if condition.since]
        if not moments or not (self.finished or self.gone):
            return None
        # Nothing has happened in the future, whoever wrote so.
        end = min(now, max(moments))
        starts = [one.started_at for one in self.containers if one.started_at]
        waited_until = min(end, max(starts)) if starts and len(starts) == len(self.containers) else end
        # Twice, because clocks differ.
        if self.is_renewed or self.expires_at is None or waited_until >= self.expires_at - 2 * NEAR_EXPIRY:
            return end + LONGEST_SESSION
        # Replaced at most because somebody had deleted the Secret.
        return self.expires_at + max(waited_until - self.created, timedelta(0))

    def condition(self, type_: str) -> PodCondition | None:
        """The condition of this type, if the pod has it."""
        return next((condition for condition in self.conditions if condition.type == type_), None)

    def awaits_credentials(self, names: Sequence[str]) -> bool:
        """Whether a container among these has yet to start, and so to read its Secret."""
        return not self.finished and any(
            not container.started for container in self.containers if container.name in names
        )


def with_first_deletion(pod: Pod, known: Pod | None) -> Pod:
    """The pod with the deletion that was asked for first, as the view before shows it.

    Once nothing of a pod runs, its kubelet deletes it with a grace of zero, and the API server writes the time of that
    over the time before: seconds later, or minutes where volumes are slow to go.
    """
    if pod.deletion is None or pod.grace or known is None or known.uid != pod.uid or known.deletion is None:
        return pod
    return replace(pod, deletion=known.deletion, grace=known.grace)


def template_part(pod: Pod, names: Sequence[str]) -> Pod:
    """A pod with the containers of its template only: what a webhook puts beside them decides nothing."""
    own = tuple(one for one in pod.containers if one.name in names or one.brings_helper)
    return replace(pod, containers=own) if names else pod


def unmasked(pod: Pod, names: Sequence[str]) -> tuple[str, ...]:
    """Which of the containers with these names print without the helper that masks logs."""
    return tuple(container.name for container in pod.containers if container.name in names and not container.masked)


def parse_pod(body: Mapping[str, Any]) -> Pod:
    """Read a pod object of the API; raises nothing on fields that are missing."""
    metadata: Mapping[str, Any] = body.get("metadata") or {}
    spec: Mapping[str, Any] = body.get("spec") or {}
    status: Mapping[str, Any] = body.get("status") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        run_id=labels.get(LABEL_RUN_ID, ""),
        run_name=annotations.get(ANNOTATION_RUN, ""),
        executor=executor_of(labels),
        owner_uid=_controller_uid(metadata),
        created=_required_time(metadata["creationTimestamp"]),
        deletion=_time(metadata.get("deletionTimestamp")),
        grace=timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0),
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        started_at=_time(status.get("startTime")),
        expires_at=_time(annotations.get(ANNOTATION_EXPIRES_AT)),
        role_arn=_role_arn(annotations.get(ANNOTATION_ROLE_ARN)),
        conditions=tuple(_condition(condition) for condition in status.get("conditions") or ()),
        containers=_containers(spec, status, metadata["name"]),
        image_volume=masking.has_image_volume(spec),
        gates=tuple(str(gate.get("name") or "") for gate in spec.get("schedulingGates") or ()),
        is_renewed=any(one.is_renewed and one.is_in(spec, metadata["name"]) for one in DELIVERIES.values()),
    )


def _containers(spec: Mapping[str, Any], status: Mapping[str, Any], secret_name: str) -> tuple[Container, ...]:
    """The containers of the spec, init containers first, each with what the kubelet last said of it."""
    found: list[Container] = []
    for specs, statuses, init in (
        ("initContainers", "initContainerStatuses", True),
        ("containers", "containerStatuses", False),
    ):
        said = {entry.get("name"): entry for entry in status.get(statuses) or ()}
        for container in spec.get(specs) or ():
            name = container.get("name", "")
            sidecar = init and container.get("restartPolicy") == "Always"
            hindrances = {
                delivery: hindrance
                for delivery, one in DELIVERIES.items()
                if (hindrance := one.hindrance(container, spec, secret_name)) is not None
            }
            behind = masking.behind_helper(container)
            first = behind[0] if behind is not None and masking.must_be_first(behind) else ""
            restarts = bool(container.get("restartPolicy") or container.get("restartPolicyRules"))
            one = _container(name, init, sidecar, said.get(name) or {}, hindrances, behind is not None)
            command = str((container.get("command") or ("",))[0])
            found.append(replace(one, restarts=restarts, command=command, misses_first_place=first))
    return tuple(found)


def _container(
    name: str, init: bool, sidecar: bool, said: Mapping[str, Any], hindrances: Mapping[Delivery, str], masked: bool
) -> Container:
    states: Mapping[str, Any] = said.get("state") or {}
    state = next((known for known in ("terminated", "running") if known in states), "waiting")
    details: Mapping[str, Any] = states.get(state) or {}
    return Container(
        name=name,
        init=init,
        sidecar=sidecar,
        state=state,
        reason=details.get("reason") or "",
        message=details.get("message") or "",
        exit_code=details.get("exitCode"),
        started_at=_time(details.get("startedAt")),
        finished_at=_time(details.get("finishedAt")),
        hindrances=hindrances,
        restarts=False,
        masked=masked,
    )


def _condition(body: Mapping[str, Any]) -> PodCondition:
    return PodCondition(
        type=body.get("type") or "",
        status=body.get("status") or "",
        reason=body.get("reason") or "",
        message=body.get("message") or "",
        since=_time(body.get("lastTransitionTime")),
    )


def _controller_uid(metadata: Mapping[str, Any]) -> str | None:
    owners: Sequence[Mapping[str, Any]] = metadata.get("ownerReferences") or ()
    return next((owner.get("uid") for owner in owners if owner.get("controller")), None)


def _role_arn(text: str | None) -> str | None:
    """What is written there, if it is a role's ARN: anybody who may change pods can write into an annotation."""
    return text if text is not None and parse_role_arn(text) else None


def _required_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _time(text: str | None) -> datetime | None:
    """A time of the API; None where there is none or where somebody wrote something else into an annotation."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
