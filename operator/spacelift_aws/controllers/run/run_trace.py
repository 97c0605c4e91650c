"""The trace of a Run: queued, trust, sts, secret, pod, running, end, and the Run as a whole.

Each step is a span from the last known moment to now. What began before this process did is not known to it: such a
step is missing, and the span of the whole Run is there all the same, for its times are the Run's own.
"""

from datetime import datetime

from spacelift_aws.api.reasons import ConditionType, CredentialsIssuedReason
from spacelift_aws.api.run import Phase, Run, RunStatus
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.controllers.run.state import Observed
from spacelift_aws.tracing import Place, Span, Spans, place_of

TRACEPARENT = "traceparent"
"""The annotation of a Run that says under which span it was created."""
VARIABLE = "TRACEPARENT"
"""The variable of its containers that says under which span they run."""

_TRUST = "trust"
_STEP = "step"


class RunTraces:
    """Makes spans of what the journal hears."""

    def __init__(self, spans: Spans | None) -> None:
        """Without a place for spans nothing is made or remembered; a Run's own `traceparent` still reaches its pod."""
        self._spans = spans
        self._since: dict[str, dict[str, datetime]] = {}
        """By run ID: since when a step lasts."""

    def variables(self, run: Run, run_id: str) -> dict[str, str]:
        """What a run's containers are told."""
        given = run.metadata.annotations.get(TRACEPARENT)
        if self._spans is not None:
            return {VARIABLE: self._spans.place(run_id, given).traceparent}
        passed_on = given is not None and place_of(run_id, given).parent_id is not None
        return {VARIABLE: given} if given is not None and passed_on else {}

    def waits(self, seen: Observed, wanted: RunStatus) -> None:
        """The Run stays queued."""
        issued = wanted.condition(ConditionType.CREDENTIALS_ISSUED)
        if self._spans is None or issued is None or issued.reason != CredentialsIssuedReason.INTEGRATION_NOT_READY:
            return
        self._marks(seen).setdefault(_TRUST, seen.now)

    def asked(self, seen: Observed, now: datetime) -> None:
        """STS is about to be asked for a session."""
        if self._spans is None:
            return
        marks = self._marks(seen)
        trust = marks.pop(_TRUST, None)
        if seen.pod is None and _STEP not in marks:
            self._emit(seen, "queued", seen.run.metadata.creation_timestamp, trust or now)
            if trust is not None:
                self._emit(seen, "trust", trust, now)
        marks[_STEP] = now

    def step(self, seen: Observed, name: str, now: datetime, *, failed: bool = False) -> None:
        """A step has ended."""
        if self._spans is None:
            return
        marks = self._marks(seen)
        since = marks.get(_STEP)
        if since is not None:
            self._emit(seen, name, since, now, failed=failed)
        marks[_STEP] = now

    def started(self, seen: Observed, at: datetime) -> None:
        """The first container runs; Kubernetes tells it in whole seconds."""
        since = self._since.get(seen.run_id, {}).get(_STEP)
        if self._spans is not None and since is not None:
            self._emit(seen, "pod", since, max(since, at))

    def ended(self, seen: Observed, wanted: RunStatus) -> None:
        """The Run has ended, and its last status is written."""
        if self._spans is None:
            return
        finished = wanted.finished_at or seen.now
        if wanted.started_at is not None:
            self._emit(seen, "running", wanted.started_at, finished)
        self._emit(seen, "end", finished, max(finished, seen.now))
        created, failed = seen.run.metadata.creation_timestamp, wanted.phase is Phase.FAILED
        self._emit(seen, f"Run {seen.run.metadata.name}", created, max(finished, seen.now), whole=True, failed=failed)
        self.forget(seen.run_id)

    def forget(self, run_id: str) -> None:
        """The Run is gone."""
        self._since.pop(run_id, None)

    def _marks(self, seen: Observed) -> dict[str, datetime]:
        return self._since.setdefault(seen.run_id, {})

    def _emit(
        self, seen: Observed, name: str, start: datetime, end: datetime, *, whole: bool = False, failed: bool = False
    ) -> None:
        if self._spans is None:
            return
        place = self._place(seen, self._spans)
        self._spans.emit(Span(name, place, start, end, _attributes(seen), whole=whole, failed=failed))

    @staticmethod
    def _place(seen: Observed, spans: Spans) -> Place:
        return spans.place(seen.run_id, seen.run.metadata.annotations.get(TRACEPARENT))


def _attributes(seen: Observed) -> dict[str, str]:
    """Never a secret; the names are those of OpenTelemetry's conventions where there are any."""
    metadata = seen.run.metadata
    given = {
        "k8s.namespace.name": metadata.namespace,
        "spacelift_aws.run.name": metadata.name,
        "spacelift_aws.run.id": seen.run_id,
        "spacelift_aws.run.type": str(seen.run.spec.type),
        "spacelift_aws.integration": "/".join(integration_key(seen.run)),
        "spacelift_aws.requested_by": seen.requested_by or "",
    }
    return {name: value for name, value in given.items() if value}
