"""What the journal makes of each step: the audit trail's lines and the metrics."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from spacelift_aws import metrics
from spacelift_aws.api.reasons import SucceededReason
from spacelift_aws.api.run import Phase
from spacelift_aws.audit import AuditTrail
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.sts import Session
from spacelift_aws.controllers.run import status
from spacelift_aws.controllers.run.journal import Journal, policies_digest
from spacelift_aws.controllers.run.state import Progress, SecretState


class Trail:
    """A journal, and the lines it has written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.journal = Journal(AuditTrail(self.stream), "controller")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def trail() -> Trail:
    for counter in (metrics.SESSIONS, metrics.RUNS_ENDED):
        counter.clear()
    return Trail()


def counted(metric: Any) -> dict[tuple[str, ...], float]:
    samples = [sample for family in metric.collect() for sample in family.samples]
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def observed(histogram: Any) -> float:
    """How many values it has."""
    return sum(float(s.value) for family in histogram.collect() for s in family.samples if s.name.endswith("_count"))


def session(kit: Any) -> Session:
    return Session(kit.credentials(), "arn:aws:sts::222222222222:assumed-role/role-1/x", "request-1", None)


def test_a_session_stands_in_the_trail_without_its_secrets(kit: Any, trail: Trail) -> None:
    seen = replace(kit.seen(), requested_by="jane@example.com")
    trail.journal.session_issued(seen, seen.grant.request, session(kit), seen.now)
    [line] = trail.lines
    assert {key: line[key] for key in ("event", "outcome", "namespace", "run", "runId", "requestedBy")} == {
        "event": "SessionIssued",
        "outcome": "Issued",
        "namespace": "team",
        "run": "plan",
        "runId": kit.run_id,
        "requestedBy": "jane@example.com",
    }
    assert (line["accessKeyId"], line["stsRequestId"], line["integration"]) == ("ASIAEXAMPLE", "request-1", "team/prod")
    for secret in ("secret-key", "session-token", "acme@team@prod"):
        assert secret not in trail.stream.getvalue()
    assert counted(metrics.SESSIONS) == {("team", "prod", "issue", "Issued"): 1}


def test_further_credentials_are_renewed(kit: Any, trail: Trail) -> None:
    seen = kit.seen(60, pod=kit.running())
    trail.journal.session_issued(seen, seen.grant.request, session(kit), seen.now)
    assert [line["event"] for line in trail.lines] == ["SessionRenewed"]
    assert counted(metrics.SESSIONS) == {("team", "prod", "renew", "Issued"): 1}


def test_a_refusal_stands_there_with_its_code_and_request(kit: Any, trail: Trail) -> None:
    seen = kit.seen()
    error = StsError(Failure.ACCESS_DENIED, "AccessDenied", "no", "request-2")
    trail.journal.session_refused(seen, seen.grant.request, error, seen.now)
    [line] = trail.lines
    assert (line["event"], line["outcome"], line["stsRequestId"]) == ("SessionRefused", "AccessDenied", "request-2")
    assert "accessKeyId" not in line


def test_an_end_is_in_the_trail_before_it_is_written_and_once(kit: Any, trail: Trail) -> None:
    seen = replace(kit.seen(61, pod=kit.ended()), stopped_by="joe")
    end = status.terminal(seen, status.End(Phase.FINISHED, SucceededReason.FINISHED, "ok", 0))
    trail.journal.writes(seen, end)
    trail.journal.writes(seen, end)  # after a conflict the same end is written again
    [line] = trail.lines
    assert (line["event"], line["outcome"], line["phase"], line["exitCode"]) == ("RunEnded", "Finished", "Finished", 0)
    assert line["stoppedBy"] == "joe"
    assert counted(metrics.RUNS_ENDED) == {}
    trail.journal.wrote(seen, end)
    assert counted(metrics.RUNS_ENDED) == {("team", "prod", "Task", "Finished"): 1}


def test_another_end_than_the_one_told_is_told_too(kit: Any, trail: Trail) -> None:
    seen = kit.seen(61, pod=kit.ended())
    for phase, reason in ((Phase.FINISHED, SucceededReason.FINISHED), (Phase.STOPPED, SucceededReason.STOPPED)):
        trail.journal.writes(seen, status.terminal(seen, status.End(phase, reason, "")))
    assert [line["outcome"] for line in trail.lines] == ["Finished", "Stopped"]


def test_a_status_that_is_no_end_is_none_in_the_trail(kit: Any, trail: Trail) -> None:
    seen = kit.seen(2, pod=kit.running())
    trail.journal.writes(seen, status.with_pod(seen, kit.running(), None))
    assert trail.lines == []


def test_a_made_up_integration_is_no_label(kit: Any, trail: Trail) -> None:
    seen = kit.seen(61, grant=kit.refusal())
    end = status.terminal(seen, status.End(Phase.FAILED, SucceededReason.STARTING_DEADLINE_EXCEEDED, ""))
    trail.journal.wrote(seen, end)
    assert counted(metrics.RUNS_ENDED) == {("team", "", "Task", "StartingDeadlineExceeded"): 1}


def test_the_times_of_a_run_are_measured_once(kit: Any, trail: Trail) -> None:
    histograms = (metrics.RUN_CREDENTIALS, metrics.RUN_POD, metrics.RUN_START, metrics.SECRET_DELETION)
    before = [observed(histogram) for histogram in histograms]
    seen = kit.seen(1)
    trail.journal.secret_created(seen, kit.at(1))
    trail.journal.pod_created(seen, kit.at(1))
    running = kit.seen(2, pod=kit.running())
    trail.journal.wrote(running, status.with_pod(running, kit.running(), None))
    trail.journal.secret_created(running, kit.at(900))  # a renewal
    ended = kit.seen(61, pod=kit.ended())
    trail.journal.secret_deleted(ended, kit.at(61))
    trail.journal.secret_deleted(replace(ended, progress=Progress(secret=SecretState.GONE)), kit.at(66))
    assert [observed(histogram) - old for histogram, old in zip(histograms, before, strict=True)] == [1, 1, 1, 1]


def test_the_digest_tells_one_set_of_policies_from_another(kit: Any) -> None:
    request = kit.grant().request
    assert policies_digest(request) is None
    one, other = (replace(request, session_policy_arns=arns) for arns in (("a", "b"), ("a",)))
    assert policies_digest(one) == policies_digest(replace(request, session_policy_arns=("b", "a")))
    assert policies_digest(one) != policies_digest(other)
