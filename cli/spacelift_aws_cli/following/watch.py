"""One object as it changes, over a connection that breaks."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.kube.errors import ApiError, ConfigError, Expired, KubeError, NotFound, Unauthorized
from spacelift_aws_cli.kube.resources import Resource
from spacelift_aws_cli.model.objects import Object

if TYPE_CHECKING:
    from spacelift_aws_cli.kube.client import Client

PATIENCE = 600.0
"""Seconds for which an API server may be away."""
PAUSES = (0.2, 0.5, 1.0, 2.0)
POLL = 1.0
"""Seconds between two looks at an object that may be read but not watched, or not yet."""


class Gone(UserError):
    """The object was deleted."""


def versions(
    client: "Client",
    resource: Resource,
    namespace: str,
    name: str,
    *,
    say: Callable[[str], None],
    timeout: float | None = None,
) -> Iterator[Object]:
    """The object now and after each change. Raises Gone, UserError after `timeout` seconds, and what stays refused.

    `say` hears once that the API server is away, and once that it is back.
    """
    deadline = time.monotonic() + timeout if timeout is not None else None
    away_since: float | None = None
    uid = version = ""
    tries = 0
    while True:
        _check(deadline, timeout)
        try:
            found = client.get(resource, namespace, name)
            if uid and uid != found["metadata"]["uid"]:
                raise Gone(f"{resource.word} {namespace}/{name} was deleted, and another one has its name.")
            if away_since is not None:
                say("The API server answers again.")
                away_since, tries = None, 0
            uid = found["metadata"]["uid"]
            if found["metadata"]["resourceVersion"] != version:
                version = found["metadata"]["resourceVersion"]
                yield found
            for changed in _changes(client, resource, found, deadline):
                version = changed["metadata"]["resourceVersion"]
                yield changed
        except NotFound as error:
            if not uid:
                raise
            raise Gone(f"{resource.word} {namespace}/{name} was deleted while it was waited for.") from error
        except KubeError as error:
            if not passes(error):
                raise
            if away_since is None:
                away_since = time.monotonic()
                say(f"{error} Trying again.")
            elif time.monotonic() - away_since > PATIENCE:
                raise
            time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1


def _changes(client: "Client", resource: Resource, found: Object, deadline: float | None) -> Iterator[Object]:
    """What a watch tells of the object, until the watch ends for whatever reason."""
    metadata = found["metadata"]
    left = None if deadline is None else max(1.0, deadline - time.monotonic())
    try:
        events = client.watch(
            resource,
            metadata["namespace"],
            metadata["resourceVersion"],
            {"fieldSelector": f"metadata.name={metadata['name']}"},
            within=left,
        )
        for event in events:
            if event["type"] == "DELETED":
                raise Gone(f"{resource.word} {metadata['namespace']}/{metadata['name']} was deleted meanwhile.")
            if event["type"] != "BOOKMARK":
                yield event["object"]
    except Expired:
        return
    except ApiError as error:
        # An API server that has just started answers with 429 until it can watch; it is not away.
        if error.status not in (403, 429):
            raise
        time.sleep(POLL)


def passes(error: KubeError) -> bool:
    """Whether waiting helps: the API server is away, overloaded, or has just come back and knows nobody yet."""
    if isinstance(error, ApiError):
        return error.status >= 500 or error.status == 429 or isinstance(error, Unauthorized)
    return not isinstance(error, ConfigError)


def _check(deadline: float | None, timeout: float | None) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        raise UserError(f"Not within {timeout:g} seconds (--timeout); nothing was stopped.", Exit.TIMED_OUT)
