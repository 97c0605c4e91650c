"""What is left of what an executor remembers when the clock was set."""

from datetime import UTC, datetime, timedelta

import pytest

from spacelift_aws.api.reasons import CredentialsIssuedReason
from spacelift_aws.controllers.run.progress import SECRET_GONE, ProgressStore
from spacelift_aws.controllers.run.state import Progress, RetryableFailure, SecretState

BEFORE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW = BEFORE + timedelta(minutes=10)
WAITS = RetryableFailure(CredentialsIssuedReason.RETRYING, "exceeded quota", BEFORE + timedelta(hours=1))


def after_the_jump(known: Progress) -> Progress:
    store = ProgressStore()
    store.put("run", known)
    store.distrust_moments(NOW)
    return store.of("run")


@pytest.mark.parametrize("secret", SecretState)
def test_nothing_waits_and_nothing_has_been_refused_for_long(secret: SecretState) -> None:
    known = Progress(
        secret=secret,
        retryable_failure=WAITS,
        pod_kept=WAITS,
        pod_denied_since=BEFORE,
        denied_since=BEFORE,
        undone_since=BEFORE,
    )
    assert after_the_jump(known) == Progress(secret=secret)


def test_what_is_in_doubt_is_so_from_now_on() -> None:
    known = Progress(secret=SecretState.GONE, unanswered_at=BEFORE, deleted_at=BEFORE)
    assert after_the_jump(known) == Progress(secret=SecretState.GONE, unanswered_at=NOW)


@pytest.mark.parametrize("known", [SECRET_GONE, Progress(secret=SecretState.GONE, deleted_at=BEFORE), Progress()])
def test_what_is_certain_stays_certain(known: Progress) -> None:
    assert after_the_jump(known) == known


def test_when_a_session_ends_is_not_forgotten() -> None:
    known = Progress(secret=SecretState.PRESENT, issued_at=BEFORE, expires_at=BEFORE + timedelta(hours=1))
    assert after_the_jump(known) == Progress(secret=SecretState.PRESENT, expires_at=BEFORE + timedelta(hours=1))
