"""How a pod ended, and what troubles it: a kubelet's words made into a sentence."""

from typing import Any

import pytest

from spacelift_aws.controllers.run.pod.outcome import finished_at, grace_over, outcome_of, started_at, trouble_of

Said = dict[str, Any]


def disruption(reason: str) -> Said:
    return {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "because"}]}


@pytest.mark.parametrize(
    ("why", "status", "reason"),
    [
        ("the kubelet needed the memory", {"reason": "Evicted", "message": "low on memory"}, "Evicted"),
        ("the kubelet needed the place for a critical pod", {"reason": "Preempting"}, "Evicted"),
        ("the scheduler needed the place", disruption("PreemptionByScheduler"), "Evicted"),
        ("a drain", disruption("EvictionByEvictionAPI"), "Evicted"),
        ("the node is shut down", disruption("TerminationByKubelet"), "Evicted"),
        ("the node does not answer", disruption("DeletionByTaintManager"), "NodeLost"),
        ("the node is gone", disruption("DeletionByPodGC"), "NodeLost"),
        ("an old cluster's word for that", {"reason": "NodeLost"}, "NodeLost"),
        ("the template's own deadline", {"reason": "DeadlineExceeded"}, "DeadlineExceeded"),
        ("the node refused it", {"reason": "OutOfcpu", "message": "too small"}, "ContainerFailed"),
    ],
)
def test_a_pod_that_failed_as_a_whole(kit: Any, why: str, status: Said, reason: str) -> None:
    outcome = outcome_of(kit.pod({"phase": "Failed", **status}))
    assert (outcome.reason, outcome.exit_code) == (reason, None), why


INITS = {"initContainers": [{"name": "first"}, {"name": "proxy", "restartPolicy": "Always"}]}
MAINS = {"containers": [{"name": "main"}, {"name": "other"}]}


@pytest.mark.parametrize(
    ("why", "ends", "reason", "code", "decisive"),
    [
        ("one container fails", {"main": (3, 60)}, "ContainerFailed", 3, "`main`"),
        ("the one that failed first decides", {"main": (3, 60), "other": (4, 50)}, "ContainerFailed", 4, "`other`"),
        ("one that ended well decides nothing", {"main": (0, 10), "other": (4, 50)}, "ContainerFailed", 4, "`other`"),
        ("an init container comes before all", {"first": (5, 60), "main": (137, 20)}, "ContainerFailed", 5, "`first`"),
        ("a sidecar decides nothing", {"proxy": (143, 10), "main": (3, 60)}, "ContainerFailed", 3, "`main`"),
    ],
)
def test_the_container_that_decided(
    kit: Any, why: str, ends: dict[str, tuple[int, float]], reason: str, code: int, decisive: str
) -> None:
    said = [kit.said(name, terminated=kit.terminated(code, at)) for name, (code, at) in ends.items()]
    status = {"phase": "Failed", "containerStatuses": said, "initContainerStatuses": said}
    outcome = outcome_of(kit.pod(status, spec={**INITS, **MAINS}))
    assert (outcome.reason, outcome.exit_code) == (reason, code), why
    assert decisive in outcome.message


@pytest.mark.parametrize(
    ("why", "reason", "message", "outcome", "words"),
    [
        ("memory", "OOMKilled", "", "OOMKilled", "needed more memory than its limit"),
        ("its own last words may hold anything", "Error", "AWS_SECRET=x", "ContainerFailed", "exit code 137."),
        ("the runtime's words help", "StartError", "exec: no such file", "ContainerFailed", "exec: no such file"),
    ],
)
def test_what_a_failed_container_is_quoted_with(
    kit: Any, why: str, reason: str, message: str, outcome: str, words: str
) -> None:
    state = kit.said(terminated=kit.terminated(137, reason=reason, message=message))
    found = outcome_of(kit.pod({"phase": "Failed", "containerStatuses": [state]}))
    assert found.reason == outcome, why
    assert words in found.message
    assert "SECRET" not in found.message


@pytest.mark.parametrize(
    ("why", "code", "deletion_asked", "reason"),
    [
        ("nobody deleted it", 0, None, "Finished"),
        ("deleted after it had finished", 0, 70, "Finished"),
        ("deleted after it had failed", 3, 70, "ContainerFailed"),
        ("ended well because it was told to end", 0, 50, "PodDeleted"),
        ("ended badly because it was told to end", 143, 50, "PodDeleted"),
        ("told to end, on a node whose clock is behind", 0, 62, "PodDeleted"),
    ],
)
def test_a_deletion_before_the_result_is_the_result(
    kit: Any, why: str, code: int, deletion_asked: float | None, reason: str
) -> None:
    pod = kit.ended(code, **(kit.deleted(deletion_asked) if deletion_asked else {}))
    assert outcome_of(pod).reason == reason, why


