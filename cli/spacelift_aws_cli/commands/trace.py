"""`trace`: from what AWS shows to the Run and who asked for it, and back."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.kube.errors import Forbidden
from spacelift_aws_cli.kube.resources import RUN
from spacelift_aws_cli.kube.survey import operators_log
from spacelift_aws_cli.model import traces
from spacelift_aws_cli.model.objects import Object, first_line, name_of, namespace_of, status_of
from spacelift_aws_cli.model.runs import integration_of, phase_of, requester_of, stopper_of
from spacelift_aws_cli.options import OutputOption, Session
from spacelift_aws_cli.output.console import answer, show
from spacelift_aws_cli.output.tables import Cell, Row, Tone, columns


def trace(
    session: Session,
    reference: Annotated[
        str,
        typer.Argument(
            help="Access key ID, session ARN, run ID, a Run's name, or a file with a CloudTrail event; - reads it."
        ),
    ],
    audit: Annotated[
        Path | None, typer.Option(help="The operator's audit trail, for Runs that are gone; by default its pods' logs.")
    ] = None,
    operator_namespace: Annotated[str, typer.Option(help="Where the operator is.")] = "spacelift-aws",
    output: OutputOption = None,
) -> None:
    """Find the Run behind a session: who asked, its integration, pod and logs. Ends with 1 where there is none."""
    trail = traces.read(_text(reference))
    runs = _runs(session, trail)
    records = [] if runs and audit is None else traces.of_trail(trail, _records(session, audit, operator_namespace))
    if not runs and not records:
        born = f", created at {trail.created:%Y-%m-%d %H:%M:%S} UTC," if trail.created else ""
        raise UserError(
            f"No Run matches {trail}: it{born} was deleted or is in another cluster, and no audit trail that was "
            "searched contains it. Give one with --audit.",
            Exit.NO,
        )
    if output is not None:
        answer({"runs": runs, "audit": records}, output)
        return
    for run in runs:
        show(_of_run(run))
    show(_of_records(records))


def _text(reference: str) -> str:
    if reference == "-":
        return sys.stdin.read()
    with suppress(OSError, ValueError):
        if Path(reference).is_file():
            return Path(reference).read_text()
    return reference


def _runs(session: Session, trail: traces.Trail) -> list[Object]:
    query = {"fieldSelector": f"status.runId={trail.run_id}"} if trail.run_id else {}
    places = [session.namespace] if trail.name else [None, session.namespace]
    for place in places:
        with suppress(Forbidden):
            return [one for one in session.client.find(RUN, place, **query) if traces.fits(trail, one)]
    return []


def _records(session: Session, audit: Path | None, operator_namespace: str) -> Iterator[Mapping[str, Any]]:
    if audit is None:
        for log in operators_log(session.client, operator_namespace).values():
            yield from traces.audit_records(log.splitlines())
        return
    try:
        with audit.open() as lines:
            yield from traces.audit_records(lines)
    except OSError as error:
        raise UserError(f"{audit} cannot be read: {error.strerror}.", Exit.USAGE) from None


def _of_run(run: Object) -> Sequence[Row]:
    status, place = status_of(run), f"{namespace_of(run)}/{name_of(run)}"
    lines = {
        "Run": place,
        "Phase": phase_of(run),
        "Run ID": status.get("runId"),
        "Asked by": requester_of(run) or "not recorded",
        "Stopped by": stopper_of(run),
        "Integration": "/".join(integration_of(run)),
        "Acted as": status.get("assumedRoleArn"),
        "Pod": status.get("podName"),
        "Said": first_line(str(status.get("message") or "")),
        "CloudTrail": status.get("cloudTrailUrl"),
        "Story": f"kubectl spacelift-aws get {name_of(run)} -n {namespace_of(run)}",
        "Logs": f"kubectl spacelift-aws logs {name_of(run)} -n {namespace_of(run)}" if status.get("podName") else None,
    }
    return columns((), [[Cell(key), Cell(str(value))] for key, value in lines.items() if value])


def _of_records(records: list[Mapping[str, Any]]) -> Iterator[Row]:
    """What the audit trail knows of each run, and line by line what happened to it."""
    for run_id in dict.fromkeys(str(one["runId"]) for one in records):
        mine = [one for one in records if one["runId"] == run_id]
        known = {key: value for one in mine for key, value in one.items()}
        lines = {
            "Run": f"{known.get('namespace')}/{known.get('run')}, from the audit trail",
            "Run ID": run_id,
            "Asked by": known.get("requestedBy") or "not recorded",
            "Stopped by": known.get("stoppedBy"),
            "Integration": known.get("integration"),
            "Acted as": known.get("sessionArn"),
        }
        yield from columns((), [[Cell(key), Cell(str(value))] for key, value in lines.items() if value])
        for one in mine:
            detail = ", ".join(str(one[key]) for key in ("outcome", "accessKeyId", "stsRequestId") if one.get(key))
            yield [Cell(f"{one.get('time')}  ", Tone.QUIET), Cell(f"{one.get('event')}: {detail}")]
