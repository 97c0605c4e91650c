"""Manners in a cluster that is not the sandbox's own: act on nobody's objects, leave what was found as it was."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from sandbox.cluster import Cluster, KubectlError
from sandbox.controller import manifest
from sandbox.progress import Say

_DEFINITION = "customresourcedefinition"
_GONE_WITHIN = "--timeout=120s"


class GuestError(RuntimeError):
    """The cluster is in use, or something could not be removed from it; the text says what."""


class Item(NamedTuple):
    """One object, as kubectl's arguments name it. Sorted, definitions come first: the objects made of them go along."""

    rank: int
    kind: str
    name: str
    namespace: str | None

    def arguments(self) -> list[str]:
        place = [] if self.namespace is None else [f"--namespace={self.namespace}"]
        return [self.kind, self.name, *place]


@contextmanager
def guest(cluster: Cluster, namespaces: Sequence[str], say: Say) -> Iterator[None]:
    """Within the context the cluster may be used; at its end goes what was not there at its beginning.

    That is: `namespaces`, as they are known then, and what is in the operator's chart. Raises `GuestError`
    where Runs or AwsIntegrations exist: a controller started here would act on them, with an emulated AWS.
    """
    before = _installed(cluster)
    if any(item.kind == _DEFINITION for item in before):
        used = cluster.kubectl("get", "awsintegrations,runs", "--all-namespaces", "--output=name").stdout.split()
        if used:
            raise GuestError(
                f"this cluster has {used[0]}{f' and {len(used) - 1} more' if used[1:] else ''}, on which a controller "
                "started here would act, with an emulated AWS: use another cluster"
            )
    try:
        yield
    finally:
        say("removing from the cluster what was made here")
        made = [Item(0, "namespace", name, None) for name in namespaces]
        _remove(cluster, [*made, *sorted(_installed(cluster) - before)])


def items_of(listed: str) -> set[Item]:
    """The objects in what `kubectl get --output=json` printed: nothing, one object, or a list."""
    if not listed.strip():
        return set()
    body = json.loads(listed)
    return {_item(entry) for entry in (body["items"] if body["kind"] == "List" else [body])}


def _item(body: dict[str, object]) -> Item:
    metadata = body["metadata"]
    assert isinstance(metadata, dict)
    kind = str(body["kind"]).lower()
    return Item(0 if kind == _DEFINITION else 1, kind, metadata["name"], metadata.get("namespace"))


def _installed(cluster: Cluster) -> set[Item]:
    """What of the operator's chart is in the cluster."""
    chart = f"--filename={manifest(cluster)}"
    return items_of(cluster.kubectl("get", chart, "--ignore-not-found", "--output=json").stdout)


def _remove(cluster: Cluster, items: Iterable[Item]) -> None:
    """Delete all that can be deleted, one after another, and wait for the end of each."""
    failed = []
    for item in items:
        try:
            cluster.kubectl("delete", "--ignore-not-found", _GONE_WITHIN, *item.arguments())
        except KubectlError as error:
            failed.append(str(error))
    if failed:
        raise GuestError(f"left behind in this cluster: {'; '.join(failed)}")
