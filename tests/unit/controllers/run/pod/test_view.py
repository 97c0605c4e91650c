"""A pod read from the API, whatever is missing or was written into it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from spacelift_aws.controllers.run.pod.view import Container, parse_pod


def test_a_new_pod(kit: Any) -> None:
    pod = kit.pod()
    assert (pod.run_id, pod.run_name, pod.executor) == (kit.run_id, "plan", "controller")
    assert (pod.expires_at, pod.role_arn) == (kit.at(3601), kit.role)
    assert not pod.finished
    assert not pod.running
    assert pod.awaits_credentials(["main"]), "also before the kubelet said a word about its containers"


def test_a_body_with_nothing_but_what_every_object_has(kit: Any) -> None:
    metadata = {
        "namespace": "team",
        "name": "x",
        "uid": "u",
        "resourceVersion": "1",
        "creationTimestamp": kit.time(0),
    }
    pod = parse_pod({"metadata": metadata})
    assert (pod.owner_uid, pod.phase, pod.containers) == (None, "Pending", ())


def test_the_controller_is_the_owner_that_counts(kit: Any) -> None:
    owners = [{"uid": "a"}, {"uid": "b", "controller": False}, {"uid": "c", "controller": True}]
    assert kit.pod(metadata={"ownerReferences": owners}).owner_uid == "c"


def test_a_deletion_has_a_moment_and_a_grace(kit: Any) -> None:
    pod = kit.pod(metadata=kit.deleted(10, grace=30))
    assert pod.deletion == kit.at(40)
    assert pod.deletion - pod.grace == kit.at(10)


@pytest.mark.parametrize("text", ["", "soon", "2026-01-02", "2026-01-02T03:04:05"])
def test_an_annotation_that_is_no_time_is_none(kit: Any, text: str) -> None:
    annotations = {"aws.spacelift.io/credentials-expire-at": text}
    assert kit.pod(metadata={"annotations": annotations}).expires_at is None


@pytest.mark.parametrize("text", ["", "x", "arn:aws:iam::1:role/x", "arn:aws:iam::222222222222:user/x", "a:b:c:d:e:f"])
def test_an_annotation_that_is_no_role_is_none(kit: Any, text: str) -> None:
    assert kit.pod(metadata={"annotations": {"aws.spacelift.io/role-arn": text}}).role_arn is None


def test_init_containers_come_first_and_sidecars_are_told_apart(kit: Any) -> None:
    spec = {
        "initContainers": [{"name": "first"}, {"name": "proxy", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}],
    }
    status = {
        "initContainerStatuses": [kit.said("first", terminated=kit.terminated(0, 10))],
        "containerStatuses": [kit.said(running={"startedAt": kit.time(11)})],
    }
    first, proxy, main = kit.pod(status, spec=spec).containers
    assert (first.init, first.sidecar, first.exit_code) == (True, False, 0)
    assert (proxy.sidecar, proxy.state) == (True, "waiting")
    assert (main.init, main.started_at) == (False, kit.at(11))


HOUR, LONGEST = 3600, 12 * 3600 + 300


def started(kit: Any, seconds: float) -> tuple[Container, ...]:
    return tuple(replace(one, started_at=kit.at(seconds)) for one in kit.ended().containers)


@pytest.mark.parametrize(
    ("why", "parts", "dead_at"),
    [
        ("they are the first ones, or took their place before the container had started", lambda kit: {}, 2 + HOUR),
        ("they may be newer", lambda kit: {"containers": started(kit, 3100)}, 3100 + LONGEST),
        ("those in a file are renewed until it ends", lambda kit: {"is_renewed": True}, 60 + LONGEST),
        ("it was made before its Secret, and tells nothing", lambda kit: {"expires_at": None}, 60 + LONGEST),
        ("somebody wrote that they end soon", lambda kit: {"expires_at": kit.at(0)}, 60 + LONGEST),
        ("it has not ended", lambda kit: {"phase": "Running"}, None),
        ("nobody says when", lambda kit: {"containers": ()}, None),
    ],
)
def test_when_all_credentials_of_a_pod_are_dead(
    kit: Any, why: str, parts: Callable[[Any], dict[str, Any]], dead_at: int | None
) -> None:
    pod = replace(kit.ended(), **parts(kit))
    if dead_at is None:
        assert not pod.has_dead_credentials(kit.at(100 * HOUR)), why
    else:
        before, after = (pod.has_dead_credentials(kit.at(seconds)) for seconds in (dead_at - 1, dead_at + 1))
        assert (before, after) == (False, True), why


def test_what_happened_in_the_future_did_not(kit: Any) -> None:
    """Whoever may write a pod's status may write this."""
    forged = [replace(one, finished_at=datetime(9999, 12, 31, tzinfo=UTC)) for one in kit.ended().containers]
    pod = replace(kit.ended(), containers=tuple(forged), is_renewed=True)
    assert not pod.has_dead_credentials(kit.at(1000))
