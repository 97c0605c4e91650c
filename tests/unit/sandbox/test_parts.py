"""A benchmark whose parts fail or stall ends at once and says whose fault it was."""

import asyncio

import pytest

from sandbox.parts import PartFailedError, playing


def silent(_: str) -> None:
    pass


async def test_a_part_that_fails_ends_all_and_is_named() -> None:
    async def kubelet() -> None:
        await asyncio.sleep(0.01)
        raise TimeoutError

    async def benchmark() -> None:
        async with playing(say=silent) as parts:
            parts.start("the kubelet", kubelet())
            parts.counts["Runs created"] += 2
            await asyncio.sleep(60)

    with pytest.raises(PartFailedError, match=r"^the kubelet has failed: TimeoutError \(2 Runs created\)$"):
        await benchmark()


async def test_where_nothing_happens_any_more_it_says_how_far_it_was() -> None:
    async def benchmark() -> None:
        async with playing(stalled_after=0.1, say=silent) as parts:
            parts.counts.update({"Runs created": 3, "pod": 1})
            await asyncio.sleep(60)

    with pytest.raises(PartFailedError, match=r"nothing has happened for 0.1 s \(3 Runs created, 1 pod\)"):
        await benchmark()


async def test_what_gets_on_is_left_alone_and_tells_how_far_it_is() -> None:
    said: list[str] = []
    async with playing(stalled_after=0.2, say=said.append, every=0.05) as parts:
        for _ in range(40):
            parts.counts["done"] += 1
            await asyncio.sleep(0.01)
    assert said
    assert all(line.endswith(" done") for line in said)


async def test_parts_end_with_the_context() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with playing(say=silent) as parts:
        parts.start("forever", forever())
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_an_error_of_the_benchmarks_own_stays_what_it_is() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with playing(say=silent):
            raise ValueError("its own")
    assert "its own" in str(raised.value.exceptions[0])
