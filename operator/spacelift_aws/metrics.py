"""Every metric of the operator: its name, its labels, its meaning. `docs/metrics.md` is generated from here.

What has happened is counted where it happens, in the counters and histograms below. Gauges are computed at each scrape
from what was last seen, so nothing stays behind of what is gone. Labels are namespaces, integrations and words of a
fixed vocabulary, never the name of a Run.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

PREFIX = "spacelift_aws_"

HAPPENED = CollectorRegistry()
"""What has happened since the process began, and what the process itself uses (`process_…`)."""

ProcessCollector(registry=HAPPENED)

POOL = "pool"
"""Label on every metric of a worker: its pool. The controller's metrics are without."""

_RUN_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 21600, 86400)
"""A Run starts within seconds, or waits for a person."""
_CALL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_DELETION_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


# A time beside every counter would double what is scraped.
disable_created_metrics()  # type: ignore[no-untyped-call]

_LABELS: dict[Counter | Histogram, tuple[str, ...]] = {}
"""The counters and histograms in their order, with the names of their labels."""


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    counter = Counter(PREFIX + name, meaning, labels, registry=HAPPENED)
    _LABELS[counter] = labels
    return counter


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    histogram = Histogram(f"{PREFIX}{name}_seconds", meaning, labels, registry=HAPPENED, buckets=buckets)
    _LABELS[histogram] = labels
    return histogram


RUNS_ENDED = _counter(
    "runs_ended",
    "Runs that this process has ended, by the reason of their condition Succeeded.",
    "namespace",
    "integration",
    "type",
    "reason",
)
SESSIONS = _counter(
    "sessions",
    "Sessions asked of STS for Runs. action: issue for a Run's first credentials, renew for further ones; result: "
    "Issued, or the error code of STS.",
    "namespace",
    "integration",
    "action",
    "result",
)
RUN_CREDENTIALS = _histogram(
    "run_credentials", "From a Run's creation to the Secret with its first credentials.", _RUN_SECONDS
)
RUN_POD = _histogram("run_pod", "From a Run's creation to that of its pod.", _RUN_SECONDS)
RUN_START = _histogram("run_start", "From a Run's creation to the start of its first container.", _RUN_SECONDS)
SECRET_DELETION = _histogram(
    "secret_deletion",
    "From the end of a run's containers, which is known in whole seconds, to the answered deletion of its Secret.",
    _DELETION_SECONDS,
)

AUDIT_FAILURES = _counter("audit_failures", "Lines of the audit trail that could not be written.")

STS_CALLS = _counter(
    "sts_calls",
    "Calls of AWS. purpose: issue for Runs, probe to verify trust, own for the operator's identity; code: OK, or the "
    "error code of AWS.",
    "operation",
    "purpose",
    "code",
)
STS_SECONDS = _histogram(
    "sts_call", "Duration of calls of AWS, retries included.", _CALL_SECONDS, "operation", "purpose"
)

API_REQUESTS = _counter(
    "api_requests",
    "Requests to the API server. code: the HTTP status, unanswered, or not_sent.",
    "verb",
    "resource",
    "code",
)
API_SECONDS = _histogram("api_request", "Duration of requests to the API server.", _CALL_SECONDS, "verb")

RECONCILES = _counter("reconciles", "Keys of the work queue that were handled. result: ok or error.", "kind", "result")
RECONCILE_SECONDS = _histogram("reconcile", "Duration of handling one key of the work queue.", _CALL_SECONDS, "kind")


