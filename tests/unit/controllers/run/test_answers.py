"""Every class of answer has a meaning for every call, read from the answer's fields."""

from typing import Any

import pytest

from spacelift_aws.controllers.run.answers import MEANINGS, AnswerClass, Call, Meaning, class_of, meaning_of
from spacelift_aws.kube.errors import NotNow, Unanswered, api_error


def answer(code: int, reason: str = "", message: str = "", causes: Any = ()) -> Any:
    return api_error(code, {"reason": reason, "message": message, "details": {"causes": list(causes)}}, None)


FIELD = {"reason": "FieldValueInvalid", "field": "spec.containers[0].image", "message": "no"}


def test_the_table_is_complete() -> None:
    assert set(MEANINGS) == set(Call)
    assert all(set(meanings) == set(AnswerClass) for meanings in MEANINGS.values())


@pytest.mark.parametrize(
    ("why", "error", "expected"),
    [
        ("validation names fields", answer(422, "Invalid", "no", [FIELD]), AnswerClass.INVALID),
        ("strict decoding", answer(400, "BadRequest", "strict decoding error"), AnswerClass.INVALID),
        ("etcd's limit", answer(500, "", "etcdserver: request is too large"), AnswerClass.INVALID),
        ("a policy's denial has the same code", answer(422, "Invalid", "no", [{"message": "no"}]), AnswerClass.DENIED),
        ("a webhook without a code", answer(400, "", 'webhook "w" denied the request'), AnswerClass.DENIED),
        ("a webhook with another code", answer(418, "", 'webhook "w" denied the request'), AnswerClass.DENIED),
        ("Pod Security", answer(403, "Forbidden", "violates PodSecurity"), AnswerClass.DENIED),
        ("a LimitRange", answer(403, "Forbidden", "minimum cpu usage per Container is 1"), AnswerClass.DENIED),
        ("a quota", answer(403, "Forbidden", "exceeded quota: q"), AnswerClass.LACKING),
        ("no service account", answer(403, "Forbidden", "error looking up service account a/b"), AnswerClass.LACKING),
        ("there already", answer(409, "AlreadyExists"), AnswerClass.EXISTS),
        ("changed", answer(409, "Conflict"), AnswerClass.CONFLICT),
        ("gone", answer(404, "NotFound"), AnswerClass.NOT_FOUND),
        ("too many", answer(429, "TooManyRequests"), AnswerClass.NOT_NOW),
        ("no connection", NotNow("no connection"), AnswerClass.NOT_NOW),
        ("a webhook is down", answer(500, "InternalError", "failed calling webhook"), AnswerClass.UNANSWERED),
        ("a timeout", Unanswered("timeout"), AnswerClass.UNANSWERED),
    ],
)
def test_an_answer_is_told_by_its_fields(why: str, error: Any, expected: AnswerClass) -> None:
    assert class_of(error) is expected, why


def test_only_what_is_invalid_fails_a_run_at_once() -> None:
    final = [(call, kind) for call in Call for kind in AnswerClass if MEANINGS[call][kind] is Meaning.FINAL]
    assert final == [(Call.CREATE_POD, AnswerClass.INVALID)]


def test_the_servers_sentence_is_told_but_is_no_part_of_the_log() -> None:
    error = answer(500, "InternalError", "failed calling webhook: quoted")
    assert error.message == "failed calling webhook: quoted"
    assert "quoted" not in str(error)
    assert meaning_of(Call.CREATE_POD, error) is Meaning.WAIT
