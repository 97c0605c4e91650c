"""What is done next for a Job, by what its status and its Run say."""

from typing import Any

import pytest

from spacelift_aws.controllers.job import decide as decisions
from spacelift_aws.controllers.job.decide import (
    CreateRun,
    DeleteRunOfJob,
    LookForRun,
    StopRun,
    Tell,
    WriteJobStatus,
    decide,
)
from spacelift_aws.controllers.job.view import INTEGRATION, parse_job

BEGUN = {"startTime": "2026-01-02T03:04:06Z", "active": 1}


def written(decision: decisions.JobDecision) -> dict[str, Any]:
    """What the one status write of a decision contains."""
    (write,) = [action for action in decision.actions if isinstance(action, WriteJobStatus)]
    return dict(write.patch)


def conditions(patch: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in patch["conditions"]}


def test_a_job_gets_a_run(kit: Any) -> None:
    assert decide(kit.seen()).actions == (CreateRun(),)


def test_a_run_that_is_there_is_shown_as_active_once(kit: Any) -> None:
    first = decide(kit.seen(run=kit.run()))
    assert written(first) == {"startTime": kit.time(2), "active": 1}
    assert decide(kit.seen(kit.job(status=BEGUN), kit.run())).actions == ()


def test_a_running_run_makes_its_job_ready(kit: Any) -> None:
    assert written(decide(kit.seen(kit.job(status=BEGUN), kit.run("Running")))) == {"ready": 1}


def test_what_a_run_waits_for_reaches_the_job_and_an_event(kit: Any) -> None:
    waits = kit.condition("CredentialsIssued", "False", "IntegrationNotReady", "not ready")
    decision = decide(kit.seen(kit.job(status=BEGUN), kit.run(conditions=[waits])))
    (write,) = decision.actions
    assert isinstance(write, WriteJobStatus)
    assert write.event == ("Warning", "IntegrationNotReady", "not ready")
    assert conditions(written(decision)) == {"aws.spacelift.io/CredentialsIssued": ("False", "IntegrationNotReady")}
    after = kit.job(status={**BEGUN, **write.patch})
    assert decide(kit.seen(after, kit.run(conditions=[waits]))).actions == ()
    issued = kit.condition("CredentialsIssued", "True", "Issued")
    decision = decide(kit.seen(after, kit.run(conditions=[issued])))
    assert conditions(written(decision)) == {"aws.spacelift.io/CredentialsIssued": ("True", "Issued")}
    assert decide(kit.seen(kit.job(status=BEGUN), kit.run(conditions=[issued]))).actions == ()


def test_a_finished_run_completes_its_job(kit: Any) -> None:
    patch = written(decide(kit.seen(kit.job(status={**BEGUN, "ready": 1}), kit.run("Finished"), seconds=9)))
    assert (patch["succeeded"], patch["active"], patch["ready"], patch["completionTime"]) == (1, 0, 0, kit.time(9))
    assert list(conditions(patch)) == ["SuccessCriteriaMet", "Complete"]


@pytest.mark.parametrize(
    ("phase", "reason", "pod", "failed"),
    [
        ("Failed", "OOMKilled", "aws-run-x", 1),
        ("Stopped", "Stopped", "aws-run-x", 1),
        ("Failed", "TemplateRefused", None, 0),
    ],
)
def test_a_run_without_success_fails_its_job_with_the_runs_reason(
    kit: Any, phase: str, reason: str, pod: str | None, failed: int
) -> None:
    told = kit.condition("Succeeded", "False", reason)
    run = kit.run(phase, conditions=[told], podName=pod, message="why")
    decision = decide(kit.seen(kit.job(status=BEGUN), run))
    patch = written(decision)
    assert conditions(patch) == {"FailureTarget": ("True", reason), "Failed": ("True", reason)}
    assert (patch.get("failed", 0), patch["active"]) == (failed, 0)
    assert "completionTime" not in patch
    (write,) = decision.actions
    assert isinstance(write, WriteJobStatus)
    assert write.event == ("Warning", reason, "Run drift: why")


def test_a_job_that_has_ended_is_left_alone_and_nothing_goes_on_for_it(kit: Any) -> None:
    for type_ in ("Complete", "Failed"):
        ended = kit.job(status={"conditions": [kit.condition(type_, "True", "x")]})
        for run in (None, kit.run("Finished"), kit.run("Running", stop=True), kit.run("Running", owner="another")):
            assert decide(kit.seen(ended, run)).actions == ()
        assert decide(kit.seen(ended, kit.run("Running"))).actions == (StopRun(),)


