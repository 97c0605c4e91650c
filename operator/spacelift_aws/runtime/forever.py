"""Tasks that never end by themselves: if one does, whatever the way, the process could only live on half dead."""

import asyncio
from collections.abc import Coroutine
from typing import NoReturn


class EndedError(Exception):
    """A task that never ends by itself has ended, or was cancelled by something that it waited for."""


async def forever(**parts: Coroutine[None, None, None]) -> NoReturn:
    """Run these parts until one of them ends, which ends the others. Raises what it raised, else `EndedError`."""
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    # The first one in the order given; one that was cancelled has nothing to raise.
    for task in tasks:
        if task in done and not task.cancelled():
            task.result()
    ended = ", ".join(task.get_name() for task in tasks if task in done)
    raise EndedError(f"{ended} has ended, which never should")
