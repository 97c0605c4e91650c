"""The reconciler: what it asks, shows and says, as trust, specs and identities change."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.kube.errors import Conflict, NotFound

from .world import KEY, NOBODY, ROUND, SOON, SPELLED, EventRouter, allow, deny


@pytest.fixture
def world(kit: Any) -> EventRouter:
    return EventRouter(kit)


async def test_a_right_trust_is_verified_with_one_write_and_one_event(world: EventRouter) -> None:
    delay = await world.look()
    assert delay == SOON
    assert world.reason() == ("True", "Verified")
    assert world.ready() == "True"
    assert len(world.patches) == 1
    assert world.events == [("Normal", "Verified")]
    assert world.verdicts == [KEY]
    assert world.store.may_issue(world.shown())


async def test_looking_again_asks_and_writes_nothing(world: EventRouter) -> None:
    await world.look()
    await world.spell_out()
    world.kit.clock.pass_(hours=1)
    assert await world.look() == SPELLED - timedelta(hours=1).total_seconds()
    assert world.sts.external_ids() == []
    assert len(world.patches) == 1


async def test_the_story_of_a_role_that_appears_too_wide_and_then_right(kit: Any) -> None:
    world = EventRouter(kit, {"roleArn": None})
    assert await world.look() is None
    assert world.reason() == ("False", "RoleNotSet")
    assert world.shown().status.trust_policy is not None
    assert world.events == []
    world.trust = deny
    world.edit(roleArn="arn:aws:iam::123456789012:role/deploy")
    delay = await world.look()
    assert world.reason() == ("False", "AccessDenied")
    for trust, reason in (
        (lambda r: None if r.external_id else Failure.ACCESS_DENIED, ("False", "OtherExternalIdAccepted")),
        (kit.strict, ("True", "Verified")),
    ):
        world.trust = trust
        assert delay is not None
        kit.clock.pass_(seconds=delay)
        delay = await world.look()
        assert world.reason() == reason
    assert world.events == [
        ("Warning", "AccessDenied"),
        ("Warning", "OtherExternalIdAccepted"),
        ("Normal", "Verified"),
    ]
    assert world.store.may_issue(world.shown())


async def test_a_trust_that_breaks_is_doubted_first(world: EventRouter) -> None:
    await world.look()
    world.trust = deny
    world.kit.clock.pass_(hours=24)
    assert await world.look() == 120
    assert world.ready() == "True"
    world.kit.clock.pass_(seconds=120)
    await world.look()
    assert world.ready() == "False"
    assert world.events[-1] == ("Warning", "AccessDenied")
    assert not world.store.may_issue(world.shown())


async def test_another_spec_is_another_question(world: EventRouter) -> None:
    await world.look()
    world.trust = deny
    world.edit(tagAssumeRole=True)
    assert not world.store.may_issue(world.shown())
    assert world.store.verdict_for(world.shown()) is None
    await world.look()
    assert world.reason() == ("False", "AccessDenied")
    assert world.shown().status.observed_generation == 2


async def test_a_change_that_asks_nothing_else_verifies_too_and_the_verdict_stands_meanwhile(
    world: EventRouter,
) -> None:
    await world.look()
    await world.spell_out()
    world.edit(verifyEvery="48h")
    assert world.store.may_issue(world.shown())
    world.trust = deny
    await world.look()
    assert len(world.sts.external_ids()) == 1
    assert world.shown().status.observed_generation == 2
    assert world.reason() == ("True", "Verified")
    assert world.store.may_issue(world.shown())
    world.trust = world.kit.strict
    world.kit.clock.pass_(seconds=120)
    await world.look()
    world.sts.external_ids()
    await world.look()
    assert world.sts.external_ids() == []


async def test_a_spec_that_changes_while_sts_is_asked_is_asked_about_next(world: EventRouter) -> None:
    def change_once() -> None:
        world.before_answer = lambda: None
        world.edit(durationSeconds=900)

    world.before_answer = change_once
    assert await world.look() == 0
    assert not world.patches
    assert not world.store.may_issue(world.shown())
    await world.look_until_quiet()
    assert world.reason() == ("True", "Verified")
    assert world.store.may_issue(world.shown())


async def test_an_integration_deleted_while_sts_is_asked(world: EventRouter) -> None:
    def delete() -> None:
        world.body = None

    world.before_answer = delete
    assert await world.look_until_quiet() is None
    assert not world.patches


async def test_one_created_anew_under_the_same_name_is_not_verified(world: EventRouter) -> None:
    await world.look()
    assert world.body is not None
    world.body = world.body | {"metadata": world.body["metadata"] | {"uid": "uid-2"}}
    assert not world.store.may_issue(world.shown())
    await world.look()
    assert world.store.may_issue(world.shown())


async def test_any_new_value_of_the_annotation_verifies(world: EventRouter) -> None:
    world.annotate("1")
    await world.look()
    world.sts.external_ids()
    for value, rounds in (("1", 0), ("2", 1), ("2", 0), ("1", 1)):
        world.annotate(value)
        await world.look()
        assert len(world.sts.external_ids()) == ROUND * rounds


async def test_the_annotation_answers_a_broken_trust_quickly_again(world: EventRouter) -> None:
    world.trust = deny
    for _ in range(20):
        delay = await world.look() or 0.0
        world.kit.clock.pass_(seconds=delay)
    assert delay > 60
    world.annotate("now")
    assert await world.look() == 2


async def test_a_refused_run_has_the_trust_verified_soon_and_first(world: EventRouter) -> None:
    await world.look()
    world.sts.external_ids()
    world.sts.urgent.clear()
    world.kit.clock.pass_(hours=1)
    world.store.request(KEY)
    world.store.request(KEY)
    assert world.woken == [KEY]
    await world.look()
    assert world.sts.urgent == [True] * ROUND
    assert world.verdicts == [KEY, KEY]


async def test_refused_runs_do_not_have_it_verified_all_the_time(world: EventRouter) -> None:
    await world.look()
    await world.spell_out()
    world.annotate("now")
    await world.look()
    world.sts.external_ids()
    world.kit.clock.pass_(seconds=3)
    world.store.request(KEY)
    assert await world.look() == 7
    assert world.sts.external_ids() == []
    world.kit.clock.pass_(seconds=7)
    await world.look()
    assert len(world.sts.external_ids()) == ROUND
    assert await world.look() == SPELLED - 10


async def test_what_runs_wait_for_at_the_start_goes_first(world: EventRouter) -> None:
    world.awaited = True
    await world.look()
    assert world.sts.urgent == [True] * ROUND
    world.sts.urgent.clear()
    world.kit.clock.pass_(hours=24)
    await world.look()
    assert world.sts.urgent == [False] * ROUND


async def test_a_run_that_comes_while_probes_wait_makes_them_urgent(world: EventRouter) -> None:
    def come_once() -> None:
        world.before_answer = lambda: None
        world.store.await_verdict(world.shown())
        world.store.await_verdict(world.shown())

    world.before_answer = come_once
    await world.look()
    assert world.sts.hurried == [("team", "arn:aws:iam::123456789012:role/deploy")]
    assert world.sts.urgent == [False, *[True] * (ROUND - 1)]
    world.store.await_verdict(world.shown())
    assert len(world.sts.hurried) == 1


async def test_a_new_process_shows_what_was_known_but_issues_nothing_before_it_asked(world: EventRouter) -> None:
    await world.look()
    world.restart()
    assert not world.store.may_issue(world.shown())
    assert world.store.verdict_for(world.shown()) is None
    world.events.clear()
    world.sts.external_ids()
    await world.look()
    assert world.store.may_issue(world.shown())
    assert len(world.sts.external_ids()) == ROUND
    assert world.events == []


async def test_after_a_restart_a_broken_trust_is_shown_late_but_issues_nothing(world: EventRouter) -> None:
    await world.look()
    world.restart()
    world.trust = deny
    assert await world.look() == 120
    assert world.ready() == "True"
    assert not world.store.may_issue(world.shown())
    assert world.store.verdict_for(world.shown()) is None


async def test_a_forged_status_gives_nothing_and_is_written_over(world: EventRouter) -> None:
    world.trust = deny
    await world.look()
    world.events.clear()
    assert world.body is not None
    forged = [c | {"status": "True", "reason": "Verified"} for c in world.body["status"]["conditions"]]
    world.body = world.body | {"status": world.body["status"] | {"conditions": forged, "externalId": "evil"}}
    assert not world.store.may_issue(world.shown())
    await world.look()
    assert world.reason() == ("False", "AccessDenied")
    assert world.shown().status.external_id == "demo@team@deploy"
    assert world.events == []


async def test_a_conflict_is_looked_at_again_without_asking_again(world: EventRouter) -> None:
    world.fails = [Conflict(409, "Conflict", "changed")]
    assert await world.look() == 0.5
    assert world.events == []
    world.sts.external_ids()
    await world.look()
    assert world.sts.external_ids() == []
    assert world.reason() == ("True", "Verified")
    assert world.events == [("Normal", "Verified")]


async def test_gone_while_its_status_was_written(world: EventRouter) -> None:
    world.fails = [NotFound(404, "NotFound", "gone")]
    await world.look()
    world.body = None
    assert await world.look() is None


async def test_without_an_identity_sts_is_left_alone(world: EventRouter) -> None:
    world.identity = NOBODY
    delay = await world.look()
    assert world.sts.asked == []
    assert world.reason() == ("Unknown", "NoIdentity")
    assert world.ready() == "False"
    assert world.events == [("Warning", "NoIdentity")]
    assert world.doubts == 1
    world.identity = Identity("arn:aws:iam::111122223333:role/op", "AROAOP")
    assert delay is not None
    world.kit.clock.pass_(seconds=delay)
    await world.look()
    assert world.reason() == ("True", "Verified")


async def test_a_role_that_is_not_set_waits_for_the_identity_too(kit: Any) -> None:
    world = EventRouter(kit, {"roleArn": None}, NOBODY)
    assert await world.look() == 15
    assert world.shown().status.principal is None
    world.identity = Identity("arn:aws:iam::111122223333:role/op", "AROAOP")
    assert await world.look() is None
    assert world.shown().status.principal is not None


async def test_expired_credentials_leave_the_verdict_and_say_so(world: EventRouter) -> None:
    await world.look()
    world.kit.clock.pass_(hours=24)
    world.trust = lambda _: StsError(Failure.NO_IDENTITY, "ExpiredToken", "the operator's AWS credentials have expired")
    await world.look()
    assert world.reason() == ("True", "Verified")
    condition = world.shown().status.condition("TrustVerified")
    assert condition is not None
    assert "credentials have expired" in condition.message
    assert world.doubts == 1
    assert world.store.may_issue(world.shown())


async def test_worker_mode_asks_nothing(kit: Any) -> None:
    world = EventRouter(kit, {"generateCredentialsInWorker": True})
    assert await world.look() is None
    assert world.reason() == ("Unknown", "NotVerifiable")
    assert world.ready() == "True"
    assert world.sts.asked == []
    assert world.events == []
    assert not world.store.may_issue(world.shown())


async def test_turning_to_worker_mode_ends_what_the_controller_verified(world: EventRouter) -> None:
    await world.look()
    world.edit(generateCredentialsInWorker=True)
    assert not world.store.may_issue(world.shown())
    await world.look()
    assert world.shown().status.principal is None
    assert world.shown().status.probes == ()
    assert world.verdicts == [KEY, KEY]


@pytest.mark.parametrize(
    ("spec", "trust", "asked", "words"),
    [
        ({"roleArn": None}, deny, True, "spec.roleArn"),
        ({}, deny, False, "being verified"),
        ({}, deny, True, "denied `sts:AssumeRole`"),
        ({}, allow, True, "without any external ID"),
    ],
)
async def test_runs_are_told_why_they_wait(
    kit: Any, spec: dict[str, Any], trust: Callable[[Any], Any], asked: bool, words: str
) -> None:
    world = EventRouter(kit, spec)
    world.trust = trust
    if asked:
        await world.look()
    assert words in world.store.why_not(world.shown())


async def test_requests_for_what_is_not_there_do_nothing(world: EventRouter) -> None:
    gone = world.shown()
    world.body = None
    world.store.await_verdict(gone)
    world.store.request(KEY)
    world.reconciler.forget(KEY)
    assert world.woken == []
    assert world.sts.hurried == []


async def test_a_round_that_was_cut_off_is_asked_again(world: EventRouter) -> None:
    def cancel_once() -> None:
        world.before_answer = lambda: None
        looking.cancel()

    world.annotate("now")
    world.before_answer = cancel_once
    looking = asyncio.create_task(world.look())
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert len(world.sts.external_ids()) == 1
    assert not world.store.may_issue(world.shown())
    await world.look()
    assert len(world.sts.external_ids()) == ROUND
    assert world.store.may_issue(world.shown())


# Spellings between the rounds


async def test_spellings_between_the_rounds_ask_one_place_each_and_write_nothing(world: EventRouter) -> None:
    await world.look()
    world.sts.external_ids()
    asked = []
    for seconds in [SOON] * 10 + [SPELLED] * 3:
        world.kit.clock.pass_(seconds=seconds)
        await world.look()
        asked.append(world.sts.external_ids())
    assert all(len(ids) == 1 and ids[0] is not None and "+" in ids[0] for ids in asked)
    assert len({ids[0] for ids in asked[:10]}) == 10
    assert len(world.patches) == 1
    assert world.verdicts == [KEY]


async def test_spellings_wait_until_nobody_else_asks(world: EventRouter) -> None:
    await world.look()
    world.sts.external_ids()
    world.sts.idle = False
    world.kit.clock.pass_(seconds=SOON)
    for _ in range(3):
        assert await world.look() == 15
        world.kit.clock.pass_(seconds=15)
    assert world.sts.external_ids() == []
    world.sts.idle = True
    await world.look()
    assert len(world.sts.external_ids()) == 1


async def test_a_place_that_is_let_in_between_the_rounds_ends_the_trust_at_once(world: EventRouter) -> None:
    await world.look()
    world.trust = lambda r: None if (r.external_id or "").replace("+", "e") == "demo@team@deploy" else deny(r)
    for _ in range(10):
        world.kit.clock.pass_(seconds=SOON)
        await world.look()
        if world.reason() != ("True", "Verified"):
            break
    assert world.reason() == ("False", "OtherExternalIdAccepted")
    assert not world.store.may_issue(world.shown())
    assert world.verdicts == [KEY, KEY]
    assert world.events[-1] == ("Warning", "OtherExternalIdAccepted")
    assert world.shown().status.probes[-1].position == 2
    world.restart()
    world.kit.clock.pass_(seconds=2)
    await world.look()
    assert world.reason() == ("False", "OtherExternalIdAccepted"), "a restart does not forget the place"
    world.trust = world.kit.strict
    world.kit.clock.pass_(seconds=2)
    await world.look()
    assert world.reason() == ("True", "Verified")
