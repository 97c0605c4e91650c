"""No part of a process ends unnoticed."""

import asyncio

import pytest

from spacelift_aws.runtime.forever import EndedError, forever


async def _on() -> None:
    await asyncio.Event().wait()


async def _cancelled() -> None:
    """What it waits for is cancelled, not it itself: as a call on a session that is closed."""
    await asyncio.sleep(0)
    raise asyncio.CancelledError


async def _fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("broken")


async def _returns() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("part", "error", "words"),
    [
        (_cancelled, EndedError, "part has ended"),
        (_returns, EndedError, "part has ended"),
        (_fails, ValueError, "broken"),
    ],
)
async def test_however_one_ends_all_end(part: object, error: type[Exception], words: str) -> None:
    other = asyncio.Event()

    async def lives() -> None:
        try:
            await _on()
        finally:
            other.set()

    with pytest.raises(error, match=words):
        async with asyncio.timeout(5):
            await forever(part=part(), lives=lives())  # type: ignore[operator]
    assert other.is_set()


async def test_who_is_cancelled_cancels_all() -> None:
    ended: list[str] = []

    async def lives(name: str) -> None:
        try:
            await _on()
        finally:
            ended.append(name)

    running = asyncio.create_task(forever(a=lives("a"), b=lives("b")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(ended) == ["a", "b"]