def test_the_deadline_stops_the_run_and_names_itself(kit: Any) -> None:
    job = kit.job(status=BEGUN, activeDeadlineSeconds=60)
    early = decide(kit.seen(job, kit.run(), seconds=60))
    assert (early.actions, early.again_at) == ((), kit.at(61))
    assert decide(kit.seen(job, kit.run(), seconds=61)).actions == (StopRun(),)
    assert decide(kit.seen(job, kit.run(stop=True), seconds=62)).actions == ()
    stopped = kit.run("Stopped", conditions=[kit.condition("Succeeded", "False", "Stopped")])
    assert conditions(written(decide(kit.seen(job, stopped, seconds=63))))["Failed"] == ("True", "DeadlineExceeded")
    assert conditions(written(decide(kit.seen(job, kit.run("Finished"), seconds=63))))["Complete"][0] == "True"


def test_a_run_that_vanished_is_looked_for_and_never_made_again(kit: Any) -> None:
    job = kit.job(status=BEGUN)
    assert decide(kit.seen(job)).actions == (LookForRun(),)
    patch = written(decide(kit.seen(job, run_missing=True)))
    assert conditions(patch)["Failed"] == ("True", "RunDeleted")
    # Only the start time counts, which nobody can take from a Job that is not suspended.
    assert decide(kit.seen(kit.job(status={"startTime": kit.time(1)}))).actions == (LookForRun(),)
    assert decide(kit.seen(kit.job(status={"active": 1}))).actions == (CreateRun(),)


def test_a_job_begun_suspended_has_no_run_until_it_is_resumed(kit: Any) -> None:
    patch = written(decide(kit.seen(kit.job(suspend=True))))
    assert conditions(patch) == {"Suspended": ("True", "JobSuspended")}
    assert decide(kit.seen(kit.job(status=patch, suspend=True))).actions == ()
    resumed = kit.job(status=patch)
    assert decide(kit.seen(resumed)).actions == (CreateRun(),)
    patch = written(decide(kit.seen(resumed, kit.run(), seconds=5)))
    assert (patch["startTime"], conditions(patch)) == (kit.time(5), {"Suspended": ("False", "JobResumed")})


def test_a_suspended_job_stops_its_run_and_another_follows(kit: Any) -> None:
    job = kit.job(status={**BEGUN, "ready": 1}, suspend=True)
    decision = decide(kit.seen(job, kit.run("Running")))
    assert decision.actions[-1] == StopRun()
    patch = written(decision)
    assert patch == {"active": 0, "ready": 0, "terminating": 1}
    status = {**BEGUN, **patch}
    assert decide(kit.seen(kit.job(status=status, suspend=True), kit.run("Running", stop=True))).actions == ()
    # Taken back meanwhile: what was told to end goes to its end, and is followed by another all the same.
    for suspend in (True, False):
        job = kit.job(status=status, suspend=suspend)
        assert decide(kit.seen(job, kit.run("Stopped", stop=True))).actions == (DeleteRunOfJob("run-uid"),)
    assert decide(kit.seen(kit.job(status=status))).actions == (CreateRun(),)
    # The Run that follows goes its way, and so does one that was not stopped yet.
    follows = decide(kit.seen(kit.job(status=status), kit.run("Running")))
    assert [type(action) for action in follows.actions] == [WriteJobStatus]
    assert written(follows) == {"active": 1, "ready": 1, "terminating": 0}
    patch = written(decide(kit.seen(kit.job(status=status, suspend=True))))
    assert (patch["startTime"], patch["terminating"]) == (None, 0)


def test_a_run_that_finished_while_it_was_suspended_counts(kit: Any) -> None:
    job = kit.job(status={**BEGUN, "active": 0, "terminating": 1}, suspend=True)
    assert conditions(written(decide(kit.seen(job, kit.run("Finished", stop=True)))))["Complete"][0] == "True"


def test_a_run_that_is_somebody_elses_is_not_touched(kit: Any) -> None:
    decision = decide(kit.seen(run=kit.run("Finished", owner="another")))
    (tell,) = decision.actions
    assert isinstance(tell, Tell)
    assert tell.reason == "RunNameTaken"


def test_a_job_from_before_creators_were_checked_is_not_executed(kit: Any) -> None:
    patch = written(decide(kit.seen(checked_since=kit.at(1))))
    assert conditions(patch)["Failed"] == ("True", "CreatorNotChecked")
    assert patch["startTime"] == kit.time(2)
    assert decide(kit.seen(checked_since=kit.at(0))).actions == (CreateRun(),)
    assert decide(kit.seen(kit.job(status=BEGUN), kit.run(), checked_since=kit.at(1))).actions == ()


def test_a_job_that_was_brought_back_is_not_executed(kit: Any) -> None:
    marked = {INTEGRATION: "prod", "aws.spacelift.io/ended": "before"}
    patch = written(decide(kit.seen(kit.job(annotations=marked))))
    assert conditions(patch)["Failed"] == ("True", "Restored")


def test_a_job_that_is_being_deleted_gets_nothing(kit: Any) -> None:
    body = kit.body()
    body["metadata"]["deletionTimestamp"] = kit.time(2)
    assert decide(kit.seen(parse_job(body))).actions == ()
