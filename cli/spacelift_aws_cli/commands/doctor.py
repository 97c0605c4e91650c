"""`doctor`: what is wrong, and what to do about it."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from spacelift_aws_cli import VERSION
from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.kube.survey import operators_log, survey
from spacelift_aws_cli.model import redaction
from spacelift_aws_cli.model.doctor import Facts, as_list, findings, is_well
from spacelift_aws_cli.options import AllNamespaces, OutputOption, Session
from spacelift_aws_cli.output.console import answer, say, show
from spacelift_aws_cli.output.tables import Cell, Row, Tone

_MARKS = {True: Cell("✓ ", Tone.GOOD), False: Cell("✗ ", Tone.BAD), None: Cell("? ", Tone.BUSY)}


def doctor(
    session: Session,
    operator_namespace: Annotated[str, typer.Option(help="Where the operator is.")] = "spacelift-aws",
    all_namespaces: AllNamespaces = False,
    bundle: Annotated[
        Path | None, typer.Option(help="Write all that was looked at into this .tar.gz, without a secret in it.")
    ] = None,
    output: OutputOption = None,
) -> None:
    """Look at all that a Run depends on. Each line is right (✓), wrong (✗, and what to do), or not yours to see (?).

    Ends with 1 where something is wrong.
    """
    facts = survey(session.client, session.namespace, operator_namespace, everywhere=all_namespaces)
    if output is not None:
        answer(as_list(facts), output)
    else:
        show(_page(facts))
    if bundle is not None:
        _write(bundle, facts, operators_log(session.client, operator_namespace))
        say(f"{bundle} holds no value of a variable and no argument of a command; look through it before you send it.")
    sys.exit(Exit.OK if is_well(facts) else Exit.NO)


def _page(facts: Facts) -> Iterator[Row]:
    for title, lines in findings(facts):
        if lines:
            yield [Cell(title, Tone.TITLE)]
        for line in lines:
            remedy = f": {line.remedy}" if line.remedy and line.good is False else ""
            yield [Cell("  "), _MARKS[line.good], Cell(line.what), Cell(remedy, Tone.BUSY)]


def _write(bundle: Path, facts: Facts, logs: dict[str, str]) -> None:
    import io
    import tarfile

    content: dict[str, Any] = {
        f"{field.name}.json": redaction.redacted(getattr(facts, field.name))
        for field in dataclasses.fields(facts)
        if isinstance(getattr(facts, field.name), list)
    }
    about = {"plugin": VERSION, "kubernetes": facts.version, "user": facts.user, "time": facts.now.isoformat()}
    content.update({"about.json": about, "findings.json": redaction.redacted(as_list(facts))})
    files = {name: json.dumps(one, indent=1, ensure_ascii=False, default=str) for name, one in content.items()}
    files.update({f"logs/{pod}.log": redaction.text(log) for pod, log in logs.items()})
    try:
        with tarfile.open(bundle, "w:gz") as archive:
            for name, one in files.items():
                data = one.encode()
                entry = tarfile.TarInfo(f"spacelift-aws-support/{name}")
                entry.size, entry.mtime = len(data), int(facts.now.timestamp())
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise UserError(f"{bundle} cannot be written: {error.strerror}.") from None
