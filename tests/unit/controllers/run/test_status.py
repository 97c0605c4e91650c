"""What a person reads of a Run, and which Events tell of its change."""

from dataclasses import replace
from typing import Any

import pytest

from spacelift_aws.api.patch import status_patch, wire
from spacelift_aws.api.reasons import CredentialsIssuedReason, SucceededReason
from spacelift_aws.api.run import Phase, RunStatus
from spacelift_aws.controllers.run import status
from spacelift_aws.controllers.run.state import Progress, SecretState
from spacelift_aws.controllers.run.status import End

RETRYING = CredentialsIssuedReason.RETRYING
FAILED = End(Phase.FAILED, SucceededReason.CONTAINER_FAILED, "It failed.", 3)


def progress(kit: Any) -> Progress:
    return Progress(SecretState.PRESENT, issued_at=kit.at(1), expires_at=kit.at(3601), access_key_id="ASIAEXAMPLE")


def running(kit: Any) -> RunStatus:
    return status.with_pod(kit.seen(3, pod=kit.running(), progress=progress(kit)), kit.running(), None)


def told(before: RunStatus, after: RunStatus, warning: str | None = None) -> list[tuple[str, str]]:
    return [(event.type, event.reason) for event in status.events(before, after, warning)]


def test_a_run_that_runs_shows_who_it_is_to_aws(kit: Any) -> None:
    shown = wire(running(kit))
    assert shown["phase"] == "Running"
    assert shown["podName"] == shown["secretName"] == kit.name
    assert shown["roleArn"] == kit.role
    assert shown["assumedRoleArn"] == f"arn:aws:sts::222222222222:assumed-role/role-1/{kit.run_id}"
    assert shown["credentialsExpireAt"] == kit.time(3601)
    assert shown["startedAt"] == kit.time(2)
    assert kit.run_id in shown["cloudTrailUrl"]


def test_the_access_key_id_is_told_where_it_is_known_and_nothing_secret_ever(kit: Any) -> None:
    message = running(kit).condition("CredentialsIssued").message  # type: ignore[union-attr]
    assert "ASIAEXAMPLE" in message
    after_a_restart = status.with_pod(kit.seen(3, pod=kit.running()), kit.running(), None)
    assert "access key" not in after_a_restart.condition("CredentialsIssued").message  # type: ignore[union-attr]


def test_a_status_that_was_read_back_is_the_same(kit: Any) -> None:
    """Otherwise it would be written again and again."""
    for first in (
        running(kit),
        status.waiting(kit.seen(), RETRYING, "later"),
        status.terminal(kit.seen(3.7, pod=kit.ended(), progress=progress(kit)), FAILED),
    ):
        assert RunStatus.model_validate(wire(first)) == first


def test_what_a_dead_controller_has_told_is_not_told_again(kit: Any) -> None:
    run = kit.run(status=wire(running(kit)))
    again = status.with_pod(kit.seen(60, run=run, pod=kit.running()), kit.running(), None)
    assert status_patch(run.status, again) == {}


def test_a_forged_role_and_name_are_computed_anew(kit: Any) -> None:
    run = kit.run(status={"phase": "Running", "roleArn": "x", "secretName": "other", "runId": "other"})
    found = status.with_pod(kit.seen(run=run, pod=kit.running(), progress=progress(kit)), kit.running(), None)
    assert (found.role_arn, found.secret_name, found.run_id) == (kit.role, kit.name, kit.run_id)


def test_an_end_before_any_credentials(kit: Any) -> None:
    found = status.terminal(kit.seen(), replace(FAILED, exit_code=None))
    assert found.condition("CredentialsIssued").reason == "NotNeeded"  # type: ignore[union-attr]
    waited = kit.run(status=wire(status.waiting(kit.seen(), RETRYING, "later")))
    found = status.terminal(kit.seen(run=waited), replace(FAILED, exit_code=None))
    assert found.condition("CredentialsIssued").reason == "Retrying", "the reason it waited for stays"  # type: ignore[union-attr]


def test_a_pod_that_never_started_has_no_start(kit: Any) -> None:
    pod = kit.pod({"phase": "Failed", "reason": "Evicted", "startTime": kit.time(1)})
    assert status.terminal(kit.seen(9, pod=pod, progress=progress(kit)), FAILED).started_at is None


@pytest.mark.parametrize("length", [8192, 100_000])
def test_no_message_is_longer_than_the_api_server_takes(kit: Any, length: int) -> None:
    text = "x" * length
    for found in (
        status.waiting(kit.seen(), RETRYING, text),
        status.with_pod(kit.seen(pod=kit.pod(), progress=progress(kit)), kit.pod(), text),
        status.terminal(kit.seen(), replace(FAILED, message=text)),
    ):
        assert len(found.message or "") <= 8192
        assert all(len(condition.message) <= 8192 for condition in found.conditions)


def test_two_events_on_the_good_path(kit: Any) -> None:
    """Besides one that its logs are not masked, which a Run's end does not repeat."""
    done = End(Phase.FINISHED, SucceededReason.FINISHED, "Done.", 0)
    first = running(kit)
    run = kit.run(status=wire(first))
    last = status.terminal(kit.seen(70, run=run, pod=kit.ended(), progress=progress(kit)), done)
    assert told(RunStatus(), first) == [("Normal", "CredentialsIssued"), ("Warning", "NoHelper")]
    assert told(first, last) == [("Normal", "Finished")]
    at_once = status.terminal(kit.seen(70, pod=kit.ended(), progress=progress(kit)), done)
    assert told(RunStatus(), at_once) == [("Normal", "CredentialsIssued"), ("Normal", "Finished")]


def test_troubles_are_told_once_each(kit: Any) -> None:
    waiting = status.waiting(kit.seen(), RETRYING, "later")
    assert told(RunStatus(), waiting) == [("Warning", "Retrying"), ("Warning", "NoHelper")]
    assert told(waiting, waiting) == []
    first = running(kit)
    trouble = first.model_copy(update={"message": "no image"})
    assert told(first, trouble, "PodNotReady") == [("Warning", "PodNotReady")]
    assert told(trouble, trouble, "PodNotReady") == []
    assert told(first, first.model_copy(update={"message": "Stopping."})) == [], "who stopped it knows"
    failed = status.terminal(kit.seen(70, run=kit.run(status=wire(first)), pod=kit.ended(3)), FAILED)
    assert told(first, failed) == [("Warning", "ContainerFailed")]
