"""How lines look, and that none is repeated more than once a minute."""

import json
import logging

import pytest

from spacelift_aws import logs
from spacelift_aws.logs import JsonFormatter, OnceAMinute, PlainFormatter, about


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("operator", logging.INFO, "", 0, message, args, None)
    for name, value in extra.items():
        setattr(made, name, value)
    return made


ABOUT = about(namespace="team", run="plan", run_id="01X", integration="team/prod")


def test_json_has_what_a_line_is_about_as_fields() -> None:
    line = json.loads(JsonFormatter().format(record("pod created", **ABOUT)))
    assert {key: line[key] for key in ("message", "namespace", "run", "run_id", "integration")} == {
        "message": "pod created",
        "namespace": "team",
        "run": "plan",
        "run_id": "01X",
        "integration": "team/prod",
    }


def test_on_a_terminal_it_stands_at_the_end() -> None:
    line = PlainFormatter().format(record("pod created", **ABOUT))
    assert line.endswith("operator: pod created namespace=team run=plan run_id=01X integration=team/prod")
    assert PlainFormatter().format(record("ready")).endswith("operator: ready")


@pytest.mark.parametrize(
    ("form", "inside", "json_"), [("auto", True, True), ("auto", False, False), ("plain", True, False)]
)
def test_a_cluster_gets_json_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, form: str, inside: bool, json_: bool
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if inside:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert logs._is_json(form) is json_


def test_a_line_is_written_once_a_minute_and_says_how_often_it_was_not() -> None:
    now = [0.0]
    once = OnceAMinute(lambda: now[0])
    # The delay makes no other line of it, the key does.
    assert [once.filter(record("%s again in %.1f s", "a", delay)) for delay in (1.0, 2.0, 4.0)] == [True, False, False]
    assert once.filter(record("%s again in %.1f s", "b", 1.0))
    assert once.filter(record("%s again in %.1f s", "a", 1.0, **ABOUT))
    now[0] = 60.0
    repeated = record("%s again in %.1f s", "a", 8.0)
    assert once.filter(repeated)
    assert repeated.getMessage() == "a again in 8.0 s (2 times more since)"
    now[0] = 120.0
    alone = record("%s again in %.1f s", "a", 8.0)
    assert once.filter(alone)
    assert alone.getMessage() == "a again in 8.0 s"


def test_lines_without_end_cost_no_memory() -> None:
    once = OnceAMinute()
    for number in range(logs.REMEMBERED + 50):
        once.filter(record("%s", str(number)))
    assert len(once._written) == logs.REMEMBERED
