"""What this process remembers of the Runs that it works on."""

from dataclasses import replace
from datetime import datetime, timedelta

from spacelift_aws.api.reasons import CredentialsIssuedReason
from spacelift_aws.backoff import backoff
from spacelift_aws.controllers.run.state import Progress, RetryableFailure

FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(minutes=2)

_NOTHING = Progress()


class ProgressStore:
    """A memory for each Run, by run ID."""

    def __init__(self) -> None:
        self._known: dict[str, Progress] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._known

    def of(self, run_id: str) -> Progress:
        """What is remembered of a Run; an empty memory where that is nothing."""
        return self._known.get(run_id, _NOTHING)

    def remember(self, run_id: str, **changes: object) -> None:
        """Change some fields of a Run's memory."""
        self._known[run_id] = replace(self.of(run_id), **changes)  # type: ignore[arg-type]  # fields by name

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
        failures = self.of(run_id).failures
        delay = backoff(failures, FIRST_RETRY.total_seconds(), LAST_RETRY.total_seconds())
        retry_at = now + timedelta(seconds=max(delay, retry_after or 0.0))
        self.remember(run_id, failures=failures + 1, trouble=RetryableFailure(reason, message, retry_at))
