"""All objects of a kind as they change, over a connection that breaks."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from spacelift_aws_cli.kube.errors import ApiError, Expired, KubeError, Unreachable
from spacelift_aws_cli.kube.resources import Resource
from spacelift_aws_cli.model.objects import Object

if TYPE_CHECKING:
    from spacelift_aws_cli.kube.client import Client

PAUSE = 1.0
Key = tuple[str, str]


def changes(
    client: "Client", resource: Resource, namespace: str | None, *, say: Callable[[str], None], **query: str
) -> Iterator[tuple[dict[Key, Object], list[Object]]]:
    """All objects, and those that have just changed: first all of them, then one at a time.

    `say` hears once that the API server is away, until it is watched again.
    """
    known: dict[Key, Object] = {}
    first, away = True, False
    while True:
        try:
            listed, version = client.page_through(resource, namespace, **query)
            fresh = {_key(one): one for one in listed}
            changed = [one for key, one in fresh.items() if _version(one) != _version(known.get(key))]
            if first or changed or fresh.keys() != known.keys():
                known = fresh
                yield known, changed
            first = False
            for event in client.watch(resource, namespace, version, query):
                # Not before: one that has just started answers a list, and 429 to a watch.
                away = False
                if event["type"] == "BOOKMARK":
                    continue
                one = event["object"]
                if event["type"] == "DELETED":
                    known.pop(_key(one), None)
                    yield known, []
                else:
                    known[_key(one)] = one
                    yield known, [one]
            away = False
        except Expired:
            time.sleep(PAUSE)  # the list is asked for anew
        except KubeError as error:
            passes = isinstance(error, Unreachable) or (
                isinstance(error, ApiError) and (error.status >= 500 or error.status in (401, 429))
            )
            if first or not passes:
                raise
            if not away:
                say(f"{error} Trying again.")
            away = True
            time.sleep(PAUSE)


def _key(found: Object) -> Key:
    return str(found["metadata"].get("namespace", "")), str(found["metadata"]["name"])


def _version(found: Object | None) -> str:
    return str(found["metadata"]["resourceVersion"]) if found else ""
