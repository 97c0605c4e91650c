"""Pods that the API server, a policy or a webhook refuses to make or to delete."""

from datetime import timedelta

import pytest

from spacelift_aws.api.run import Phase
from spacelift_aws.kube.errors import ApiError, Forbidden, Invalid, NotFound, NotNow, Unanswered

from .scene import Scene

DENIED = Forbidden(403, "Forbidden", 'admission webhook "w" denied the request: cold cache')
QUOTA = Forbidden(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: compute')


async def test_a_denial_is_asked_again_and_the_run_goes_on(scene: Scene) -> None:
    scene.fails["create pod"] = [DENIED]
    await scene.go()
    assert scene.run.status.phase is Phase.QUEUED
    assert "cold cache" in (scene.run.status.message or "")
    assert not scene.secret
    await scene.go_on(10)
    assert scene.world.pod is not None
    assert scene.secret


async def test_a_denial_that_lasts_five_minutes_is_the_end(scene: Scene) -> None:
    scene.fails["create pod"] = [DENIED for _ in range(20)]
    began, again = scene.now, await scene.go()
    while not scene.run.status.phase.terminal:
        assert scene.now - began < timedelta(minutes=10)
        assert again is not None
        again = await scene.go_on(again + 0.1)
    assert scene.now - began >= timedelta(minutes=5)
    condition = scene.run.status.condition("Succeeded")
    assert condition is not None
    assert condition.reason == "TemplateRefused"
    assert scene.sessions == 1, "no session is issued for a pod that is refused"


async def test_what_the_api_server_calls_invalid_is_the_end_at_once(scene: Scene) -> None:
    scene.fails["create pod"] = [Invalid(422, "Invalid", "spec.x", by_validation=True)]
    await scene.go()
    assert scene.run.status.phase is Phase.FAILED


async def test_a_quota_is_waited_for_without_an_end(scene: Scene) -> None:
    scene.fails["create pod"] = [QUOTA for _ in range(30)]
    again = await scene.go()
    for _ in range(20):
        again = await scene.go_on((again or 0) + 0.1)
    assert scene.run.status.phase is Phase.QUEUED
    assert scene.sessions == 1


async def test_a_webhook_that_is_down_is_told_and_leaves_no_secret(scene: Scene) -> None:
    said = 'Internal error occurred: failed calling webhook "w": connection refused'
    scene.fails["create pod"] = [Unanswered("the API server answered 500", said)]
    await scene.go()
    assert "failed calling webhook" in (scene.run.status.message or "")
    condition = scene.run.status.condition("CredentialsIssued")
    assert condition is not None
    assert condition.reason == "Retrying"
    assert not scene.secret
    await scene.go_on(10)
    assert scene.world.pod is not None
    assert scene.secret


@pytest.mark.parametrize("refusal", [ApiError(404, "NotFound", "webhook"), NotFound(404, "NotFound", "webhook")])
async def test_a_webhook_that_answers_404_loses_no_run(scene: Scene, refusal: Exception) -> None:
    scene.fails["create pod"] = [refusal]
    await scene.go()
    assert "webhook" in (scene.run.status.message or "")


async def test_a_refused_deletion_of_the_pod_is_told_and_tried_again(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    scene.stop()
    scene.fails["delete pod"] = [Forbidden(403, "Forbidden", "policy keeps it")]
    again = await scene.go()
    assert "policy keeps it" in (scene.run.status.message or "")
    assert any("policy keeps it" in message for message in scene.recorder.messages)
    await scene.go_on((again or 0) + 0.1)
    assert scene.asked.count("delete pod") == 2


@pytest.mark.parametrize("call", ["create secret", "delete secret", "delete pod"])
async def test_a_server_that_is_busy_is_told_and_asked_again(scene: Scene, call: str) -> None:
    busy: list[Exception] = [NotNow("the API server answered 429", "too many requests") for _ in range(2)]
    if call == "create secret":
        scene.fails[call] = busy[:1]
        await scene.go()
        assert "did not create the run's Secret: too many requests" in (scene.run.status.message or "")
        assert not scene.run.status.phase.terminal
        await scene.go_on(10)
        assert scene.secret
        return
    await scene.go()
    scene.world.saw_pod(scene.kit.running() if call == "delete pod" else scene.kit.ended())
    scene.stop()
    scene.fails[call] = busy[:1]
    await scene.go()
    assert "too many requests" in (scene.run.status.message or "")
    await scene.go_on(10)
    assert scene.asked.count(call) == 2
