"""The parts of the story that need no cluster."""

import datetime as dt

import yaml

from sandbox.audit import AuditEvent
from sandbox.demo import resources, sights
from sandbox.stage import Stage

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def event(second: float, verb: str, resource: str, name: str, subresource: str = "", code: int = 200) -> AuditEvent:
    received = NOON + dt.timedelta(seconds=second)
    return AuditEvent(
        user=sights.CONTROLLER,
        verb=verb,
        api_group="",
        resource=resource,
        subresource=subresource,
        namespace="payments",
        name=name,
        code=code,
        uri="",
        received=received,
        completed=received + dt.timedelta(milliseconds=5),
        raw={},
    )


CREATED = event(0, "create", "secrets", "aws-run-1", code=201)
RUNS = event(1, "patch", "runs", "one", "status")
DELETED = event(2, "delete", "secrets", "aws-run-1")
ENDED = event(3, "patch", "runs", "one", "status")


def test_a_deletion_answered_before_the_last_word_on_the_run_is_in_order() -> None:
    assert sights.deleted_before_the_end([CREATED, RUNS, DELETED, ENDED])
    assert (
        sights.order_of([CREATED, RUNS, DELETED, ENDED]) == "deleted at 12:00:02.005000, the end written 995.0 ms later"
    )


def test_an_end_written_before_the_deletion_is_not() -> None:
    assert not sights.deleted_before_the_end([CREATED, RUNS, ENDED, event(4, "delete", "secrets", "aws-run-1")])


def test_an_end_sent_while_the_deletion_was_under_way_is_not() -> None:
    assert not sights.deleted_before_the_end([DELETED, event(2.001, "patch", "runs", "one", "status")])


def test_a_deletion_that_was_refused_is_not() -> None:
    assert not sights.deleted_before_the_end([event(2, "delete", "secrets", "aws-run-1", code=403), ENDED])


def test_nothing_in_the_log_proves_nothing() -> None:
    assert not sights.deleted_before_the_end([])
    assert not sights.deleted_before_the_end([ENDED])


def test_only_the_controllers_writes_to_one_run_count() -> None:
    others = [
        event(1, "patch", "runs", "two", "status"),
        event(1, "get", "runs", "one"),
        event(1, "create", "events", "one.1"),
        event(1, "delete", "secrets", "aws-run-2"),
    ]
    assert sights.written([CREATED, *others, DELETED, ENDED], "one", "aws-run-1") == [CREATED, DELETED, ENDED]


def test_a_run_is_written_as_yaml_that_says_what_was_meant() -> None:
    stage = Stage.__new__(Stage)
    stage.image = "registry.example/aws"
    stage.variables = {"AWS_ENDPOINT_URL": "http://10.0.0.1:4566"}
    [container] = yaml.safe_load(resources.run(stage, "long", resources.LONG_WORK))["spec"]["template"]["spec"][
        "containers"
    ]
    assert container == {
        "name": "main",
        "image": "registry.example/aws",
        "env": [{"name": "AWS_ENDPOINT_URL", "value": "http://10.0.0.1:4566"}],
        "command": ["sh", "-c", resources.LONG_WORK],
    }
