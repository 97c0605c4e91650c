"""The executor on its way from decision to decision."""

from .scene import KEY, Scene


async def test_the_way_to_the_pod_is_four_calls(scene: Scene) -> None:
    await scene.go()
    assert scene.asked == ["assume", "create secret", "patch status", "create pod"]


async def test_advice_is_given_once(scene: Scene) -> None:
    run = scene.kit.run(activeDeadlineSeconds=7200)
    scene.world.runs[KEY] = run
    scene.stored = run.model_dump(by_alias=True, exclude_none=True, mode="json")
    await scene.go()
    await scene.go()
    assert [message for message in scene.recorder.messages if "`delivery: File`" in message] == [
        "The run may go on for 7200 seconds, but its credentials end at 2026-01-02T04:04:06Z, and variables are not "
        "renewed: use `delivery: File`."
    ]


async def test_a_run_that_a_finalizer_holds_is_not_forgotten(scene: Scene) -> None:
    scene.finalizer = True
    run = scene.kit.run(ttlSecondsAfterFinished=0, status={"phase": "Finished", "finishedAt": scene.kit.time(0)})
    scene.world.runs[KEY] = run
    scene.stored = run.model_dump(by_alias=True, exclude_none=True, mode="json")
    await scene.go()
    assert scene.run.metadata.deletion_timestamp is not None
    assert scene.asked.count("delete run") == 1
