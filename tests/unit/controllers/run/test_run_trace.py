"""Which spans a Run leaves."""

from dataclasses import replace
from typing import Any

import pytest

from spacelift_aws.api.reasons import CredentialsIssuedReason, SucceededReason
from spacelift_aws.api.run import Phase
from spacelift_aws.controllers.run import status
from spacelift_aws.controllers.run.run_trace import RunTraces
from spacelift_aws.tracing import Place, Span, place_of

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Kept:
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def place(self, run_id: str, traceparent: str | None) -> Place:
        return place_of(run_id, traceparent)

    def emit(self, span: Span) -> None:
        self.spans.append(span)

    def close(self) -> None: ...

    def shown(self, kit: Any) -> list[tuple[str, float, float]]:
        return [
            (span.name, (span.start - kit.start).total_seconds(), (span.end - kit.start).total_seconds())
            for span in self.spans
        ]


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_a_run_from_its_creation_to_its_end(kit: Any, kept: Kept) -> None:
    traces = RunTraces(kept)
    waiting = kit.seen(2)
    traces.waits(waiting, status.waiting(waiting, CredentialsIssuedReason.INTEGRATION_NOT_READY, "It is not ready."))
    seen = kit.seen(5)
    traces.asked(seen, kit.at(5))
    traces.step(seen, "sts", kit.at(6))
    traces.step(seen, "secret", kit.at(7))
    running = kit.seen(9, pod=kit.running())
    traces.started(running, kit.at(8))
    ended = replace(kit.seen(62, pod=kit.ended()), run=kit.run(status={"startedAt": kit.time(8)}))
    end = status.End(Phase.FINISHED, SucceededReason.FINISHED, "ok", 0, kit.at(60))
    traces.ended(ended, status.terminal(ended, end))
    assert kept.shown(kit) == [
        ("queued", 0, 2),
        ("trust", 2, 5),
        ("sts", 5, 6),
        ("secret", 6, 7),
        ("pod", 7, 8),
        ("running", 8, 60),
        ("end", 60, 62),
        ("Run plan", 0, 62),
    ]
    assert [span.whole for span in kept.spans] == [False] * 7 + [True]
    assert traces._since == {}


def test_after_a_restart_the_whole_is_there_all_the_same(kit: Any, kept: Kept) -> None:
    ended = replace(kit.seen(62, pod=kit.ended()), run=kit.run(status={"startedAt": kit.time(8)}))
    end = status.End(Phase.FAILED, SucceededReason.CONTAINER_FAILED, "no", 1, kit.at(60))
    RunTraces(kept).ended(ended, status.terminal(ended, end))
    assert kept.shown(kit) == [("running", 8, 60), ("end", 60, 62), ("Run plan", 0, 62)]
    assert kept.spans[-1].failed


def test_a_renewal_is_a_step_and_no_second_queue(kit: Any, kept: Kept) -> None:
    traces = RunTraces(kept)
    seen = kit.seen(450, pod=kit.running())
    traces.asked(seen, kit.at(450))
    traces.step(seen, "sts", kit.at(451), failed=True)
    assert kept.shown(kit) == [("sts", 450, 451)]
    assert kept.spans[0].failed


def test_no_span_holds_a_secret(kit: Any, kept: Kept) -> None:
    traces = RunTraces(kept)
    seen = replace(kit.seen(5), requested_by="jane@example.com")
    traces.asked(seen, kit.at(5))
    assert set(kept.spans[0].attributes.values()) == {
        "team", "plan", kit.run_id, "Task", "team/prod", "jane@example.com",
    }  # fmt: skip


def test_the_pod_goes_on_under_its_runs_span(kit: Any, kept: Kept) -> None:
    run = kit.run(metadata={"annotations": {"traceparent": GIVEN}})
    told = RunTraces(kept).variables(run, kit.run_id)["TRACEPARENT"]
    assert told == place_of(kit.run_id, GIVEN).traceparent
    assert told[:35] == GIVEN[:35]
    assert told != GIVEN


@pytest.mark.parametrize(("given", "told"), [(GIVEN, {"TRACEPARENT": GIVEN}), ("$(evil)", {}), (None, {})])
def test_off_nothing_is_remembered_and_what_is_given_is_passed_on(
    kit: Any, given: str | None, told: dict[str, str]
) -> None:
    traces = RunTraces(None)
    run = kit.run(metadata={"annotations": {"traceparent": given} if given else {}})
    assert traces.variables(run, kit.run_id) == told
    seen = kit.seen(5)
    traces.asked(seen, kit.at(5))
    traces.step(seen, "sts", kit.at(6))
    assert traces._since == {}
