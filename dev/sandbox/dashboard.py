"""Writes the chart's dashboard for Grafana: `python -m sandbox.dashboard [--check]`.

It keeps to the rules of Grafana's dashboard-linter: a data source, job and instance to choose from, a matcher for both
in every query, `$__rate_interval`, a title, a description and a unit for every panel.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.program import ROOT

FILE = ROOT / "charts" / "spacelift-aws-operator" / "files" / "dashboard.json"

SOURCE = {"type": "prometheus", "uid": "$datasource"}
WIDTH = 24
"""Columns of Grafana's grid."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One line of a panel: PromQL in which `@` stands for the matchers, and what it is called."""

    expression: str
    legend: str

    @property
    def promql(self) -> str:
        """As Grafana sends it."""
        return self.expression.replace("@", 'job=~"$job",instance=~"$instance"')


@dataclass(frozen=True)
class Panel:
    """One picture."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    height: int = 7


def rate(metric: str, by: str, more: str = "") -> str:
    """So many a second, by these labels."""
    return f"sum by ({by}) (rate({metric}{{@{more}}}[$__rate_interval]))"


def quantiles(metric: str, by: str = "") -> tuple[Query, ...]:
    """Median and 95th percentile of a histogram."""
    grouped = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by ({grouped}) (rate({metric}_bucket{{@}}[$__rate_interval])))",
            f"{legend}{name}",
        )
        for share, name in ((0.5, "median"), (0.95, "95%"))
    )


P = "spacelift_aws_"

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "At a glance",
        (
            Panel("Replicas that act", "Controllers and pools that hold their Lease.", "none",
                  (Query(f"sum by (job) ({P}leader{{@}})", "{{job}}"),), "stat", 4, 4),
            Panel("Runs under way", "Runs that are preparing or running.", "none",
                  (Query(f'sum({P}runs{{@,phase=~"Preparing|Running"}}) or vector(0)', "Runs"),), "stat", 4, 4),
            Panel("Runs waiting", "Queued Runs.", "none",
                  (Query(f"sum({P}runs_waiting{{@}}) or vector(0)", "Runs"),), "stat", 4, 4),
            Panel("Live credentials", "Runs whose Secret holds credentials that have not expired.", "none",
                  (Query(f"sum({P}credentials_live{{@}}) or vector(0)", "Secrets"),), "stat", 4, 4),
            Panel("Secrets that outlive their pod", "More than zero for long means credentials without a run.", "none",
                  (Query(f"sum({P}secrets_outliving_pod{{@}}) or vector(0)", "Secrets"),), "stat", 4, 4),
            Panel("Integrations not trusted", "AwsIntegrations whose role does not trust us, or trusts others too.",
                  "none", (Query(f'count({P}integration_trust{{@,status="False"}}) or vector(0)', "Integrations"),),
                  "stat", 4, 4),
        ),
    ),
    (
        "Runs",
        (
            Panel("Runs by phase", "All Runs there are.", "none",
                  (Query(f"sum by (phase) ({P}runs{{@}})", "{{phase}}"),)),
            Panel("Ends by reason", "Runs that ended, by the reason of condition Succeeded.", "ops",
                  (Query(rate(f"{P}runs_ended_total", "reason"), "{{reason}}"),)),
            Panel("Waiting, by reason", "Queued Runs, by the reason of condition CredentialsIssued.", "none",
                  (Query(f"sum by (reason) ({P}runs_waiting{{@}})", "{{reason}}"),)),
            Panel("From creation to credentials", "From a Run's creation to its Secret.", "s",
                  quantiles(f"{P}run_credentials_seconds")),
            Panel("From creation to start", "From a Run's creation to the start of its first container.", "s",
                  quantiles(f"{P}run_start_seconds")),
            Panel("From the pod's end to the Secret's", "How long credentials outlive the run that had them.", "s",
                  quantiles(f"{P}secret_deletion_seconds")),
        ),
    ),
    (
        "Sessions and trust",
        (
            Panel("Sessions by result", "Sessions asked of STS for Runs.", "ops",
                  (Query(rate(f"{P}sessions_total", "action, result"), "{{action}}: {{result}}"),)),
            Panel("Integrations by verdict", "AwsIntegrations by the reason of condition TrustVerified.", "none",
                  (Query(f"count by (reason) ({P}integration_trust{{@}})", "{{reason}}"),)),
            Panel("Since the last verification", "The integration that STS has not spoken about for longest.", "s",
                  (Query(f"time() - min({P}integration_last_verified_timestamp_seconds{{@}})", "longest"),)),
            Panel("Calls of AWS by code", "All calls of STS, by purpose and answer.", "ops",
                  (Query(rate(f"{P}sts_calls_total", "purpose, code"), "{{purpose}}: {{code}}"),)),
            Panel("Duration of calls of AWS", "Retries included.", "s", quantiles(f"{P}sts_call_seconds", "purpose")),
            Panel("Turns at STS", "Calls that wait for their turn, and the budget that probes have left.", "none",
                  (Query(f"sum by (purpose) ({P}sts_turns_waiting{{@}})", "{{purpose}} waiting"),
                   Query(f"sum({P}sts_probe_budget{{@}})", "budget of probes"))),
        ),
    ),
    (
        "The process",
        (
            Panel("Requests to the API server", "By verb and HTTP status.", "reqps",
                  (Query(rate(f"{P}api_requests_total", "verb, code"), "{{verb}} {{code}}"),)),
            Panel("Duration of requests to the API server", "By verb, 95th percentile.", "s",
                  (quantiles(f"{P}api_request_seconds", "verb")[1],)),
            Panel("Work queue", "Keys that wait or are handled, and how long the longest has been.", "none",
                  (Query(f"sum by (instance) ({P}work_queue_depth{{@}})", "{{instance}} keys"),
                   Query(f"max by (instance) ({P}work_queue_oldest_key_seconds{{@}})", "{{instance}} seconds"))),
            Panel("Lag of the event loop", "By how much the loop was late at its last beat.", "s",
                  (Query(f"max by (instance) ({P}event_loop_lag_seconds{{@}})", "{{instance}}"),)),
            Panel("Processor time", "Processors that a process uses.", "none",
                  (Query("sum by (instance) (rate(process_cpu_seconds_total{@}[$__rate_interval]))", "{{instance}}"),)),
            Panel("Memory", "What a process holds.", "bytes",
                  (Query("sum by (instance) (process_resident_memory_bytes{@})", "{{instance}}"),)),
        ),
    ),
)  # fmt: skip


def panels() -> Iterator[Panel]:
    """Every panel."""
    for _, row in ROWS:
        yield from row


def dashboard() -> Object:
    """As Grafana imports it."""
    return {
        "annotations": {"list": []},
        "description": "Runs, their credentials, the trust of AwsIntegrations, and how the operator itself is.",
        "editable": False,
        "graphTooltip": 1,
        "panels": list(_placed()),
        "refresh": "30s",
        "schemaVersion": 39,
        "tags": ["spacelift-aws"],
        "templating": {"list": [_source(), _choice("job"), _choice("instance", ',job=~"$job"')]},
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "title": "Spacelift AWS operator",
        "uid": "spacelift-aws-operator",
    }


def _placed() -> Iterator[Object]:
    number, y = 1, 0
    for title, row in ROWS:
        yield {
            "type": "row",
            "id": number,
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _at(0, y, WIDTH, 1),
        }
        number, y, x = number + 1, y + 1, 0
        for panel in row:
            if x + panel.width > WIDTH:
                x, y = 0, y + panel.height
            yield _panel(panel, number, _at(x, y, panel.width, panel.height))
            number, x = number + 1, x + panel.width
        y += row[-1].height


def _at(x: int, y: int, width: int, height: int) -> Object:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, number: int, place: Object) -> Object:
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query.promql, "legendFormat": query.legend}
            for index, query in enumerate(panel.queries)
        ],
    }


def _source() -> Object:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}


def _choice(label: str, more: str = "") -> Object:
    matchers = more.lstrip(",")
    query = (
        f"label_values({P}build_info{{{matchers}}}, {label})" if matchers else f"label_values({P}build_info, {label})"
    )
    return {
        "name": label,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": query,
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or with `--check` compare it; the answer is the exit code."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if FILE.exists() and FILE.read_text() == text:
        return 0
    if "--check" in (sys.argv[1:] if arguments is None else arguments):
        print(f"{FILE.relative_to(ROOT)} is not what the code says: run `python -m sandbox.dashboard`")
        return 1
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
