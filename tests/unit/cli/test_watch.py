"""Following objects over an API server that goes away and comes back."""

from collections.abc import Iterator
from typing import Any

import pytest

from spacelift_aws_cli.following import collection, watch
from spacelift_aws_cli.kube.errors import Unreachable, api_error
from spacelift_aws_cli.kube.resources import RUN

PATH = "/apis/aws.spacelift.io/v1beta1/namespaces/payments/runs"


def version(number: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "payments", "name": "plan", "uid": "1", "resourceVersion": str(number)}}


class Client:
    """Answers GETs and watches with what it was given, one after the other; an exception is raised."""

    def __init__(self, gets: list[Any], watches: list[Any]) -> None:
        self._gets, self._watches = iter(gets), iter(watches)

    def get(self, *_: object) -> Any:
        return _answer(next(self._gets))

    def page_through(self, *_: object, **_named: object) -> Any:
        listed = _answer(next(self._gets))
        return [listed], listed["metadata"]["resourceVersion"]

    def watch(self, *_: object, **_named: object) -> Iterator[Any]:
        yield from _answer(next(self._watches))


def _answer(given: Any) -> Any:
    if isinstance(given, Exception):
        raise given
    return given


def test_an_api_server_that_answers_before_it_can_watch_is_back_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    initializing = api_error(429, {"message": "storage is (re)initializing", "reason": "TooManyRequests"}, PATH)
    event = {"type": "MODIFIED", "object": version(3)}
    client = Client(
        gets=[
            version(1),
            Unreachable("It cannot be reached."),
            Unreachable("It cannot be reached."),
            *[version(2)] * 3,
        ],
        watches=[[], initializing, initializing, [event]],
    )
    said: list[str] = []
    found = watch.versions(client, RUN, "payments", "plan", say=said.append)  # type: ignore[arg-type]
    assert [next(found)["metadata"]["resourceVersion"] for _ in range(3)] == ["1", "2", "3"]
    assert said == ["It cannot be reached. Trying again.", "The API server answers again."]


def test_a_table_says_once_that_the_api_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    initializing = api_error(429, {"message": "storage is (re)initializing", "reason": "TooManyRequests"}, PATH)
    expired = api_error(410, {"message": "too old resource version", "reason": "Expired"}, PATH)
    client = Client(
        gets=[version(1), Unreachable("It cannot be reached."), *[version(2)] * 3],
        watches=[expired, initializing, initializing, [{"type": "MODIFIED", "object": version(3)}]],
    )
    said: list[str] = []
    found = collection.changes(client, RUN, "payments", say=said.append)  # type: ignore[arg-type]
    assert [next(found)[1][0]["metadata"]["resourceVersion"] for _ in range(3)] == ["1", "2", "3"]
    assert said == ["It cannot be reached. Trying again."]
