"""Events that wait to be sent. Where there is no room for all, what repeats is dropped first, and an end never."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Rank(IntEnum):
    """What an Event is worth; the lowest go first."""

    REPEATED = 0
    """Its object was told something under the same reason before."""
    FIRST = 1
    END = 2
    """How something ended, which nothing tells again. There is one for each object, so they need no bound."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Item]):
    """What waits, with how often it happened, when it did last, and how often it was tried to send it."""

    number: int
    rank: Rank
    name: str
    item: Item
    times: int
    at: datetime
    tries: int = 0


class EventBacklog(Generic[Item]):
    """First in, first out. One that waits already is counted and takes no further place."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._numbers = 0
        self._by_rank: dict[Rank, OrderedDict[str, Waiting[Item]]] = {rank: OrderedDict() for rank in Rank}

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._by_rank.values())

    def add(self, rank: Rank, name: str, item: Item, at: datetime) -> Waiting[Item] | None:
        """Let one wait under its name. The answer is what was dropped for want of room."""
        return self.put_back(Waiting(0, rank, name, item, 1, at))

    def put_back(self, one: Waiting[Item]) -> Waiting[Item] | None:
        """Let one wait again that could not be sent, as the last. The answer is what was dropped for want of room."""
        for waiting in self._by_rank.values():
            if (known := waiting.get(one.name)) is not None:
                waiting[one.name] = replace(known, times=known.times + one.times, at=max(known.at, one.at))
                return None
        self._numbers += 1
        self._by_rank[one.rank][one.name] = replace(one, number=self._numbers)
        return self._drop() if len(self) > self._room else None

    def pop(self) -> Waiting[Item] | None:
        """The one that has waited longest, which does not wait any more."""
        heads = [(next(iter(waiting.values())).number, waiting) for waiting in self._by_rank.values() if waiting]
        if not heads:
            return None
        _, waiting = min(heads, key=lambda head: head[0])
        return waiting.popitem(last=False)[1]

    def _drop(self) -> Waiting[Item] | None:
        """The latest of those that are worth least: what was told first stays."""
        for rank in (Rank.REPEATED, Rank.FIRST):
            if self._by_rank[rank]:
                return self._by_rank[rank].popitem()[1]
        return None
