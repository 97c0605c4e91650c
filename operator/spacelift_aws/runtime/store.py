"""The objects as last seen, from watches, lists and the answers to our own writes, whichever is newest.

Older views never replace newer ones, and what was seen to be deleted does not come back: watches and answers arrive
in no common order. Resource versions are compared as numbers, which Kubernetes guarantees since 1.35 (KEP-5504)
and etcd's revisions have always been.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

ObjectKey = tuple[str, str]
"""Namespace and name."""

Value = TypeVar("Value")

TOMBSTONES = 10_000
"""Deleted objects whose late echoes are still recognised."""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Value]):
    uid: str
    version: int
    value: Value


class Store(Generic[Value]):
    """All objects of one kind, by namespace and name."""

    def __init__(self) -> None:
        self._entries: dict[ObjectKey, _Entry[Value]] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def get(self, key: ObjectKey) -> Value | None:
        """The object as last seen."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def version(self, key: ObjectKey) -> int | None:
        """The version of the object as last seen."""
        entry = self._entries.get(key)
        return entry.version if entry else None

    def items(self) -> Iterator[tuple[ObjectKey, Value]]:
        """Every object that is there now. Another thread may ask, and the objects may change meanwhile."""
        return ((key, entry.value) for key, entry in tuple(self._entries.items()))

    def values(self) -> Iterator[Value]:
        """The same without the keys."""
        return (value for _, value in self.items())

    def __iter__(self) -> Iterator[ObjectKey]:
        """The key of every object."""
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: ObjectKey, uid: str, version: int, value: Value, *, other_form: bool = False) -> bool:
        """Keep this view of an object; False where it is no newer than what is known.

        `other_form`: it may be the same view, and is kept in the place of the known one.
        """
        known = self._entries.get(key)
        if uid in self._deleted or (known is not None and 0 < version <= known.version - other_form):
            return False
        self._entries[key] = _Entry(uid, version, value)
        return True

    def remove(self, key: ObjectKey, uid: str) -> Value | None:
        """Forget an object that was deleted; None where another has its name by now."""
        self._deleted[uid] = None
        if len(self._deleted) > TOMBSTONES:
            self._deleted.popitem(last=False)
        entry = self._entries.get(key)
        if entry is None or entry.uid != uid:
            return None
        del self._entries[key]
        return entry.value

    def missing_from(
        self, listed: set[str], list_version: int, namespace: str | None = None
    ) -> list[tuple[ObjectKey, Value]]:
        """The objects that a list of that version should have shown and did not."""
        return [
            (key, entry.value)
            for key, entry in self._entries.items()
            if entry.uid not in listed and entry.version <= list_version and namespace in (None, key[0])
        ]


def version_of(resource_version: str) -> int:
    """A resource version as a number; 0, which replaces and is replaced, where a server counts otherwise."""
    return int(resource_version) if resource_version.isdigit() else 0
