"""A Run is executed once: what a pod that is not there means, and whose a pod is."""

import pytest

from spacelift_aws.api.run import Phase
from spacelift_aws.controllers.run.pod.view import parse_pod
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.kube.errors import AlreadyExists, ApiError

from .scene import Scene


async def test_a_successor_that_finds_a_mark_and_no_pod_asks_what_became_of_it(scene: Scene) -> None:
    scene.fails["create pod"] = [KeyboardInterrupt()]  # type: ignore[list-item]  # dies here
    with pytest.raises(KeyboardInterrupt):
        await scene.go()
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored, successor.secret = scene.now, scene.stored, True
    successor.executor.adopt([scene.run])
    await successor.go()
    assert successor.asked[:2] == ["get pod", "changes"]
    assert successor.asked[-1] == "create pod"


async def test_a_pod_that_went_unseen_gives_its_true_result_and_is_not_made_again(scene: Scene) -> None:
    await scene.go()
    scene.world.pod = None
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored, successor.secret = scene.kit.at(100), scene.stored, True
    ended = {"phase": "Succeeded", "containerStatuses": [scene.kit.said(terminated=scene.kit.terminated(0))]}
    successor.history = [("ADDED", scene.kit.pod_body()), ("DELETED", scene.kit.pod_body(ended))]
    successor.executor.adopt([scene.run])
    await successor.go()
    await successor.go_on(61)
    assert scene.run.status.phase is Phase.FINISHED
    assert "create pod" not in successor.asked


async def test_a_pod_of_which_nobody_knows_any_more_is_not_made_again(scene: Scene) -> None:
    await scene.go()
    scene.world.pod = None
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored, successor.secret = scene.kit.at(100), scene.stored, True
    successor.fails["changes"] = [ApiError(410, "Expired", "too old")] * 2
    successor.executor.adopt([scene.run])
    await successor.go()
    await successor.go_on(61)
    condition = scene.run.status.condition("Succeeded")
    assert condition is not None
    assert condition.reason == "ResultUnknown"
    assert "create pod" not in successor.asked


async def test_a_pod_of_another_owner_is_not_adopted(scene: Scene) -> None:
    owner = {"kind": "Run", "name": "other", "uid": "other", "controller": True}
    scene.foreign = scene.kit.pod_body(metadata={"ownerReferences": [owner]})
    await scene.go()
    assert scene.world.pod is None
    assert "does not belong to this Run" in (scene.run.status.message or "")
    assert not scene.secret, "a Run that waits keeps no credentials"


async def test_a_pod_of_its_own_is_taken_up_again(scene: Scene) -> None:
    scene.foreign = scene.kit.pod_body()
    await scene.go()
    assert scene.world.pod is not None


async def test_the_pod_of_another_hand_is_not_cleaned_away(scene: Scene) -> None:
    pod = parse_pod(scene.kit.pod_body(metadata={"labels": {}}))
    await scene.executor.clean(OrphanKey("team", scene.kit.run_id, "plan"), pod)
    assert scene.asked == ["delete secret"]


async def test_a_pod_that_came_and_went_while_its_creation_was_refused_is_not_made_again(scene: Scene) -> None:
    """What another process sent before it died arrives first, and is gone by the time it is looked at."""
    scene.fails["create pod"] = [AlreadyExists(409, "AlreadyExists", "there is one")]
    ended = {"phase": "Succeeded", "containerStatuses": [scene.kit.said(terminated=scene.kit.terminated(0))]}
    scene.history = [("ADDED", scene.kit.pod_body()), ("DELETED", scene.kit.pod_body(ended))]
    await scene.go()
    await scene.go_on(61)
    assert scene.run.status.phase is Phase.FINISHED
    assert scene.asked.count("create pod") == 1


async def test_a_pod_that_was_made_and_is_forgotten_is_not_made_again(scene: Scene) -> None:
    await scene.go()
    scene.world.pod = None
    scene.history = [("ADDED", scene.kit.pod_body()), ("DELETED", scene.kit.pod_body())]
    await scene.go()
    assert scene.asked.count("create pod") == 1
    assert "changes" in scene.asked
