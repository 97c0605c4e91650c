"""`get`: one Run's whole story on a page."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from spacelift_aws_cli.kube.errors import KubeError
from spacelift_aws_cli.kube.resources import EVENT, INTEGRATION, POD, RUN
from spacelift_aws_cli.model import integrations, story
from spacelift_aws_cli.model.objects import Object, name_of, namespace_of, status_of
from spacelift_aws_cli.model.runs import has_ended, integration_of, phase_cell, requester_of, stopper_of, why
from spacelift_aws_cli.model.times import age, countdown
from spacelift_aws_cli.options import OutputOption, Session
from spacelift_aws_cli.output.console import answer, show
from spacelift_aws_cli.output.tables import Cell, Row, Tone, columns


def get(
    session: Session,
    run: Annotated[str, typer.Argument(help="The Run.")],
    output: OutputOption = None,
) -> None:
    """Show one Run's whole story: who asked, each step and what it took, its integration's probes, CloudTrail."""
    found = session.client.get(RUN, session.namespace, run)
    integration = _integration(session, found)
    pod = _pod(session, found)
    events = _events(session, found)
    if output is not None:
        answer({"run": found, "integration": integration, "pod": pod, "events": events}, output)
        return
    now = datetime.now(UTC)
    show(_head(found, now))
    print("\nWhat happened")
    show(story.drawn(story.time_line(found, pod, events)))
    print("\nAwsIntegration " + "/".join(integration_of(found)))
    show(_trust(integration, now))
    sys.stdout.flush()


def _head(run: Object, now: datetime) -> list[Row]:
    status, spec = status_of(run), run["spec"]
    expires = status.get("credentialsExpireAt")
    lines = {
        "Run": f"{namespace_of(run)}/{name_of(run)}",
        "Type": f"{spec.get('type', 'Task')}" + (f" of stack {spec['stack']}" if spec.get("stack") else ""),
        "Run ID": status.get("runId"),
        "Asked by": requester_of(run),
        "Stopped by": stopper_of(run),
        "Age": age(run["metadata"].get("creationTimestamp"), now),
        "Acts as": status.get("assumedRoleArn"),
        "Expires": f"{expires} ({countdown(expires, now)})" if expires and not has_ended(run) else None,
        "Exit code": status.get("exitCode"),
        "CloudTrail": status.get("cloudTrailUrl"),
        "Logs": f"kubectl spacelift-aws logs {name_of(run)} -n {namespace_of(run)}" if status.get("podName") else None,
    }
    phase = [Cell("Phase"), phase_cell(run)]
    told = why(run)
    rows = [[Cell(key), Cell(str(value))] for key, value in lines.items() if value not in (None, "")]
    return [*columns((), [*rows[:2], phase, *rows[2:]]), *([[Cell(told)]] if told else [])]


def _trust(integration: Object | None, now: datetime) -> Iterator[Row]:
    if integration is None:
        yield [Cell("It does not exist, or may not be read with these rights.", Tone.BAD)]
        return
    verdict = integrations.verdict(integration)
    tone = Tone.GOOD if integrations.is_ready(integration) else Tone.BAD
    yield [
        Cell(str(verdict.get("reason") or "NotVerifiedYet"), tone),
        Cell(f"  {integration['spec'].get('roleArn', '')}"),
    ]
    probes = status_of(integration).get("probes") or []
    if probes:
        yield from columns(integrations.PROBES, list(integrations.probe_rows(probes, now)))


def _integration(session: Session, run: Object) -> Object | None:
    namespace, name = integration_of(run)
    with suppress(KubeError):
        return session.client.get(INTEGRATION, namespace, name)
    return None


def _pod(session: Session, run: Object) -> Object | None:
    name = status_of(run).get("podName")
    with suppress(KubeError):
        return session.client.get(POD, namespace_of(run), str(name)) if name else None
    return None


def _events(session: Session, run: Object) -> list[Object]:
    """Of the Run and of its pod; none where they may not be read."""
    names = [("Run", name_of(run))] + [("Pod", str(status_of(run)["podName"]))] * bool(status_of(run).get("podName"))
    found: list[Object] = []
    for kind, name in names:
        with suppress(KubeError):
            chosen = f"involvedObject.kind={kind},involvedObject.name={name}"
            found += session.client.find(EVENT, namespace_of(run), fieldSelector=chosen)
    return found
