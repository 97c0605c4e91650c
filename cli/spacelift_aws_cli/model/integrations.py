"""An AwsIntegration in words: its row in a table, and its probes as a matrix."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from spacelift_aws.api.reasons import ConditionType
from spacelift_aws_cli.model.objects import Object, condition, first_line, name_of, namespace_of, one_line, status_of
from spacelift_aws_cli.model.times import age, countdown
from spacelift_aws_cli.output.tables import Cell, Row, Tone

_HEADER = ("NAME", "READY", "REASON", "ROLE", "VERIFIED", "NEXT", "WHY", "AGE")
PROBES = ("PROBE", "SENT", "SHOULD BE", "IS", "STS REQUEST ID", "ASKED")

SENT = {
    "Own": "its own external ID",
    "None": "no external ID",
    "Sibling": "that of a namespace that cannot exist",
    "OtherInstallation": "that of a cluster that cannot exist",
    "Spelling": "its own with one character replaced",
}
"""What each probe sends, in words."""
_TONES = {"True": Tone.GOOD, "False": Tone.BAD}
_MARKS = {Tone.GOOD: "✓ ", Tone.BAD: "✗ ", Tone.BUSY: "? "}
_WHY_LENGTH = 80


def verdict(integration: Object) -> Object:
    """Its condition `TrustVerified`; empty before anybody looked."""
    return condition(integration, ConditionType.TRUST_VERIFIED)


def is_ready(integration: Object) -> bool:
    """Whether Runs may use it."""
    return condition(integration, ConditionType.READY).get("status") == "True"


def header(*, with_namespace: bool) -> tuple[str, ...]:
    """The titles of `row`'s columns."""
    return ("NAMESPACE", *_HEADER) if with_namespace else _HEADER


def row(integration: Object, now: datetime, *, with_namespace: bool) -> list[Cell]:
    """Its line in `integrations`."""
    found, status = verdict(integration), status_of(integration)
    ready = str(condition(integration, ConditionType.READY).get("status") or "Unknown")
    cells = [
        Cell(name_of(integration)),
        Cell(ready, _TONES.get(ready, Tone.BUSY)),
        Cell(str(found.get("reason") or "NotVerifiedYet")),
        Cell(str(integration["spec"].get("roleArn") or "–")),
        Cell(age(status.get("lastVerifiedTime"), now)),
        Cell(countdown(status.get("nextVerifyTime"), now)),
        Cell("" if ready == "True" else one_line(first_line(str(found.get("message") or "")), _WHY_LENGTH)),
        Cell(age(integration["metadata"].get("creationTimestamp"), now)),
    ]
    return [Cell(namespace_of(integration)), *cells] if with_namespace else cells


def probe_rows(probes: Sequence[Object], now: datetime) -> Iterator[list[Cell]]:
    """One line a probe: what it sent, what STS should answer, what it answered."""
    for probe in probes:
        name, result = str(probe["name"]), str(probe["result"])
        wanted = "Allowed" if name == "Own" else "Denied"
        tone = Tone.BUSY if result == "Unknown" else Tone.GOOD if result == wanted else Tone.BAD
        yield [
            Cell(name),
            Cell(SENT.get(name, "another external ID")),
            Cell(wanted),
            Cell(_MARKS[tone] + result, tone),
            Cell(str(probe.get("requestId") or "–"), Tone.QUIET),
            Cell(f"{age(probe.get('time'), now)} ago"),
        ]


def answers(probes: Sequence[Object]) -> Iterator[Row]:
    """What STS said in words, where it should have answered otherwise."""
    for probe in probes:
        if probe.get("message"):
            yield [Cell(f"{probe['name']}: ", Tone.TITLE), Cell(one_line(str(probe["message"])))]


def answered_since(before: Object, after: Object) -> bool:
    """Whether STS has answered anew since `before` was read: `--verify` waits for this."""
    return _stamp(before) != _stamp(after)


def _stamp(integration: Object) -> object:
    status = status_of(integration)
    return (
        status.get("lastVerifiedTime"),
        status.get("probes"),
        [(one.get("pool"), one.get("lastVerifiedTime"), one.get("probes")) for one in status.get("workers") or ()],
    )
