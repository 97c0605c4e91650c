"""The work queue: one key at a time, never twice at once, never lost."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from spacelift_aws.kube.errors import NotNow
from spacelift_aws.runtime import workqueue as module
from spacelift_aws.runtime.workqueue import WorkQueue


class Worker:
    """Notes what it handles; `then` says what comes of it."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.then: Callable[[str], Awaitable[float | None]] | None = None
        self.queue: WorkQueue[str] = WorkQueue(self.handle)

    async def handle(self, key: str) -> float | None:
        self.handled.append(key)
        return await self.then(key) if self.then else None

    async def idle(self) -> None:
        async with asyncio.timeout(5):
            while len(self.queue):  # noqa: ASYNC110 - the queue has no event for it, and needs none
                await asyncio.sleep(0.001)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.handled) < count:  # noqa: ASYNC110 - a fake gives no sign
                await asyncio.sleep(0.001)


@pytest.fixture
def worker() -> Worker:
    return Worker()


async def test_before_the_start_nothing_is_kept(worker: Worker) -> None:
    for key in "abab":
        worker.queue.add(key)
    assert len(worker.queue) == 0
    worker.queue.start()
    await worker.queue.add_gently("ab")
    await worker.idle()
    assert worker.handled == ["a", "b"]


async def test_many_keys_let_others_pass(worker: Worker) -> None:
    worker.queue.start()
    adding = asyncio.create_task(worker.queue.add_gently(str(number) for number in range(1000)))
    await asyncio.sleep(0)
    worker.queue.add("urgent")
    await adding
    await worker.idle()
    assert len(worker.handled) == 1001
    assert worker.handled.index("urgent") < 100


async def test_a_key_added_while_it_is_handled_is_handled_once_more(worker: Worker) -> None:
    inside, at_once = asyncio.Event(), 0

    async def then(_: str) -> None:
        nonlocal at_once
        at_once += 1
        assert at_once == 1
        await inside.wait()
        at_once -= 1

    worker.then = then
    worker.queue.start()
    worker.queue.add("a")
    await worker.until(1)
    worker.queue.add("a")
    worker.queue.add("a")
    await asyncio.sleep(0)
    assert worker.handled == ["a"]
    inside.set()
    await worker.idle()
    assert worker.handled == ["a", "a"]


async def test_a_key_that_waits_holds_up_no_other(worker: Worker) -> None:
    async def then(key: str) -> None:
        if key == "slow":
            await asyncio.Event().wait()

    worker.then = then
    worker.queue.start()
    worker.queue.add("slow")
    worker.queue.add("quick")
    await worker.until(2)
    assert len(worker.queue) == 1
    await worker.queue.stop()


async def test_of_several_delays_the_earliest_counts(worker: Worker) -> None:
    worker.queue.start()
    worker.queue.add_after("a", 30)
    worker.queue.add_after("a", 0.01)
    worker.queue.add_after("a", 30)
    await worker.until(1)
    await asyncio.sleep(0.02)
    assert worker.handled == ["a"]


async def test_what_is_added_now_needs_no_delay_any_more(worker: Worker) -> None:
    worker.queue.start()
    worker.queue.add_after("a", 0.01)
    worker.queue.add("a")
    await asyncio.sleep(0.03)
    assert worker.handled == ["a"]


async def test_a_handler_may_ask_to_be_called_again(worker: Worker) -> None:
    async def then(_: str) -> float | None:
        return 0.0 if len(worker.handled) < 3 else None

    worker.then = then
    worker.queue.start()
    worker.queue.add("a")
    await worker.until(3)
    await asyncio.sleep(0.01)
    assert worker.handled == ["a"] * 3


@pytest.mark.parametrize("failure", [NotNow("later"), ValueError("a defect"), asyncio.CancelledError()])
async def test_a_failure_is_tried_again(
    worker: Worker, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)

    async def then(_: str) -> None:
        if len(worker.handled) < 4:
            raise failure

    worker.then = then
    worker.queue.start()
    worker.queue.add("a")
    await worker.until(4)
    await worker.idle()
    assert worker.handled == ["a"] * 4


async def test_what_the_server_asks_for_is_added_to_the_backoff(worker: Worker) -> None:
    error = NotNow("busy")
    error.retry_after = 30

    async def then(_: str) -> None:
        raise error

    worker.then = then
    worker.queue.start()
    worker.queue.add("a")
    await worker.until(1)
    await asyncio.sleep(0.02)
    assert worker.handled == ["a"]
    await worker.queue.stop()


async def test_stop_cuts_off_what_is_under_way_and_begins_nothing(worker: Worker) -> None:
    cut = []

    async def then(key: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append(key)
            raise

    worker.then = then
    worker.queue.start()
    worker.queue.add("a")
    worker.queue.add_after("b", 0.005)
    await worker.until(1)
    await worker.queue.stop()
    worker.queue.add("c")
    await asyncio.sleep(0.01)
    assert (worker.handled, cut) == (["a"], ["a"])
