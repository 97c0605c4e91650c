"""The Run's Secret: replaced, held, in doubt, refused, and never quoted."""

from datetime import datetime, timedelta

import pytest

from spacelift_aws.api.run import Phase
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.sts import Credentials
from spacelift_aws.controllers.run.credentials.issue import scrubbed
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.controllers.run.state import Limits
from spacelift_aws.kube.errors import Forbidden, Unanswered

from .scene import CREDENTIALS, Scene


async def test_a_secret_that_is_there_is_replaced_with_the_same_session(scene: Scene) -> None:
    scene.secret = True
    await scene.go()
    assert scene.asked == ["assume", "create secret", "delete secret", "create secret", "patch status", "create pod"]
    assert scene.sessions == 1


async def test_a_secret_that_a_finalizer_holds_is_said_to_be_held(scene: Scene) -> None:
    scene.secret = scene.held = True
    await scene.go()
    assert "create pod" not in scene.asked
    assert "finalizer" in (scene.run.status.message or "")


async def test_a_secret_that_we_may_not_delete_holds_the_run_up_and_says_why(scene: Scene) -> None:
    """As the chart's policy refuses it for one of another type."""
    forbidden = Forbidden(403, "Forbidden", "denied request: Secret x is of type Opaque")
    scene.secret, scene.fails["delete secret"] = True, [forbidden] * 2
    await scene.go()
    assert "create pod" not in scene.asked
    assert "cannot be replaced: denied request: Secret x is of type Opaque" in (scene.run.status.message or "")
    scene.stop()
    again = await scene.go_on(6)
    assert again, "looked at again"
    assert "still there" in (scene.run.status.message or "")
    assert "is of type Opaque. The Run gets its final phase when the Secret is gone" in (scene.run.status.message or "")
    assert not scene.run.status.phase.terminal
    await scene.go_on(6)
    assert scene.run.status.phase.terminal, "somebody else has deleted it"


async def test_an_unanswered_creation_is_deleted_until_it_can_no_longer_arrive(scene: Scene) -> None:
    scene.fails["create secret"] = [Unanswered("lost")]
    await scene.go()
    scene.stop()
    began, deletions = scene.now, 0
    while not scene.run.status.phase.terminal:
        before = scene.asked.count("delete secret")
        again = await scene.go_on(5)
        deletions += scene.asked.count("delete secret") - before
        assert scene.now - began < timedelta(minutes=3)
        assert again is not None or scene.run.status.phase.terminal
    assert scene.run.status.phase is Phase.STOPPED
    assert scene.now - began >= Limits().creation_in_doubt
    assert deletions >= 6
    assert scene.asked[-3:] == ["delete secret", "patch status", "mark run"]


async def test_what_an_earlier_process_may_have_sent_is_in_doubt(scene: Scene) -> None:
    scene.executor.adopt([scene.run])
    scene.stop()
    await scene.go()
    assert not scene.run.status.phase.terminal
    await scene.go_on(61)
    assert scene.run.status.phase is Phase.STOPPED


@pytest.mark.parametrize("seconds", [600, -600])
async def test_a_clock_that_is_set_makes_no_doubt_shorter(scene: Scene, seconds: int) -> None:
    scene.fails["create secret"] = [Unanswered("lost")]
    await scene.go()
    scene.stop()
    scene.set_clock(seconds)
    await scene.go()
    assert not scene.run.status.phase.terminal
    await scene.go_on(61)
    assert scene.run.status.phase is Phase.STOPPED


async def test_what_a_run_that_is_gone_left_is_in_doubt_as_long_whatever_the_clock_says(scene: Scene) -> None:
    scene.fails["create secret"] = [Unanswered("lost")]
    await scene.go()
    orphan = OrphanKey.of(scene.run)
    scene.set_clock(600)
    assert await scene.executor.clean(orphan, None) is not None
    scene.now += timedelta(seconds=61)
    assert await scene.executor.clean(orphan, None) is None


async def test_a_clock_that_is_set_while_a_call_is_under_way_ends_no_doubt(scene: Scene) -> None:
    scene.fails["create secret"] = [Unanswered("lost")]
    await scene.go()
    scene.stop()
    scene.meanwhile = lambda what: scene.set_clock(600) if what == "delete secret" and scene.now < late else None
    late = scene.now + timedelta(seconds=600)
    await scene.go_on(6)
    assert scene.now > late
    assert not scene.run.status.phase.terminal


async def test_a_clock_that_is_set_back_delays_no_next_try(scene: Scene) -> None:
    scene.fails["create secret"] = [Forbidden(403, "Forbidden", "exceeded quota")]
    await scene.go()
    tried = scene.asked.count("assume")
    scene.set_clock(-600)
    await scene.go()
    assert scene.asked.count("assume") > tried


async def test_a_secret_that_comes_to_be_after_its_run_went_is_left_behind(scene: Scene) -> None:
    run = scene.run
    scene.meanwhile = lambda what: scene.world.lost_run(run) if what == "create secret" else None
    await scene.go()
    assert scene.world.left == [OrphanKey("team", scene.kit.run_id, "plan")]


async def test_a_session_that_comes_after_stop_is_dropped(scene: Scene) -> None:
    scene.meanwhile = lambda what: scene.stop() if what == "assume" else None
    await scene.go()
    assert "create secret" not in scene.asked
    assert scene.run.status.phase is Phase.STOPPED


async def test_a_refusal_that_quotes_credentials_is_scrubbed(scene: Scene) -> None:
    _, secret, token = CREDENTIALS
    scene.fails["create secret"] = [Forbidden(403, "Forbidden", f"policy denies {secret} and {token}")]
    await scene.go()
    said = scene.run.model_dump_json() + "".join(scene.recorder.messages)
    assert "policy denies ***** and *****" in said
    assert secret not in said
    assert token not in said


def test_encoded_values_are_scrubbed_too() -> None:
    credentials = Credentials(*CREDENTIALS, datetime(2026, 1, 1))
    content = {"AWS_ACCESS_KEY_ID": "ASIAEXAMPLE", "credentials.json": "{}"}
    said = scrubbed("dmVyeS9zZWNyZXQra2V5, e30= and ASIAEXAMPLE", credentials, content)
    assert said == "*****, ***** and ASIAEXAMPLE"


async def test_throttling_delays_and_denial_asks_for_trust_to_be_verified(scene: Scene) -> None:
    scene.fails["assume"] = [
        StsError(Failure.RETRYING, "Throttling", "Rate exceeded", None),
        StsError(Failure.ACCESS_DENIED, "AccessDenied", "no", None),
    ]
    assert (await scene.go() or 0) > 0
    assert scene.trust.denials == 0
    await scene.go_on(5)
    assert scene.trust.denials == 1
    await scene.go_on(10)
    assert scene.world.pod is not None


async def test_a_secret_that_is_refused_is_asked_for_without_credentials_first(scene: Scene) -> None:
    refused = Forbidden(403, "Forbidden", "exceeded quota: secrets")
    scene.fails["create secret"], scene.fails["would take secret"] = [refused], [refused, refused]
    await scene.go()
    for _ in range(2):
        await scene.go_on(130)
    assert scene.sessions == 1
    assert "exceeded quota" in (scene.run.status.message or "")
    await scene.go_on(130)
    assert scene.sessions == 2
    assert scene.secret
