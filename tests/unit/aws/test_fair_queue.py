import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from spacelift_aws.aws.fair_queue import FairQueue, QueueLimits, Turn
from spacelift_aws.aws.token_bucket import TokenBucket

Runner = Callable[[Any], Any]

WIDE = QueueLimits(total=100, per_role=100, per_region=100, per_tenant=100)


async def settle() -> None:
    """Let every task run that can run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def queue_up(turns: FairQueue, order: list[str], *names: str, urgent: bool = False) -> list[asyncio.Task[Turn]]:
    """One task per name (the tenant is what comes before the dash), which notes its name when it gets its turn."""

    async def wait(name: str) -> Turn:
        turn = await turns.take(name.split("-")[0], "role", "region", urgent=urgent)
        order.append(name)
        return turn

    tasks = [asyncio.create_task(wait(name)) for name in names]
    await settle()
    return tasks


async def serve_one_by_one(tasks: list[asyncio.Task[Turn]]) -> None:
    """End each turn as soon as it was given."""
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result().release()


def test_lanes_take_turns_however_many_wait_in_one_of_them(run_in_fake_time: Runner) -> None:
    async def scenario() -> list[str]:
        turns = FairQueue(QueueLimits(total=1, per_role=1, per_region=1, per_tenant=1))
        order: list[str] = []
        tasks = await queue_up(turns, order, "a-1", "a-2", "a-3", "a-4", "b-1", "c-1", "b-2")
        await serve_one_by_one(tasks)
        return order

    assert run_in_fake_time(scenario()) == ["a-1", "a-2", "b-1", "c-1", "a-3", "b-2", "a-4"]


@pytest.mark.parametrize(
    ("limits", "slow", "other"),
    [
        pytest.param(
            QueueLimits(3, per_role=2, per_region=3, per_tenant=3),
            ("ns", "slow-role", "eu"),
            ("ns", "other-role", "eu"),
            id="a slow role leaves room for another role of the same namespace",
        ),
        pytest.param(
            QueueLimits(3, per_role=3, per_region=2, per_tenant=3),
            ("ns", "role", "slow-region"),
            ("ns", "role", "eu"),
            id="a slow region leaves room for another region",
        ),
        pytest.param(
            QueueLimits(3, per_role=3, per_region=3, per_tenant=2),
            ("slow", "role", "eu"),
            ("other", "role", "eu"),
            id="a slow namespace leaves room for another namespace",
        ),
    ],
)
def test_what_is_slow_does_not_starve_others(
    run_in_fake_time: Runner, limits: QueueLimits, slow: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    async def scenario() -> None:
        turns = FairQueue(limits)
        held = [await turns.take(*slow) for _ in range(2)]
        third = asyncio.create_task(turns.take(*slow))
        await settle()
        assert not third.done()
        quick = await asyncio.wait_for(turns.take(*other), 1)
        assert not third.done()
        held[0].release()
        (await third).release()
        quick.release()
        held[1].release()
        assert turns.held == 0

    run_in_fake_time(scenario())


def test_a_turn_released_twice_counts_once(run_in_fake_time: Runner) -> None:
    async def scenario() -> None:
        turns = FairQueue(WIDE)
        first, _second = await turns.take("a", "r", None), await turns.take("a", "r", None)
        first.release()
        first.release()
        assert turns.held == 1

    run_in_fake_time(scenario())


def test_urgent_goes_first_but_not_forever(run_in_fake_time: Runner) -> None:
    async def scenario() -> list[str]:
        turns = FairQueue(QueueLimits(total=1, per_role=1, per_region=1, per_tenant=1))
        order: list[str] = []
        blocker = await turns.take("z", "role", "region")
        tasks = await queue_up(turns, order, "a-1", "a-2")
        tasks += await queue_up(turns, order, "b-u1", "b-u2", "b-u3", "b-u4", "b-u5", urgent=True)
        blocker.release()
        await serve_one_by_one(tasks)
        return order

    assert run_in_fake_time(scenario()) == ["b-u1", "b-u2", "b-u3", "a-1", "b-u4", "b-u5", "a-2"]


def test_who_waits_already_can_be_made_urgent(run_in_fake_time: Runner) -> None:
    async def scenario() -> list[str]:
        turns = FairQueue(QueueLimits(total=1, per_role=1, per_region=1, per_tenant=1))
        order: list[str] = []
        blocker = await turns.take("z", "role", "region")
        tasks = await queue_up(turns, order, "a-1", "a-2", "b-1", "c-1")
        turns.prioritize("b", "another role")
        turns.prioritize("nobody", "role")
        turns.prioritize("c", "role")
        tasks[1].cancel()
        await settle()
        blocker.release()
        await serve_one_by_one([tasks[0], *tasks[2:]])
        return order

    assert run_in_fake_time(scenario()) == ["c-1", "a-1", "b-1"]


def test_who_was_made_urgent_can_still_be_cancelled(run_in_fake_time: Runner) -> None:
    async def scenario() -> list[str]:
        turns = FairQueue(QueueLimits(total=1, per_role=1, per_region=1, per_tenant=1))
        order: list[str] = []
        blocker = await turns.take("z", "role", "region")
        first, second = await queue_up(turns, order, "a-1", "b-1")
        turns.prioritize("a", "role")
        first.cancel()
        await settle()
        blocker.release()
        await serve_one_by_one([second])
        assert turns.held == 0
        return order

    assert run_in_fake_time(scenario()) == ["b-1"]


def test_the_bucket_spreads_a_herd_over_time_and_among_lanes(run_in_fake_time: Runner) -> None:
    async def scenario() -> list[tuple[str, float]]:
        turns = FairQueue(WIDE, TokenBucket(rate=10, burst=2))
        served: list[tuple[str, float]] = []

        async def call(tenant: str) -> None:
            turn = await turns.take(tenant, f"role-of-{tenant}", "eu")
            served.append((tenant, round(asyncio.get_running_loop().time(), 3)))
            turn.release()

        await asyncio.gather(*[call("big") for _ in range(6)], *[call("small") for _ in range(2)])
        return served

    assert run_in_fake_time(scenario()) == [
        ("big", 0.0),
        ("big", 0.0),
        ("big", 0.1),
        ("small", 0.2),
        ("big", 0.3),
        ("small", 0.4),
        ("big", 0.5),
        ("big", 0.6),
    ]


def test_a_thousand_integrations_of_five_calls_take_a_hundred_seconds(run_in_fake_time: Runner) -> None:
    async def scenario() -> float:
        turns = FairQueue(WIDE, TokenBucket(rate=50, burst=10))

        async def verify(number: int) -> None:
            for _ in range(5):
                (await turns.take(f"ns-{number % 20}", f"role-{number}", "eu")).release()

        await asyncio.gather(*[verify(number) for number in range(1000)])
        return asyncio.get_running_loop().time()

    assert run_in_fake_time(scenario()) == pytest.approx((5000 - 10) / 50, abs=0.1)


def test_cancelling_who_waits_frees_the_place_in_the_row(run_in_fake_time: Runner) -> None:
    async def scenario() -> None:
        turns = FairQueue(QueueLimits(total=1, per_role=1, per_region=1, per_tenant=1))
        order: list[str] = []
        held = await turns.take("z", "role", "region")
        first, second = await queue_up(turns, order, "a-1", "a-2")
        first.cancel()
        await settle()
        held.release()
        (await second).release()
        assert order == ["a-2"]
        assert turns.held == 0

    run_in_fake_time(scenario())


def test_cancelling_in_the_moment_of_the_grant_gives_the_turn_to_the_next(run_in_fake_time: Runner) -> None:
    async def scenario() -> None:
        turns = FairQueue(QueueLimits(total=1, per_role=1, per_region=1, per_tenant=1))
        order: list[str] = []
        held = await turns.take("z", "role", "region")
        first, second = await queue_up(turns, order, "a-1", "a-2")
        held.release()  # grants the first, whose task has not run yet
        first.cancel()
        (await second).release()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert turns.held == 0

    run_in_fake_time(scenario())


def test_cancelling_all_who_wait_for_a_token_leaves_nothing_behind(run_in_fake_time: Runner) -> None:
    async def scenario() -> None:
        turns = FairQueue(WIDE, TokenBucket(rate=0.001, burst=1))
        (await turns.take("a", "r", None)).release()
        waiting = asyncio.create_task(turns.take("a", "r", None))
        await settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert turns.held == 0
        # The token that nobody took is there for the next, a thousand seconds on.
        (await turns.take("b", "r", None)).release()
        assert asyncio.get_running_loop().time() == pytest.approx(1000, abs=1)

    run_in_fake_time(scenario())


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_never_fills_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="positive rate"):
        TokenBucket(rate, burst)
