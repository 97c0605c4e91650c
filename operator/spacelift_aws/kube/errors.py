"""What can go wrong when the API server is asked for something, by what the caller can do about it."""

from collections.abc import Mapping
from typing import Any


class KubeError(Exception):
    """Any failure of a call; `retry_after` is what the server asked for, in seconds."""

    retry_after: float | None = None


class Unanswered(KubeError):
    """No answer that can be relied on came: the call may or may not have been carried out."""


class NotNow(KubeError):
    """Certainly not carried out, for a reason that has nothing to do with what was asked: worth asking again later."""


class ApiError(KubeError):
    """The API server answered with a `Status` of failure.

    `message` is the server's sentence. It may quote what was sent, so it is scrubbed before it is shown
    wherever credentials were part of the request.
    """

    def __init__(
        self, status: int, reason: str, message: str, *, causes: tuple[str, ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after


class NotFound(ApiError):
    """404: no such object."""


class AlreadyExists(ApiError):
    """409 on a creation: the name is taken."""


class Conflict(ApiError):
    """409 on a change: the object is not the one that was decided on (resource version or UID)."""


class Invalid(ApiError):
    """422 or 400: no waiting makes this request acceptable."""


class Forbidden(ApiError):
    """403: authorization, admission (pod security, policies) or a quota."""


def api_error(status: int, body: Mapping[str, Any], retry_after: float | None) -> KubeError:
    """The exception for an answer of 400 or more.

    From 500 on the outcome is not known: a gateway or the server may give up on a call that was carried out. With 401
    (a token that has just expired) and 429 (priority and fairness) the server has not looked at the request at all.
    """
    reason = str(body.get("reason") or "")
    message = str(body.get("message") or "no explanation given")
    details = body.get("details") or {}
    causes = tuple(str(cause.get("reason") or "") for cause in details.get("causes") or ())
    if "request is too large" in message:
        # etcd's limit of 1.5 MiB an object, which the API server passes on as a failure of its own.
        return Invalid(status, reason, message, causes=causes)
    if status >= 500 or status in (401, 429):
        passing = (Unanswered if status >= 500 else NotNow)(f"the API server answered {status} {reason}".rstrip())
        passing.retry_after = retry_after
        return passing
    kind: type[ApiError] = {404: NotFound, 403: Forbidden, 422: Invalid, 400: Invalid, 413: Invalid}.get(
        status, ApiError
    )
    if status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
    return kind(status, reason, message, causes=causes, retry_after=retry_after)
