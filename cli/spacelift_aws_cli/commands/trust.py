"""`trust`: the probes of an integration as a matrix."""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.following.watch import versions
from spacelift_aws_cli.kube.resources import INTEGRATION
from spacelift_aws_cli.model import integrations
from spacelift_aws_cli.model.objects import Object, status_of
from spacelift_aws_cli.model.references import split
from spacelift_aws_cli.options import OutputOption, Session
from spacelift_aws_cli.output.console import answer, say, show
from spacelift_aws_cli.output.tables import Cell, Row, Tone, columns

ANNOTATION = "aws.spacelift.io/verify"


def trust(
    session: Session,
    integration: Annotated[str, typer.Argument(help="The AwsIntegration: NAME or NAMESPACE/NAME.")],
    verify: Annotated[bool, typer.Option("--verify", help="Have STS asked anew, and wait for its answers.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answers.")] = 60,
    output: OutputOption = None,
) -> None:
    """Show what STS answered to each probe of an integration's role. Ends with 1 where Runs may not use it."""
    namespace, name = split(integration, session.namespace)
    found = _verified(session, namespace, name, timeout) if verify else session.client.get(INTEGRATION, namespace, name)
    if output is not None:
        answer(found, output)
    else:
        show(_page(found, datetime.now(UTC)))
    sys.exit(Exit.OK if integrations.is_ready(found) else Exit.NO)


def _verified(session: Session, namespace: str, name: str, timeout: float) -> Object:
    before = session.client.get(INTEGRATION, namespace, name)
    if not before["spec"].get("roleArn"):
        raise UserError(f"AwsIntegration {namespace}/{name} has no roleArn yet: `create-role {name}` helps.")
    say("STS is being asked.")
    value = datetime.now(UTC).isoformat()
    asked = session.client.patch(INTEGRATION, namespace, name, {"metadata": {"annotations": {ANNOTATION: value}}})
    deadline = time.monotonic() + timeout
    for found in versions(session.client, INTEGRATION, namespace, name, say=say, timeout=timeout):
        if integrations.answered_since(asked, found):
            return found
        if time.monotonic() > deadline:
            break
    raise UserError(f"No answer within {timeout:g} seconds: look at `kubectl spacelift-aws doctor`.", Exit.TIMED_OUT)


def _page(found: Object, now: datetime) -> Iterator[Row]:
    status, verdict = status_of(found), integrations.verdict(found)
    ready = integrations.is_ready(found)
    yield [Cell(str(found["spec"].get("roleArn") or "no role yet"))]
    yield [Cell(f"external ID {status.get('externalId', 'not known yet')}", Tone.QUIET)]
    yield [
        Cell(str(verdict.get("reason") or "NotVerifiedYet"), Tone.GOOD if ready else Tone.BAD),
        Cell(f": {verdict['message']}" if verdict.get("message") else ""),
    ]
    yield from _matrix(status.get("probes") or [], now)
    for worker in status.get("workers") or ():
        yield []
        yield [
            Cell(f"Pool {worker['pool']}: ", Tone.TITLE),
            Cell(str(worker.get("reason") or "not verified yet")),
            Cell(f" as {worker['principal']}" if worker.get("principal") else ""),
        ]
        yield from _matrix(worker.get("probes") or [], now)


def _matrix(probes: list[Object], now: datetime) -> Iterator[Row]:
    if not probes:
        return
    yield []
    yield from columns(integrations.PROBES, list(integrations.probe_rows(probes, now)))
    yield from integrations.answers(probes)