def test_an_init_container_that_ended_well_is_no_result(kit: Any) -> None:
    status = {
        "phase": "Failed",
        "initContainerStatuses": [kit.said("first", terminated=kit.terminated(0, 10))],
        "containerStatuses": [kit.said(waiting={"reason": "PodInitializing"})],
    }
    spec = {"initContainers": [{"name": "first"}], "containers": [{"name": "main"}]}
    assert outcome_of(kit.pod(status, spec=spec, metadata=kit.deleted(50))).reason == "PodDeleted"


def test_a_sidecar_that_ends_after_the_deletion_takes_no_result_away(kit: Any) -> None:
    status = {
        "phase": "Succeeded",
        "initContainerStatuses": [kit.said("proxy", terminated=kit.terminated(143, 80))],
        "containerStatuses": [kit.said(terminated=kit.terminated(0, 60))],
    }
    spec = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}], "containers": [{"name": "main"}]}
    assert outcome_of(kit.pod(status, spec=spec, metadata=kit.deleted(70))).reason == "Finished"


WAITING = [
    ("nothing is wrong while it is being created", {"reason": "ContainerCreating"}, None),
    ("an image", {"reason": "ErrImagePull", "message": "no\nsuch tag"}, "its image cannot be pulled: no such tag"),
    ("an image's name", {"reason": "InvalidImageName"}, "its image cannot be pulled: InvalidImageName"),
    (
        "a source that is missing",
        {"reason": "CreateContainerConfigError", "message": 'configmap "c" not found'},
        'cannot start (CreateContainerConfigError): configmap "c" not found',
    ),
]


@pytest.mark.parametrize(("why", "waiting", "words"), WAITING)
def test_what_troubles_a_container(kit: Any, why: str, waiting: Said, words: str | None) -> None:
    trouble = trouble_of(kit.pod({"containerStatuses": [kit.said(waiting=waiting)]}))
    found = trouble.message if trouble is not None else None
    assert (found is None) if words is None else (found is not None and words in found), why


def test_an_image_that_is_tried_again_and_again_is_told_of_once(kit: Any) -> None:
    failed = kit.pod({"containerStatuses": [kit.said(waiting={"reason": "ErrImagePull", "message": "denied"})]})
    waits = kit.pod({"containerStatuses": [kit.said(waiting={"reason": "ImagePullBackOff", "message": "later"})]})
    first = trouble_of(failed)
    assert trouble_of(waits, first) == trouble_of(failed, trouble_of(waits, first)) == first


def test_a_long_message_is_shortened(kit: Any) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no " * 1000}
    trouble = trouble_of(kit.pod({"conditions": [condition]}))
    assert trouble is not None
    assert len(trouble.message) < 500


def test_times_are_those_of_the_containers(kit: Any) -> None:
    assert started_at(kit.running()) == kit.at(2)
    assert finished_at(kit.ended()) == kit.at(60)
    assert started_at(kit.pod({"startTime": kit.time(9)})) == kit.at(9)


@pytest.mark.parametrize(
    ("code", "reason", "ended", "deletion", "killed"),
    [
        (137, "Error", 130, {"asked": 100, "grace": 30}, True),
        (137, "Error", 101, {"asked": 100, "grace": 30}, False),
        (137, "OOMKilled", 130, {"asked": 100, "grace": 30}, False),
        (1, "Error", 130, {"asked": 100, "grace": 30}, False),
        (137, "Error", 130, None, False),
    ],
)
def test_a_grace_that_was_over_is_told(
    kit: Any, code: int, reason: str, ended: float, deletion: dict[str, int] | None, killed: bool
) -> None:
    status = {"phase": "Failed", "containerStatuses": [kit.said(terminated=kit.terminated(code, ended, reason))]}
    pod = kit.pod(status, metadata=kit.deleted(**deletion) if deletion else {})
    assert ("within its grace period of 30 seconds" in grace_over(pod)) is killed
    assert ("terminationGracePeriodSeconds" in grace_over(pod)) is killed
