"""The helper that masks logs as an image volume: when it comes so, and what happens where a node refuses it."""

from dataclasses import replace
from typing import Any

import pytest

from spacelift_aws.api.run import Phase
from spacelift_aws.controllers.run.decide import decide
from spacelift_aws.controllers.run.pod.helper import Helper, HelperDelivery, delivery_now
from spacelift_aws.controllers.run.pod.masking import INIT_CONTAINER, VOLUME
from spacelift_aws.controllers.run.pod.refused_helper import refusal_of
from spacelift_aws.controllers.run.pod.view import parse_pod
from spacelift_aws.controllers.run.state import PodSearch, Progress, SecretState
from spacelift_aws.kube.errors import ApiError, Forbidden, Unanswered

from .scene import KEY, Scene

AUTO, IMAGE, INIT = HelperDelivery.AUTO, HelperDelivery.IMAGE, HelperDelivery.INIT_CONTAINER
MAIN = {"name": "main", "image": "i", "command": ["terraform", "plan"]}
MOUNTED = {**MAIN, "volumeMounts": [{"name": VOLUME, "mountPath": "/spacelift-aws-mask"}]}
SPEC = {"containers": [MOUNTED], "volumes": [{"name": VOLUME, "image": {"reference": "i"}}]}
NOT_CREATED = {"reason": "CreateContainerError", "message": 'failed to mkdir "": mkdir : no such file or directory'}


@pytest.mark.parametrize(
    ("configured", "server_keeps", "refused", "all_masked", "way"),
    [
        (AUTO, None, False, True, None),
        (AUTO, True, False, True, IMAGE),
        (AUTO, False, False, True, INIT),
        (AUTO, True, True, True, INIT),
        (AUTO, None, True, True, INIT),
        (AUTO, True, False, False, INIT),
        (AUTO, None, False, False, INIT),
        (IMAGE, False, True, False, IMAGE),
        (INIT, True, False, True, INIT),
    ],
)
def test_the_way(
    configured: HelperDelivery, server_keeps: bool | None, refused: bool, all_masked: bool, way: HelperDelivery | None
) -> None:
    assert delivery_now(configured, server_keeps=server_keeps, refused=refused, all_masked=all_masked) is way


def pod(kit: Any, spec: dict[str, Any] = SPEC, metadata: dict[str, Any] | None = None, **said: Any) -> Any:
    status = {"startTime": kit.time(1), "containerStatuses": [kit.said(**said)] if said else []}
    return parse_pod(kit.pod_body(status, spec=spec, metadata=metadata))


def test_what_shows_that_a_node_refuses_the_volume(kit: Any) -> None:
    def refusal(found: Any, after: float = 3) -> str:
        return refusal_of(found, kit.at(after)) or ""

    assert refusal(pod(kit, waiting=NOT_CREATED)).endswith(f"CreateContainerError: {NOT_CREATED['message']}")
    assert "StartError: exec: no such" in refusal(
        pod(kit, terminated=kit.terminated(128, reason="StartError", message="exec: no such file"))
    )
    assert "the node reported no container for 120 seconds" in refusal(
        pod(kit, waiting={"reason": "ContainerCreating"}), 121
    )


def test_what_shows_nothing_of_that(kit: Any) -> None:
    waits = {"reason": "ContainerCreating"}
    emptied = {**SPEC, "volumes": [{"name": VOLUME, "emptyDir": {}}]}
    for why, found in {
        "it starts": pod(kit, waiting=waits),
        "it runs": pod(kit, running={"startedAt": kit.time(2)}),
        "its own end": pod(kit, terminated=kit.terminated(1)),
        "an image": pod(kit, waiting={"reason": "ErrImagePull"}),
        "no image volume": pod(kit, emptied, waiting=NOT_CREATED),
    }.items():
        assert refusal_of(found, kit.at(100)) is None, why
    for why, found in {
        "an image that is slow": pod(kit, waiting={"reason": "ImagePullBackOff"}),
        "no node": parse_pod(kit.pod_body(spec=SPEC)),
        "a deletion": pod(kit, metadata=kit.deleted(100), waiting=waits),
    }.items():
        assert refusal_of(found, kit.at(1000)) is None, why


def test_once_a_container_ran_nothing_is_made_again(kit: Any) -> None:
    started = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": kit.time(2)}
    never = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None}
    assert refusal_of(pod(kit, terminated=started), kit.at(3), "pod-1") is None
    assert refusal_of(pod(kit, terminated=never), kit.at(3), "pod-1") is not None
    assert refusal_of(pod(kit, terminated=kit.terminated(0)), kit.at(3), "pod-1") is None


def scene_of(kit: Any, delivery: HelperDelivery = AUTO, template: dict[str, Any] | None = None) -> Scene:
    scene = Scene(kit, helper=Helper("operator:1", delivery))
    run = kit.run(pod=template or {"containers": [MAIN]})
    scene.world.runs[KEY] = run
    scene.stored = run.model_dump(by_alias=True, exclude_none=True, mode="json")
    return scene


def has_init_container(scene: Scene) -> bool:
    assert scene.world.pod is not None
    return any(one.name == INIT_CONTAINER for one in scene.world.pod.containers)


async def test_the_api_server_is_asked_once(kit: Any) -> None:
    scene = scene_of(kit)
    await scene.go()
    assert scene.asked == ["assume", "create secret", "patch status", "would take pod", "create pod"]
    assert scene.world.pod is not None
    assert scene.world.pod.image_volume
    assert not has_init_container(scene)
    choice = scene.executor._helper
    assert choice._server_keeps is True


async def test_an_api_server_that_drops_the_volume_gets_an_init_container(kit: Any) -> None:
    scene = scene_of(kit)
    scene.drops_image_volumes = True
    await scene.go()
    assert has_init_container(scene)
    assert scene.executor._helper._server_keeps is False