@dataclass(frozen=True)
class State:
    """A gauge that is computed at each scrape. `leader`: only the replica that acts has it, so that sums are right."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    leader: bool = True

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return PREFIX + self.name


RUNS = State("runs", "Runs by phase.", ("namespace", "integration", "type", "phase"))
RUNS_WAITING = State(
    "runs_waiting",
    "Queued Runs, by the reason of their condition CredentialsIssued.",
    ("namespace", "integration", "reason"),
)
OLDEST_WAITING = State(
    "runs_oldest_waiting_timestamp_seconds",
    "When the oldest of the Runs that wait for this reason was created.",
    ("namespace", "integration", "reason"),
)
CREDENTIALS_LIVE = State(
    "credentials_live", "Runs whose Secret holds credentials that have not expired.", ("namespace", "integration")
)
EARLIEST_EXPIRY = State(
    "credentials_earliest_expiry_timestamp_seconds",
    "When the first of the live credentials expire.",
    ("namespace", "integration"),
)
SECRETS_OUTLIVING = State(
    "secrets_outliving_pod",
    "Runs whose containers have all ended and whose Secret is still there.",
    ("namespace", "integration"),
)
TRUST = State(
    "integration_trust",
    "1, with status and reason of the AwsIntegration's condition TrustVerified; a worker's: what its pool found.",
    ("namespace", "integration", "status", "reason"),
)
LAST_VERIFIED = State(
    "integration_last_verified_timestamp_seconds",
    "When STS last answered about the AwsIntegration's trust.",
    ("namespace", "integration"),
)
NEXT_VERIFY = State(
    "integration_next_verify_timestamp_seconds",
    "When the AwsIntegration's trust will be verified next.",
    ("namespace", "integration"),
)
WITHOUT_WORKER = State(
    "runs_without_worker", "Queued Runs that no worker has taken, by their pool.", ("namespace", "worker_pool")
)
IDENTITY = State("identity_known", "Whether AWS last told who the operator is: 1, or 0 with its error code.", ("code",))
STS_WAITING = State("sts_turns_waiting", "Calls of STS that wait for their turn.", ("purpose",))
STS_HELD = State("sts_turns_held", "Calls of STS under way.", ("purpose",))
STS_LIMIT = State("sts_turns_limit", "Calls of STS that may be under way at once.", ("purpose",))
STS_BUDGET = State(
    "sts_probe_budget", "Calls that may verify trust at once before they have to wait for the rate limit."
)
LEADER = State("leader", "1 where this replica acts, 0 where it waits for the Lease.", leader=False)
QUEUE_DEPTH = State("work_queue_depth", "Keys of the work queue that wait or are being handled.", leader=False)
OLDEST_KEY = State(
    "work_queue_oldest_key_seconds", "For how long the key that is handled longest has been.", leader=False
)
LOOP_LAG = State("event_loop_lag_seconds", "By how much the event loop was late at its last beat.", leader=False)
WATCH_AGE = State(
    "watch_age_seconds",
    "Since when a collection is watched without a break; each watch is begun anew every few minutes.",
    ("path",),
    leader=False,
)
WATCH_UP = State("watch_up", "1 while the watch of a collection is open.", ("path",), leader=False)
BUILD = State(
    "build_info", "1, with the version and what the process is.", ("version", "component", "python"), leader=False
)


def states() -> tuple[State, ...]:
    """Every gauge."""
    return tuple(value for value in globals().values() if isinstance(value, State))


Labels = tuple[str, ...]


class Gauges:
    """Values of gauges, gathered for one scrape."""

    def __init__(self) -> None:
        self._values: dict[State, dict[Labels, float]] = {}

    def set(self, state: State, value: float, *labels: str) -> None:
        """The value for these labels."""
        self._values.setdefault(state, {})[labels] = value

    def add(self, state: State, *labels: str) -> None:
        """One more for these labels."""
        values = self._values.setdefault(state, {})
        values[labels] = values.get(labels, 0) + 1

    def least(self, state: State, value: float, *labels: str) -> None:
        """The smallest of the values for these labels."""
        values = self._values.setdefault(state, {})
        values[labels] = min(value, values.get(labels, value))

    def families(self) -> Iterator[Metric]:
        """As Prometheus' client writes them out."""
        for state, values in self._values.items():
            family = GaugeMetricFamily(state.full_name, state.meaning, labels=state.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family


def forget_unless(known: Callable[[str, str], bool]) -> None:
    """Drop what was counted for pairs of namespace and integration of which at least one is gone."""
    for counter in (RUNS_ENDED, SESSIONS):
        for family in counter.collect():
            for labels in {tuple(sample.labels.values()) for sample in family.samples}:
                if not known(*labels[:2]):
                    counter.remove(*labels)


def reference() -> str:
    """All metrics as a table in Markdown."""
    rows = [_row(next(iter(metric.describe())), labels) for metric, labels in _LABELS.items()]
    rows += [_state_row(state) for state in states()]
    return "\n".join(["| Metric | Type | Labels | Meaning |", "| --- | --- | --- | --- |", *rows]) + "\n"


def _row(family: Metric, labels: tuple[str, ...]) -> str:
    suffix = "_total" if family.type == "counter" else ""
    return f"| `{family.name}{suffix}` | {family.type} | {_shown(labels)} | {family.documentation} |"


def _state_row(state: State) -> str:
    only = " Only of the replica that acts." if state.leader else ""
    return f"| `{state.full_name}` | gauge | {_shown(state.labels)} | {state.meaning}{only} |"


def _shown(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)
