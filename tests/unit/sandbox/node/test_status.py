"""Phase, conditions and container statuses from the states of containers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.node.status import (
    UNKNOWN,
    Container,
    PodState,
    Running,
    State,
    Terminated,
    Verdict,
    Waiting,
    ended,
    located_no_more,
    phase,
    pod_phase,
    pod_status,
    read_state,
    transitions,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WAITING = Waiting("ContainerCreating")
RUNNING = Running(NOW, "sandbox://1")
DONE = ended(0, NOW, NOW, "sandbox://1")
FAILED = ended(3, NOW, NOW, "sandbox://1")


def init(state: State) -> Container:
    return Container("init", "image", "init", state)


def sidecar(state: State, last: Terminated | None = None) -> Container:
    return Container("sidecar", "image", "sidecar", state, last)


def main(state: State, name: str = "main") -> Container:
    return Container(name, "image", "main", state)


def pod(*containers: Container, **fields: Any) -> PodState:
    return PodState(list(containers), NOW, "127.0.0.1", **fields)


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([main(WAITING)], "Pending"),
        ([main(RUNNING)], "Running"),
        ([main(DONE)], "Succeeded"),
        ([main(FAILED)], "Failed"),
        ([main(RUNNING), main(DONE, "b")], "Running"),
        ([main(RUNNING), main(FAILED, "b")], "Running"),
        ([main(RUNNING), main(WAITING, "b")], "Pending"),
        ([main(DONE), main(FAILED, "b")], "Failed"),
        ([main(DONE), main(WAITING, "b")], "Pending"),
        ([init(WAITING), main(WAITING)], "Pending"),
        ([init(RUNNING), main(WAITING)], "Pending"),
        ([init(DONE), main(WAITING)], "Pending"),
        ([init(FAILED), main(WAITING)], "Failed"),
        ([init(DONE), main(DONE)], "Succeeded"),
        ([sidecar(WAITING), main(WAITING)], "Pending"),
        ([sidecar(RUNNING), main(WAITING)], "Pending"),
        ([sidecar(RUNNING), main(RUNNING)], "Running"),
        ([sidecar(RUNNING), main(DONE)], "Running"),
        ([sidecar(FAILED), main(RUNNING)], "Running"),
        ([sidecar(FAILED), main(DONE)], "Succeeded"),
        ([sidecar(WAITING, last=FAILED), main(DONE)], "Succeeded"),
        ([sidecar(WAITING, last=FAILED), main(FAILED)], "Failed"),
    ],
)
def test_phase(containers: list[Container], expected: str) -> None:
    assert phase(containers) == expected


def test_no_terminal_phase_while_something_runs() -> None:
    verdict = Verdict("DeadlineExceeded", "too long")
    assert pod_phase(pod(main(RUNNING), phase="Running", verdict=verdict)) == "Running"
    assert pod_phase(pod(init(FAILED), sidecar(RUNNING), main(WAITING), phase="Pending")) == "Pending"
    assert pod_phase(pod(main(DONE), phase="Running", verdict=verdict)) == "Failed"


def test_a_pod_that_is_over_before_it_ran_has_failed() -> None:
    assert pod_phase(pod(main(WAITING))) == "Pending"
    assert pod_phase(pod(main(WAITING), over=True)) == "Failed"
    assert pod_phase(pod(main(DONE), over=True)) == "Succeeded"


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([main(WAITING)], [UNKNOWN]),
        ([main(DONE), main(RUNNING, "b")], [DONE, UNKNOWN]),
        ([init(WAITING), main(WAITING)], [UNKNOWN, WAITING]),
        ([init(DONE), main(WAITING)], [DONE, UNKNOWN]),
        ([sidecar(RUNNING), init(WAITING), main(WAITING)], [UNKNOWN, WAITING, WAITING]),
    ],
)
def test_containers_of_an_interrupted_pod(containers: list[Container], expected: list[State]) -> None:
    assert [one.state for one in located_no_more(containers)] == expected


@pytest.mark.parametrize(("code", "shown", "reason"), [(0, 0, "Completed"), (3, 3, "Error"), (-9, 137, "Error")])
def test_exit_codes(code: int, shown: int, reason: str) -> None:
    state = ended(code, NOW, NOW, "sandbox://1")
    assert (state.exit_code, state.reason) == (shown, reason)


def test_the_status_of_a_running_pod() -> None:
    status = pod_status(pod(init(DONE), main(RUNNING)), NOW)
    assert status["phase"] == "Running"
    assert status["startTime"] == "2026-01-02T03:04:05Z"
    assert "reason" not in status
    assert status["containerStatuses"] == [
        {
            "name": "main",
            "image": "image",
            "imageID": "",
            "containerID": "sandbox://1",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
            "lastState": {},
        }
    ]
    assert status["initContainerStatuses"][0]["ready"] is True
    assert conditions(status) == {
        "PodReadyToStartContainers": ("True", None),
        "Initialized": ("True", None),
        "Ready": ("True", None),
        "ContainersReady": ("True", None),
    }


@pytest.mark.parametrize(
    ("containers", "initialised", "ready"),
    [
        ([main(WAITING)], ("True", None), ("False", "ContainersNotReady")),
        ([init(WAITING), main(WAITING)], ("False", "ContainersNotInitialized"), ("False", "ContainersNotReady")),
        ([init(DONE), main(DONE)], ("True", "PodCompleted"), ("False", "PodCompleted")),
        ([main(FAILED)], ("True", None), ("False", "PodFailed")),
        ([init(FAILED), main(WAITING)], ("False", "ContainersNotInitialized"), ("False", "PodFailed")),
        ([main(RUNNING), main(DONE, "b")], ("True", None), ("False", "ContainersNotReady")),
    ],
)
def test_conditions(containers: list[Container], initialised: Any, ready: Any) -> None:
    shown = conditions(pod_status(pod(*containers), NOW))
    assert shown["Initialized"] == initialised
    assert shown["Ready"] == shown["ContainersReady"] == ready


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    before = pod_status(pod(main(RUNNING)), NOW)
    later = NOW + timedelta(seconds=9)
    after = pod_status(replace(pod(main(DONE)), conditions=transitions(before)), later)
    times = {one["type"]: one["lastTransitionTime"] for one in after["conditions"]}
    assert times["Initialized"] == "2026-01-02T03:04:05Z"
    assert times["Ready"] == "2026-01-02T03:04:14Z"


def test_only_a_pod_that_came_with_its_node_is_told_to_be_scheduled() -> None:
    assert "PodScheduled" not in conditions(pod_status(pod(main(RUNNING)), NOW))
    assert conditions(pod_status(pod(main(RUNNING), node_name_preset=True), NOW))["PodScheduled"] == ("True", None)


def test_a_verdict_is_shown_with_the_terminal_phase() -> None:
    verdict = Verdict("DeadlineExceeded", "too long")
    status = pod_status(pod(main(ended(-15, NOW, NOW, "x")), verdict=verdict), NOW)
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too long")


@pytest.mark.parametrize("state", [WAITING, RUNNING, DONE, UNKNOWN])
def test_a_reported_state_can_be_read_back(state: State) -> None:
    assert read_state(pod_status(pod(main(state)), NOW)["containerStatuses"][0]) == state


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
