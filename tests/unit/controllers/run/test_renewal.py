"""Renewal: a session in the place of another, while a run goes on."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from spacelift_aws.api.run import Phase
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.pod.view import Pod, parse_pod

from .scene import KEY, Scene


def in_file(scene: Scene) -> Scene:
    """The Run has `delivery: File`."""
    run = scene.kit.run(delivery="File")
    scene.world.runs[KEY] = run
    scene.stored = run.model_dump(by_alias=True, exclude_none=True, mode="json")
    return scene


def file_pod(scene: Scene, **metadata: Any) -> Pod:
    """The Run's pod as it runs, as it was made."""
    made = build_pod(
        scene.run, scene.kit.run_id, role_arn=scene.kit.role, executor="controller", expires_at=scene.kit.at(3601)
    )
    status = {"phase": "Running", "containerStatuses": [scene.kit.said(running={"startedAt": scene.kit.time(2)})]}
    return parse_pod(scene.kit.pod_body(status, spec=made["spec"], metadata={"resourceVersion": "2", **metadata}))


async def running_file(scene: Scene) -> Scene:
    """A Run whose pod reads its credentials from a file, an instant after its start."""
    in_file(scene)
    await scene.go()
    scene.world.saw_pod(file_pod(scene))
    await scene.go_on(2)
    scene.now = scene.kit.at(1)
    scene.asked.clear()
    return scene


async def test_renewal_replaces_the_secret_by_deletion_and_creation(scene: Scene) -> None:
    await running_file(scene)
    before = scene.run.status.credentials_expire_at
    again = await scene.go_on(1800)
    assert scene.asked == ["assume", "delete secret", "create secret", "patch status"]
    after = scene.run.status.credentials_expire_at
    assert before is not None
    assert after is not None
    assert after - before == timedelta(seconds=1800)
    assert again == pytest.approx(1800, abs=1)


async def test_a_process_that_remembers_nothing_finishes_a_renewal_that_another_began(scene: Scene) -> None:
    await running_file(scene)
    scene.fails["create secret"] = [KeyboardInterrupt()]  # type: ignore[list-item]  # dies here
    with pytest.raises(KeyboardInterrupt):
        await scene.go_on(1800)
    assert not scene.secret
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored = scene.now, scene.stored
    successor.executor.adopt([scene.run])
    await successor.go()
    assert successor.asked[:2] == ["assume", "create secret"]
    assert successor.secret


async def test_what_a_dead_process_may_have_sent_for_a_file_is_in_doubt_until_the_end_is_written(scene: Scene) -> None:
    await running_file(scene)
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored = scene.now, scene.stored
    successor.executor.adopt([scene.run])
    ended = replace(file_pod(scene), phase="Succeeded")
    scene.world.saw_pod(ended)
    await successor.go()
    assert not scene.run.status.phase.terminal
    await successor.go_on(61)
    assert scene.run.status.phase is Phase.FINISHED


@pytest.mark.parametrize("what", ["stop", "end", "deletion"])
async def test_a_session_that_comes_after_the_end_is_dropped(scene: Scene, what: str) -> None:
    await running_file(scene)

    def meanwhile(asked: str) -> None:
        if asked != "assume":
            return
        if what == "stop":
            scene.stop()
        elif what == "end":
            scene.world.saw_pod(replace(file_pod(scene), phase="Succeeded"))
        else:
            scene.world.saw_pod(file_pod(scene, **scene.kit.deleted(1801)))

    scene.meanwhile = meanwhile
    await scene.go_on(1800)
    assert "create secret" not in scene.asked


async def test_a_renewal_that_sts_refuses_for_long_is_tried_for_ever_and_never_in_a_hurry(scene: Scene) -> None:
    await running_file(scene)
    scene.fails["assume"] = [StsError(Failure.ACCESS_DENIED, "AccessDenied", "not you", None) for _ in range(9)]
    asked = []
    scene.now += timedelta(seconds=1800)
    for _ in range(8):
        before = len([call for call in scene.asked if call == "assume"])
        again = await scene.go()
        assert again is not None
        asked.append(len([call for call in scene.asked if call == "assume"]) - before)
        scene.now += timedelta(seconds=again + 60)
    assert max(asked) == 1
    assert scene.run.status.phase is Phase.RUNNING
    assert "not you" in (scene.run.status.message or "")
    assert scene.trust.denials == len([call for call in scene.asked if call == "assume"])
    assert scene.secret
