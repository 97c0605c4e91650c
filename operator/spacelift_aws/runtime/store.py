"""The objects as last seen, from watches, lists and the answers to our own writes, whichever is newest.

Older views never replace newer ones, and what was seen to be deleted does not come back: watches and answers arrive
in no common order. Resource versions are compared as numbers, which Kubernetes guarantees since 1.35 (KEP-5504)
and etcd's revisions have always been.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.names import child_name, run_id

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

    def items(self) -> Iterator[tuple[ObjectKey, Value]]:
        """Every object that is there now. Another thread may ask, and the objects may change meanwhile."""
        return ((key, entry.value) for key, entry in tuple(self._entries.items()))

    def values(self) -> Iterator[Value]:
        """The same without the keys."""
        return (value for _, value in self.items())

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: ObjectKey, uid: str, version: int, value: Value) -> bool:
        """Keep this view of an object; False where it is no newer than what is known."""
        known = self._entries.get(key)
        if uid in self._deleted or (known is not None and 0 < version <= known.version):
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


@dataclass(frozen=True, slots=True)
class Namespace:
    """What matters of a namespace."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "Namespace":
        """Read a namespace object of the API."""
        metadata = body["metadata"]
        return cls(metadata["name"], metadata["uid"], metadata["resourceVersion"], dict(metadata.get("labels") or {}))


class Stores:
    """What the controller has seen of each kind, and the ways from one object to another."""

    def __init__(self) -> None:
        self.runs: Store[Run] = Store()
        self.integrations: Store[AwsIntegration] = Store()
        self.pods: Store[Pod] = Store()
        self.namespaces: Store[Namespace] = Store()
        self._departed: dict[ObjectKey, Pod] = {}
        self._run_names: dict[ObjectKey, str] = {}
        self._runs_of: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)

    def put_run(self, run: Run) -> bool:
        """Keep a view of a Run."""
        metadata = run.metadata
        key = (metadata.namespace, metadata.name)
        if not self.runs.put(key, metadata.uid, version_of(metadata.resource_version), run):
            return False
        self._run_names[metadata.namespace, self.run_id(run)] = metadata.name
        self._runs_of[integration_key(run)].add(key)
        return True

    def remove_run(self, key: ObjectKey, uid: str) -> Run | None:
        """Forget a Run that was deleted; the answer is its last view."""
        run = self.runs.remove(key, uid)
        if run is None:
            return None
        self._run_names.pop((key[0], self.run_id(run)), None)
        self._departed.pop((key[0], child_name(self.run_id(run))), None)
        runs = self._runs_of[integration_key(run)]
        runs.discard(key)
        if not runs:
            del self._runs_of[integration_key(run)]
        return run

    def put_pod(self, pod: Pod) -> bool:
        """Keep a view of a run's pod. Pods that merely carry a run's label are none of ours."""
        if pod.name != child_name(pod.run_id):
            return False
        return self.pods.put((pod.namespace, pod.name), pod.uid, version_of(pod.resource_version), pod)

    def remove_pod(self, key: ObjectKey, uid: str, last: Pod | None = None) -> Pod | None:
        """Forget a pod that was deleted; its last view stays while its Run is there, because it tells how it ended."""
        known = self.pods.remove(key, uid)
        pod = last or known
        if pod is not None and pod.name == child_name(pod.run_id) and self.run_of(pod) is not None:
            self._departed[key] = replace(pod, gone=True)
        return pod

    def run_of(self, pod: Pod) -> ObjectKey | None:
        """The key of the Run whose ID a pod carries."""
        name = self._run_names.get((pod.namespace, pod.run_id))
        return (pod.namespace, name) if name is not None else None

    def pod_of(self, run: Run) -> Pod | None:
        """A Run's pod, or its last view."""
        key = (run.metadata.namespace, child_name(self.run_id(run)))
        return self.pods.get(key) or self._departed.get(key)

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        """A namespace's labels; none where it is not known."""
        known = self.namespaces.get(("", namespace))
        return known.labels if known is not None else {}

    def runs_of(self, integration: ObjectKey) -> tuple[ObjectKey, ...]:
        """The keys of all Runs that name an integration."""
        return tuple(self._runs_of.get(integration, ()))

    @staticmethod
    def run_id(run: Run) -> str:
        """The Run's ID, from its creation time and UID alone."""
        return run_id(run.metadata.creation_timestamp, run.metadata.uid)


def version_of(resource_version: str) -> int:
    """A resource version as a number; 0, which replaces and is replaced, where a server counts otherwise."""
    return int(resource_version) if resource_version.isdigit() else 0
