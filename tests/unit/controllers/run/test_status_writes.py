"""Statuses that somebody else wrote first, or that are refused."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest

from spacelift_aws.api.run import Phase
from spacelift_aws.controllers.run.ended import ended_of
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.kube.errors import Conflict, Forbidden, Invalid, NotFound, Unanswered

from .scene import KEY, Scene


async def test_a_status_written_by_another_is_looked_at(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    scene.fails["patch status"] = [Conflict(409, "Conflict", "modified")]
    scene.stored["status"] = {"phase": "Finished"}
    scene.stored["metadata"]["resourceVersion"] = "7"
    await scene.go_on(2)
    assert scene.asked[4:6] == ["patch status", "get run"]
    assert "delete pod" in scene.asked
    assert not scene.secret


async def test_a_clock_behind_the_api_servers_delays_no_word_of_a_run_that_goes_on(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    scene.now -= timedelta(minutes=5)
    await scene.go()
    assert scene.run.status.phase is Phase.RUNNING


async def test_a_status_that_is_refused_for_no_reason_that_shows_is_an_error(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    scene.fails["patch status"] = [Invalid(422, "Invalid", "no")]
    with pytest.raises(Invalid):
        await scene.go_on(2)


async def test_an_end_of_our_own_leaves_nothing_and_one_of_another_hand_may(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    await scene.go_on(2)
    # Until the credentials expire, who has just begun cannot tell who wrote the end.
    successor = Scene(scene.kit, scene.world)
    scene.world.saw_pod(scene.kit.ended())
    await scene.go_on(2)
    assert scene.run.status.phase is Phase.FINISHED
    assert scene.executor.orphan_of(scene.run) is None
    whole, ended = scene.run, ended_of(scene.run, scene.kit.run_id)
    assert ended is not None
    assert {successor.executor.orphan_of(run) for run in (whole, ended)} == {OrphanKey.of(whole)}
    # Without its owner, as an orphan's pod is.
    successor.world.saw_pod(replace(scene.kit.ended(), owner_uid=None))
    assert successor.executor.orphan_of(ended) == OrphanKey.of(whole)
    # The container ended after a minute: until then its Secret could have been issued anew, for another hour.
    successor.now = scene.kit.at(3661)
    assert successor.executor.orphan_of(ended) is None


async def test_a_run_that_is_gone_at_the_first_status_is_left_to_be_cleaned(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    run = scene.run
    scene.fails["patch status"] = [NotFound(404, "NotFound", "no run")]
    await scene.go_on(2)
    assert KEY not in scene.world.runs
    orphan = scene.executor.orphan_of(run)
    assert orphan is not None
    assert await scene.executor.clean(orphan, scene.world.pod) is None
    assert scene.asked[-2:] == ["delete secret", "delete pod"], "the pod, which leads to the Secret, goes last"
    assert not scene.secret


@pytest.mark.parametrize(("ended", "goes"), [(False, True), (True, False)], ids=["what runs goes", "what ended stays"])
@pytest.mark.parametrize("trouble", ["held", "no answer"])
async def test_while_an_orphans_secret_is_there_a_pod_leads_to_it(
    scene: Scene, trouble: str, ended: bool, goes: bool
) -> None:
    await scene.go()
    scene.held = trouble == "held"
    scene.fails["delete secret"] = [] if scene.held else [Unanswered("cut")]
    pod = scene.kit.ended() if ended else scene.kit.running()
    with nullcontext() if scene.held else pytest.raises(Unanswered):
        await scene.executor.clean(OrphanKey.of(scene.run), pod)
    assert ("delete pod" in scene.asked) is goes


async def test_a_pod_that_may_not_be_deleted_keeps_no_secret_of_a_run_that_is_gone(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    scene.fails["delete pod"] = [Forbidden(403, "Forbidden", "no")]
    with pytest.raises(Forbidden):
        await scene.executor.clean(OrphanKey.of(scene.run), scene.world.pod)
    assert not scene.secret
