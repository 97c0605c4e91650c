"""What a kind brings along: what is watched, what its keys are, and who brings an object up to date.

`controllers/` registers all of this; the manager starts and stops it without knowing any kind.
"""

import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from prometheus_client.registry import Collector

from spacelift_aws.kube.client import Object
from spacelift_aws.kube.resources import Resource
from spacelift_aws.runtime.store import Store, version_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: how its objects are read, and who hears that one is there or is not any more."""

    resource: Resource
    parse: Callable[[Object], Any]
    saw: Callable[[Any], None]
    lost: Callable[[Any], None]
    store: Store[Any]
    label_selector: str | None = None
    reflected: bool = False
    """Watched by a reflector of our own instead of Kopf."""
    watched_fields: str | None = None
    """Kopf's watch and the first list show objects that match this field selector only; later lists show all."""
    left_watch: Callable[[Any], None] | None = None
    """Hears that an object is gone or matches `watched_fields` no more; the watch cannot tell which."""

    def feed(self, body: Object, *, deleted: bool = False) -> None:
        """Take in an object of the API, as far as it is news."""
        if not deleted and self.knows(body):
            return
        value = self._read(body)
        if value is not None:
            (self.lost if deleted else self.saw)(value)

    def knows(self, body: Object) -> bool:
        """Whether this view of an object, or a later one, is known already: to read it would cost a hundred times more.

        It says nothing of an object's end: the API server may answer a DELETE with the object in the version of that.
        """
        metadata = body["metadata"]
        version = version_of(metadata.get("resourceVersion", ""))
        return 0 < version <= (self.store.version((metadata.get("namespace", ""), metadata["name"])) or 0)

    def feed_from_watch(self, body: Object, *, deleted: bool) -> None:
        """Take in what Kopf's watch shows."""
        if deleted and self.left_watch is not None:
            value = self._read(body)
            if value is not None:
                self.left_watch(value)
        else:
            self.feed(body, deleted=deleted)

    def _read(self, body: Object) -> Any | None:
        """The object; None for one that cannot be read: it is reported and skipped, for it must not stop the rest."""
        try:
            return self.parse(body)
        except Exception as error:  # whatever it is, it would come again with every list
            metadata = body.get("metadata") or {}
            name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
            # Only the type: a validation error quotes the object.
            log.error("%s %s cannot be read (%s); it is left alone", self.resource.kind, name, type(error).__name__)
            return None


@dataclass(frozen=True, slots=True)
class Controller:
    """Handles the keys of one type: brings one object up to date, answers the seconds after which to look again."""

    key: type[Hashable]
    reconcile: Callable[[Any], Awaitable[float | None]]


@dataclass(frozen=True, slots=True)
class Assembly:
    """All kinds and controllers of a process, wired."""

    kinds: tuple[Kind, ...]
    """What others refer to comes first."""
    controllers: tuple[Controller, ...]
    adopt: Callable[[], None]
    """Called before acting where an earlier process may have acted: it may have died between sending and hearing."""
    all_keys: Callable[[], Iterable[Hashable]]
    """All that a process which begins to act has to look at, the most urgent first."""
    saw_everything: Callable[[], None]
    """Called once also those objects were seen that are not watched: what is unknown from now on is not there."""
    look_at_all_runs: Callable[[], None]
    metrics: Collector
    """What a scrape answers."""
    close: Callable[[], None]

    async def reconcile(self, key: Hashable) -> float | None:
        """Hand a key to whoever handles its type."""
        for controller in self.controllers:
            if isinstance(key, controller.key):
                return await controller.reconcile(key)
        raise TypeError(f"nobody handles keys of type {type(key).__name__}")
