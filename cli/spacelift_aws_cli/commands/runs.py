"""`runs`: all Runs at a glance."""

from datetime import datetime
from typing import Annotated

import typer

from spacelift_aws_cli.commands import listing
from spacelift_aws_cli.kube.resources import RUN
from spacelift_aws_cli.model.objects import Object
from spacelift_aws_cli.model.runs import header, row
from spacelift_aws_cli.options import AllNamespaces, OutputOption, Session
from spacelift_aws_cli.output.tables import Cell


def runs(
    session: Session,
    all_namespaces: AllNamespaces = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on and show what changes.")] = False,
    phase: Annotated[str | None, typer.Option(help="Only Runs in this phase.")] = None,
    integration: Annotated[str | None, typer.Option("--integration", "-i", help="Only Runs of this one.")] = None,
    selector: Annotated[str | None, typer.Option("--selector", "-l", help="Only Runs with these labels.")] = None,
    output: OutputOption = None,
) -> None:
    """List Runs: phase, why, when their credentials expire, who asked."""
    namespace = None if all_namespaces else session.namespace
    fields = {"status.phase": phase, "spec.integrationRef.name": integration}
    chosen = ",".join(f"{key}={value}" for key, value in fields.items() if value)
    query = {"fieldSelector": chosen, "labelSelector": selector or ""}
    query = {key: value for key, value in query.items() if value}
    titles = header(with_namespace=all_namespaces)

    def line(run: Object, now: datetime) -> list[Cell]:
        return row(run, now, with_namespace=all_namespaces)

    if watch:
        listing.watch(session, RUN, namespace, titles, line, output, **query)
        return
    found = session.client.find(RUN, namespace, **query)
    found.sort(key=lambda one: str(one["metadata"]["creationTimestamp"]), reverse=True)
    listing.list_once(found, titles, line, output, f"No Runs in {namespace or 'any namespace'}.")
