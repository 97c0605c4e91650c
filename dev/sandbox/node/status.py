"""The status of a pod, computed from the states of its containers as a kubelet computes it (`getPhase`,
`status/generate.go`, `TerminatePod`) for `restartPolicy: Never`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TERMINAL = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Waiting:
    reason: str
    message: str = ""


@dataclass(frozen=True)
class Running:
    started_at: datetime
    container_id: str


@dataclass(frozen=True)
class Terminated:
    """`exit_code`: 0 to 255, 128+n for a process ended by signal n."""

    exit_code: int
    reason: str
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = ""


State = Waiting | Running | Terminated
UNKNOWN = Terminated(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated")


@dataclass(frozen=True)
class Container:
    """One container of the pod as it stands.

    `kind` is `init`, `sidecar` (an init container that is never waited for) or `main`.
    """

    name: str
    image: str
    kind: str
    state: State
    last: Terminated | None = None
    restarts: int = 0


@dataclass(frozen=True)
class Verdict:
    """Why the pod failed as a whole, whatever its containers did."""

    reason: str
    message: str


@dataclass(frozen=True)
class PodState:
    """All that the status says."""

    containers: Sequence[Container]
    started_at: datetime
    address: str
    verdict: Verdict | None = None
    over: bool = False
    """Nothing of the pod runs any more and nothing will be started, whatever state its containers were left in."""
    conditions: Mapping[str, tuple[str, datetime]] = field(default_factory=dict)
    """Status and time of the last transition of each condition as it was reported last."""
    phase: str = "Pending"
    """The phase reported last."""
    node_name_preset: bool = False
    """The pod came with a nodeName, so no binding wrote its PodScheduled condition."""


def ended(exit_code: int, started_at: datetime, finished_at: datetime, container_id: str) -> Terminated:
    """The state of a container whose process ended; a negative `exit_code` is the signal that ended it."""
    code = 128 - exit_code if exit_code < 0 else exit_code
    reason = "Completed" if code == 0 else "Error"
    return Terminated(code, reason, "", started_at, finished_at, container_id)


def start_failed(message: str, finished_at: datetime, container_id: str) -> Terminated:
    """The state of a container whose process could not be started, as the kubelet shows it with containerd."""
    return Terminated(128, "StartError", message, EPOCH, finished_at, container_id)


def located_no_more(containers: Sequence[Container]) -> list[Container]:
    """The containers of a pod that is over, where those that are not known to have ended count as failed.

    Init containers that show no sign of a start stay waiting, save the first one; main containers do so while the pod
    is not initialised.
    """
    inits = [container for container in containers if container.kind != "main"]
    tried = max((i + 1 for i, one in enumerate(inits) if _has_started(one)), default=1)
    failed = {container.name for container in inits[:tried]}
    if _initialised(containers):
        failed |= {container.name for container in containers if container.kind == "main"}
    return [
        replace(one, state=UNKNOWN) if one.name in failed and not isinstance(one.state, Terminated) else one
        for one in containers
    ]


def phase(containers: Sequence[Container]) -> str:
    """The phase that the containers alone make."""
    inits = [one for one in containers if one.kind == "init"]
    sidecars = [one for one in containers if one.kind == "sidecar"]
    mains = [one for one in containers if one.kind == "main"]
    if any(isinstance(one.state, Terminated) and one.state.exit_code for one in inits):
        return "Failed"
    if not all(isinstance(one.state, Terminated) for one in inits):
        return "Pending"
    if any(isinstance(one.state, Waiting) and one.last is None for one in [*sidecars, *mains]):
        return "Pending"
    if any(isinstance(one.state, Running) for one in [*sidecars, *mains]):
        return "Running"
    succeeded = all(isinstance(one.state, Terminated) and one.state.exit_code == 0 for one in mains)
    return "Succeeded" if succeeded else "Failed"


def pod_phase(state: PodState) -> str:
    """The phase to report: a terminal one only when no container runs any more."""
    if any(isinstance(one.state, Running) for one in state.containers):
        computed = phase(state.containers)
        return state.phase if state.verdict or computed in TERMINAL else computed
    if state.verdict:
        return "Failed"
    computed = phase(state.containers)
    return "Failed" if state.over and computed not in TERMINAL else computed


def pod_status(state: PodState, now: datetime) -> dict[str, Any]:
    """The whole `status` for a strategic merge patch."""
    shown = pod_phase(state)
    status: dict[str, Any] = {
        "phase": shown,
        "conditions": _conditions(state, shown, now),
        "hostIP": state.address,
        "hostIPs": [{"ip": state.address}],
        "podIP": state.address,
        "podIPs": [{"ip": state.address}],
        "startTime": timestamp(state.started_at),
        "containerStatuses": [_container_status(one) for one in state.containers if one.kind == "main"],
    }
    if inits := [_container_status(one) for one in state.containers if one.kind != "main"]:
        status["initContainerStatuses"] = inits
    if state.verdict and shown in TERMINAL:
        status |= {"reason": state.verdict.reason, "message": state.verdict.message}
    return status


def transitions(status: Mapping[str, Any]) -> dict[str, tuple[str, datetime]]:
    """The conditions of a reported status, in the form of PodState.conditions."""
    return {
        one["type"]: (one["status"], datetime.fromisoformat(one["lastTransitionTime"]))
        for one in status.get("conditions", [])
        if one.get("lastTransitionTime")
    }


def read_state(entry: Mapping[str, Any]) -> State:
    """The state that a reported container status gives."""
    state = entry.get("state", {})
    reference = entry.get("containerID", "")
    if found := state.get("running"):
        return Running(datetime.fromisoformat(found["startedAt"]), reference)
    if found := state.get("terminated"):
        started_at, finished_at = _time(found.get("startedAt")), _time(found.get("finishedAt"))
        reason, message = found.get("reason", ""), found.get("message", "")
        return Terminated(found["exitCode"], reason, message, started_at, finished_at, reference)
    waiting = state.get("waiting", {})
    return Waiting(waiting.get("reason", ""), waiting.get("message", ""))


def timestamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _conditions(state: PodState, shown: str, now: datetime) -> list[dict[str, Any]]:
    ready = _ready(state.containers, shown)
    entries: dict[str, tuple[bool, str, str]] = {
        "PodReadyToStartContainers": (shown not in TERMINAL, "", ""),
        "Initialized": _initialised_condition(state.containers, shown),
        "Ready": ready,
        "ContainersReady": ready,
    }
    if state.node_name_preset:
        entries["PodScheduled"] = (True, "", "")
    result = []
    for kind, (holds, reason, message) in entries.items():
        before, since = state.conditions.get(kind, ("", now))
        status = "True" if holds else "False"
        result.append(
            {
                "type": kind,
                "status": status,
                # A strategic merge keeps what is not named: null takes an earlier reason away.
                "reason": reason or None,
                "message": message or None,
                "lastTransitionTime": timestamp(since if status == before else now),
            }
        )
    return result


def _initialised_condition(containers: Sequence[Container], shown: str) -> tuple[bool, str, str]:
    if shown == "Succeeded":
        return True, "PodCompleted", ""
    if any(one.kind == "main" and _has_started(one) for one in containers):
        return True, "", ""
    waited_for = [one.name for one in containers if not _init_done(one)]
    if waited_for:
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(waited_for)}]"
    return True, "", ""


def _init_done(one: Container) -> bool:
    if one.kind == "sidecar":
        return isinstance(one.state, Running)
    return one.kind == "main" or (isinstance(one.state, Terminated) and one.state.exit_code == 0)


def _ready(containers: Sequence[Container], shown: str) -> tuple[bool, str, str]:
    if shown == "Succeeded":
        return False, "PodCompleted", ""
    if shown == "Failed":
        return False, "PodFailed", ""
    unready = [one.name for one in containers if one.kind != "init" and not isinstance(one.state, Running)]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _container_status(one: Container) -> dict[str, Any]:
    runs = isinstance(one.state, Running)
    done = one.kind == "init" and _init_done(one)
    status: dict[str, Any] = {
        "name": one.name,
        "image": one.image,
        "imageID": "",
        "ready": runs if one.kind != "init" else done,
        "started": runs,
        "restartCount": one.restarts,
        "state": _state(one.state),
        "lastState": _state(one.last) if one.last else {},
    }
    if not isinstance(one.state, Waiting) and one.state.container_id:
        status["containerID"] = one.state.container_id
    return status


def _state(state: State) -> dict[str, Any]:
    if isinstance(state, Waiting):
        return {"waiting": _without_empty({"reason": state.reason, "message": state.message})}
    if isinstance(state, Running):
        return {"running": {"startedAt": timestamp(state.started_at)}}
    return {
        "terminated": _without_empty(
            {
                "exitCode": state.exit_code,
                "reason": state.reason,
                "message": state.message,
                "startedAt": timestamp(state.started_at) if state.started_at else None,
                "finishedAt": timestamp(state.finished_at) if state.finished_at else None,
                "containerID": state.container_id,
            }
        )
    }


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None and value != ""}


def _has_started(one: Container) -> bool:
    return not isinstance(one.state, Waiting) or one.last is not None


def _initialised(containers: Iterable[Container]) -> bool:
    every = list(containers)
    inits = [one for one in every if one.kind != "main"]
    if not inits or any(_has_started(one) for one in every if one.kind == "main"):
        return True
    return _init_done(inits[-1])
