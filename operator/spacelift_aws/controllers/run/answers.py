"""What each class of answer means to the executor, for each call that it makes: one table.

How long a wait lasts is in `Limits` and `progress`; a wait always has a sentence in the Run's status or in an Event.
"""

from collections.abc import Mapping
from enum import StrEnum

from spacelift_aws.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    KubeError,
    NotFound,
    NotNow,
)


class Call(StrEnum):
    """A call of the API server."""

    CREATE_SECRET = "create secret"  # noqa: S105 - a call
    DELETE_SECRET = "delete secret"  # noqa: S105 - a call
    CREATE_POD = "create pod"
    GET_POD = "get pod"
    DELETE_POD = "delete pod"
    WRITE_STATUS = "write status"
    GET_RUN = "get run"
    DELETE_RUN = "delete run"


class AnswerClass(StrEnum):
    """What the API server answered, by what its fields say."""

    INVALID = "invalid"
    """The API server's own validation names fields, cannot decode the object, or finds it too large."""
    DENIED = "denied"
    """Admission: a policy, Pod Security, a webhook."""
    LACKING = "lacking"
    """Something is missing that may come: room in a quota, a service account, a permission."""
    EXISTS = "exists"
    CONFLICT = "conflict"
    NOT_FOUND = "not found"
    NOT_NOW = "not now"
    """Certainly not carried out: 401, 429, or no connection."""
    UNANSWERED = "unanswered"
    """5xx, or no answer: it may have been carried out."""


class Meaning(StrEnum):
    """What the executor does about an answer."""

    FINAL = "final"
    """No waiting heals it: the Run fails with the sentence."""
    FOR_A_WHILE = "for a while"
    """Tried again with growing delays for `Limits.denied`, then final."""
    WAIT = "wait"
    """Tried again with growing delays and without an end but the Run's deadlines; the sentence is in the status."""
    TELL = "tell"
    """Tried again with growing delays; an Event says so, because the status cannot or may not change."""
    LOOK = "look"
    """Decided anew on the object as it is now."""
    DONE = "done"
    """What was wanted is so already."""


_RETRIED = dict.fromkeys(AnswerClass, Meaning.WAIT)
_TOLD = dict.fromkeys(AnswerClass, Meaning.TELL)

MEANINGS: Mapping[Call, Mapping[AnswerClass, Meaning]] = {
    Call.CREATE_SECRET: {**_RETRIED, AnswerClass.EXISTS: Meaning.LOOK},
    Call.DELETE_SECRET: {**_RETRIED, AnswerClass.NOT_FOUND: Meaning.DONE},
    Call.CREATE_POD: {
        **_RETRIED,
        AnswerClass.INVALID: Meaning.FINAL,
        AnswerClass.DENIED: Meaning.FOR_A_WHILE,
        AnswerClass.NOT_FOUND: Meaning.FOR_A_WHILE,
        AnswerClass.CONFLICT: Meaning.FOR_A_WHILE,
        AnswerClass.EXISTS: Meaning.LOOK,
    },
    Call.GET_POD: {**_TOLD, AnswerClass.NOT_FOUND: Meaning.DONE},
    Call.DELETE_POD: {**_RETRIED, AnswerClass.NOT_FOUND: Meaning.DONE, AnswerClass.CONFLICT: Meaning.LOOK},
    Call.WRITE_STATUS: {
        **_TOLD,
        AnswerClass.CONFLICT: Meaning.LOOK,
        AnswerClass.INVALID: Meaning.LOOK,
        AnswerClass.NOT_FOUND: Meaning.DONE,
    },
    Call.GET_RUN: {**_TOLD, AnswerClass.NOT_FOUND: Meaning.DONE},
    Call.DELETE_RUN: {**_TOLD, AnswerClass.NOT_FOUND: Meaning.DONE, AnswerClass.CONFLICT: Meaning.LOOK},
}
"""A refusal of the call that tells of it in turn (a status, an Event) is in the log."""

_LACKING = ("exceeded quota", "error looking up service account", "cannot create resource", "being terminated")
"""The API server has only words to tell these from a denial, which is a 403 with the same fields."""


def class_of(error: KubeError) -> AnswerClass:
    """The class of an answer."""
    match error:
        case AlreadyExists():
            return AnswerClass.EXISTS
        case Conflict():
            return AnswerClass.CONFLICT
        case NotFound():
            return AnswerClass.NOT_FOUND
        case ApiError() if error.by_validation:
            return AnswerClass.INVALID
        case Forbidden() if any(words in error.message for words in _LACKING):
            return AnswerClass.LACKING
        case ApiError():
            return AnswerClass.DENIED
        case NotNow():
            return AnswerClass.NOT_NOW
        case _:
            return AnswerClass.UNANSWERED


def meaning_of(call: Call, error: KubeError) -> Meaning:
    """What to do about the answer to a call."""
    return MEANINGS[call][class_of(error)]
