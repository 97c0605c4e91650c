"""What this process remembers of the Runs that it works on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from spacelift_aws.api.reasons import CredentialsIssuedReason
from spacelift_aws.backoff import backoff
from spacelift_aws.controllers.run.state import Progress, RetryableFailure, SecretState

FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(minutes=2)

_NOTHING = Progress()

SECRET_GONE = Progress(secret=SecretState.GONE, deleted_at=datetime(9000, 1, 1, tzinfo=UTC))
"""Of a Run that has ended, and for which nothing is left to do."""


class ProgressStore:
    """What is remembered of each Run, by run ID."""

    def __init__(self) -> None:
        self._known: dict[str, Progress] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._known

    def of(self, run_id: str) -> Progress:
        """What is remembered of a Run; an empty one where that is nothing."""
        return self._known.get(run_id, _NOTHING)

    def put(self, run_id: str, progress: Progress) -> None:
        """Remember this of a Run from now on."""
        self._known[run_id] = progress

    def distrust_moments(self, now: datetime) -> None:
        """The clock was set: what waits is due, what was given time is given all of it, what is in doubt stays so.

        When sessions end is STS's word, and counts on.
        """
        for run_id, known in self._known.items():
            if known is not SECRET_GONE:
                self._known[run_id] = _without_moments(known, now)

    def forget(self, run_id: str) -> None:
        """Nothing of this Run matters any more."""
        self._known.pop(run_id, None)

    def failed(
        self,
        run_id: str,
        now: datetime,
        reason: CredentialsIssuedReason,
        message: str,
        retry_after: float | None = None,
    ) -> None:
        """A step failed: it is tried again after a delay that grows, and not sooner than the server says."""
        known = self.of(run_id)
        failure = RetryableFailure(reason, message, next_try(known.failures, now, retry_after))
        self.put(run_id, replace(known, failures=known.failures + 1, retryable_failure=failure))


def _without_moments(known: Progress, now: datetime) -> Progress:
    in_doubt = known.unanswered_at is not None
    certainly_gone = known.secret is SecretState.GONE and not in_doubt
    return replace(
        known,
        issued_at=None,
        deleted_at=known.deleted_at if certainly_gone else None,
        unanswered_at=now if in_doubt else None,
        failures=0,
        retryable_failure=None,
        terminal_failure=None,
        pod_kept=None,
        pod_denied_since=None,
        denied_since=None,
        undone_since=None,
    )


def next_try(failures: int, now: datetime, retry_after: float | None = None) -> datetime:
    """When to try again after so many failures, and not sooner than the server says."""
    delay = backoff(failures, FIRST_RETRY.total_seconds(), LAST_RETRY.total_seconds())
    return now + timedelta(seconds=max(delay, retry_after or 0.0))
