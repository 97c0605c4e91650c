"""A Run in words: its row in a table, why it stands where it stands, and the exit code of who waited for it."""

from datetime import datetime

from spacelift_aws.api.reasons import ConditionType
from spacelift_aws.names import ANNOTATION_REQUESTED_BY, ANNOTATION_STOPPED_BY
from spacelift_aws_cli.exits import Exit
from spacelift_aws_cli.model.objects import Object, condition, first_line, name_of, namespace_of, one_line, status_of
from spacelift_aws_cli.model.times import age, countdown
from spacelift_aws_cli.output.tables import Cell, Tone

ENDS = ("Finished", "Failed", "Stopped")
_TONES = {"Finished": Tone.GOOD, "Failed": Tone.BAD, "Stopped": Tone.QUIET, "Running": Tone.GOOD}
_WHY_LENGTH = 80

_HEADER = ("NAME", "TYPE", "PHASE", "INTEGRATION", "WHY", "EXPIRES", "AGE", "BY")


def phase_of(run: Object) -> str:
    """Where it stands; a Run that nobody looked at yet is queued."""
    return str(status_of(run).get("phase") or "Queued")


def has_ended(run: Object) -> bool:
    """Whether it is in one of its last phases."""
    return phase_of(run) in ENDS


def phase_cell(run: Object) -> Cell:
    """Its phase in its colour."""
    return Cell(phase_of(run), _TONES.get(phase_of(run), Tone.BUSY))


def integration_of(run: Object) -> tuple[str, str]:
    """Namespace and name of the AwsIntegration that it refers to."""
    reference = run["spec"]["integrationRef"]
    return str(reference.get("namespace") or namespace_of(run)), str(reference["name"])


def requester_of(run: Object) -> str:
    """Who created it, where the cluster can tell; else empty. The annotation is there before the status."""
    return str(status_of(run).get("requestedBy") or _annotation(run, ANNOTATION_REQUESTED_BY))


def stopper_of(run: Object) -> str:
    """Who stopped it, where somebody did and the cluster can tell; else empty."""
    return _annotation(run, ANNOTATION_STOPPED_BY)


def _annotation(run: Object, name: str) -> str:
    return str((run["metadata"].get("annotations") or {}).get(name) or "")


def reason_of(run: Object) -> str:
    """The one word for why it stands there, where its phase alone does not say it; else empty."""
    if has_ended(run):
        reason = str(condition(run, ConditionType.SUCCEEDED).get("reason") or "")
        return "" if reason == phase_of(run) else reason
    issued = condition(run, ConditionType.CREDENTIALS_ISSUED)
    return "" if issued.get("status") == "True" else str(issued.get("reason") or "")


def why(run: Object) -> str:
    """Reason and message in one line, without what is meant to be copied."""
    reason, message = reason_of(run), first_line(str(status_of(run).get("message") or ""))
    return f"{reason}: {message}" if reason and message else reason or message


def exit_code(run: Object) -> int:
    """What a process ends with that stood in for an ended Run: the run's own code, or one that fits its end."""
    code, phase = status_of(run).get("exitCode"), phase_of(run)
    if phase == "Finished":
        return int(code or 0)
    if code:
        return int(code) & 0xFF or Exit.NO
    return Exit.INTERRUPTED if phase == "Stopped" else Exit.NO


def header(*, with_namespace: bool) -> tuple[str, ...]:
    """The titles of `row`'s columns."""
    return ("NAMESPACE", *_HEADER) if with_namespace else _HEADER


def row(run: Object, now: datetime, *, with_namespace: bool) -> list[Cell]:
    """Its line in `runs`."""
    status, ended = status_of(run), has_ended(run)
    expires = "" if ended else countdown(status.get("credentialsExpireAt"), now)
    namespace, integration = integration_of(run)
    cells = [
        Cell(name_of(run)),
        Cell(str(run["spec"].get("type", "Task"))),
        phase_cell(run),
        Cell(integration if namespace == namespace_of(run) else f"{namespace}/{integration}"),
        Cell("" if phase_of(run) == "Finished" else one_line(why(run), _WHY_LENGTH)),
        Cell(expires, Tone.BUSY),
        Cell(age(run["metadata"].get("creationTimestamp"), now)),
        Cell(requester_of(run), Tone.QUIET),
    ]
    return [Cell(namespace_of(run)), *cells] if with_namespace else cells


def containers_of(run: Object) -> list[str]:
    """The names of its template's own containers, in the order in which they start."""
    spec = (run["spec"].get("template") or {}).get("spec") or {}
    return [str(one["name"]) for group in ("initContainers", "containers") for one in spec.get(group) or ()]