OLD = ApiError(400, "BadRequest", 'strict decoding error: unknown field "spec.volumes[0].image"')


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (OLD, False),
        (ApiError(400, "BadRequest", "admission webhook w does not support dry run"), None),
        (Forbidden(403, "Forbidden", "exceeded quota"), None),
        (Unanswered("lost"), None),
    ],
)
async def test_what_cannot_be_tried_out_gets_an_init_container(kit: Any, answer: Exception, known: bool | None) -> None:
    scene = scene_of(kit)
    scene.fails["would take pod"] = [answer]
    await scene.go()
    assert has_init_container(scene)
    assert scene.executor._helper._server_keeps is known


async def test_nobody_is_asked_where_it_is_said_or_something_is_not_masked(kit: Any) -> None:
    for scene, volume in (
        (scene_of(kit, IMAGE), True),
        (scene_of(kit, INIT), False),
        (scene_of(kit, AUTO, {"containers": [MAIN, {"name": "other", "image": "i"}]}), False),
    ):
        await scene.go()
        assert "would take pod" not in scene.asked
        assert scene.world.pod is not None
        assert (scene.world.pod.image_volume, has_init_container(scene)) == (volume, not volume)


def refuse(scene: Scene, **said: Any) -> None:
    """The node says of the pod that is there that it does not create its container."""
    known = scene.world.pod
    assert known is not None
    body = scene.kit.pod_body(
        {"startTime": scene.kit.time(1), "containerStatuses": [scene.kit.said(**(said or {"waiting": NOT_CREATED}))]},
        spec=SPEC,
        metadata={"uid": known.uid},
    )
    scene.world.pod = parse_pod(body)


async def test_a_pod_that_its_node_refuses_is_replaced_and_the_next_runs_know(kit: Any) -> None:
    scene = scene_of(kit)
    await scene.go()
    refuse(scene)
    before = len(scene.asked)
    await scene.go()
    assert scene.asked[before:] == ["patch status", "delete pod", "get run", "create pod", "patch status"]
    assert any("cannot mount the helper" in message for message in scene.recorder.messages)
    assert has_init_container(scene)
    assert scene.run.status.phase is Phase.PREPARING
    assert scene.secret
    assert scene.sessions == 1
    choice = scene.executor._helper
    assert (await choice.choose(kit.run(pod={"containers": [MAIN]}), None, refused=False)).delivery is INIT  # type: ignore[arg-type, union-attr]


async def test_one_that_is_told_to_use_volumes_says_what_is_wrong_and_stays(kit: Any) -> None:
    scene = scene_of(kit, IMAGE)
    await scene.go()
    refuse(scene)
    await scene.go_on(5)
    assert "delete pod" not in scene.asked
    assert "cannot start (CreateContainerError)" in (scene.run.status.message or "")


async def test_a_successor_goes_on_with_a_replacement_that_was_begun(kit: Any) -> None:
    """It dies with the pod's deletion; the kubelet's last word of the pod does not tell why it was deleted."""
    scene = scene_of(kit)
    await scene.go()
    refuse(scene)
    scene.fails["delete pod"] = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        await scene.go()
    assert masked(scene) == "ImageVolumeRefused"
    last = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    refuse(scene, terminated=last)
    assert scene.world.pod is not None
    scene.world.pod = replace(scene.world.pod, gone=True, phase="Failed")
    successor = Scene(kit, scene.world, Helper("operator:1", AUTO))
    successor.now, successor.stored, successor.secret = scene.now, scene.stored, True
    successor.asked = ["create pod"]  # by its predecessor: pods have UIDs by that
    successor.executor.adopt([scene.run])
    await successor.go()
    assert successor.asked.count("create pod") == 2
    assert has_init_container(successor)
    assert masked(successor) == "Masked"


def masked(scene: Scene) -> str:
    condition = scene.run.status.condition("LogsMasked")
    return condition.reason if condition is not None else ""


async def test_a_replacement_without_an_answer_is_looked_for(kit: Any) -> None:
    scene = scene_of(kit)
    await scene.go()
    refuse(scene)
    first = kit.pod_body(spec=SPEC, metadata={"uid": "pod-1"})
    scene.history = [("DELETED", first)]
    scene.fails["create pod"] = [Unanswered("lost")]
    again = await scene.go()
    assert again is not None
    await scene.go_on(again + 1)
    assert scene.asked.count("create pod") == 3
    assert "changes" in scene.asked
    assert has_init_container(scene)


async def test_a_run_that_is_stopped_meanwhile_gets_no_other_pod(kit: Any) -> None:
    scene = scene_of(kit)
    await scene.go()
    refuse(scene)
    scene.meanwhile = lambda what: scene.stop() if what == "delete pod" else None
    await scene.go()
    assert scene.asked.count("create pod") == 1
    assert scene.run.status.phase is Phase.STOPPED


def test_what_began_to_run_after_all_is_not_made_again(kit: Any) -> None:
    def next_for(last: Any) -> str:
        progress = Progress(refused_pod="pod-1", pod_search=PodSearch.NEVER_MADE, secret=SecretState.PRESENT)
        run = kit.run({"phase": "Preparing", "podCreatedAfter": "1"}, pod={"containers": [MAIN]})
        seen = kit.seen(5, run=run, pod=replace(last, gone=True), progress=progress)
        return str(decide(replace(seen, helper_falls_back=True)).actions)

    ran = pod(kit, metadata=kit.deleted(3), terminated=kit.terminated(137, ended=4))
    assert next_for(ran) == "(DeleteSecret(),)"
    assert "IssueCredentials" in next_for(pod(kit, metadata=kit.deleted(3), waiting=NOT_CREATED))
