"""What can go wrong when the API server is asked for something, by what the caller can do about it."""

from collections.abc import Iterable, Mapping
from typing import Any


class KubeError(Exception):
    """Any failure of a call; `retry_after` is what the server asked for, in seconds."""

    retry_after: float | None = None

    @property
    def message(self) -> str:
        """What to tell a person. It may quote what was sent."""
        return str(self)


class _Passing(KubeError):
    def __init__(self, summary: str, said: str = "") -> None:
        """`said`: the server's own sentence, which is no part of `str()`: it may quote what was sent."""
        super().__init__(summary)
        self._said = said

    @property
    def message(self) -> str:
        return self._said or str(self)


class Unanswered(_Passing):
    """No answer that can be relied on came: the call may or may not have been carried out."""


class NotNow(_Passing):
    """Certainly not carried out, for a reason that has nothing to do with what was asked: worth asking again later."""


class ApiError(KubeError):
    """The API server answered with a `Status` of failure.

    `message` is the server's sentence. It may quote what was sent, so it is scrubbed before it is shown
    wherever credentials were part of the request.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        causes: tuple[str, ...] = (),
        retry_after: float | None = None,
        by_validation: bool = False,
    ) -> None:
        """`by_validation`: the API server itself finds the object invalid; no policy and no webhook does."""
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.causes = causes
        self.by_validation = by_validation
        self._said = message
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        return self._said


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
        return Invalid(status, reason, message, causes=causes, by_validation=True)
    if status >= 500 or status in (401, 429):
        passing = (Unanswered if status >= 500 else NotNow)(
            f"the API server answered {status} {reason}".rstrip(), str(body.get("message") or "")
        )
        passing.retry_after = retry_after
        return passing
    kind: type[ApiError] = {404: NotFound, 403: Forbidden, 422: Invalid, 400: Invalid, 413: Invalid}.get(
        status, ApiError
    )
    if status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
    invalid = _by_validation(status, reason, details.get("causes") or ())
    return kind(status, reason, message, causes=causes, retry_after=retry_after, by_validation=invalid)


def _by_validation(status: int, reason: str, causes: Iterable[Mapping[str, Any]]) -> bool:
    """Validation names the fields; a policy's denial with the same code has a cause without one, a webhook's has none.

    What cannot be decoded is a `BadRequest`; a webhook that gives no code denies with 400 and without that reason.
    """
    if status == 422:
        return any(cause.get("field") for cause in causes)
    return status == 413 or (status == 400 and reason == "BadRequest")
