"""`integrations`: all AwsIntegrations at a glance."""

from datetime import datetime
from typing import Annotated

import typer

from spacelift_aws_cli.commands import listing
from spacelift_aws_cli.kube.resources import INTEGRATION
from spacelift_aws_cli.model.integrations import header, row
from spacelift_aws_cli.model.objects import Object
from spacelift_aws_cli.options import AllNamespaces, OutputOption, Session
from spacelift_aws_cli.output.tables import Cell


def integrations(
    session: Session,
    all_namespaces: AllNamespaces = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on and show what changes.")] = False,
    output: OutputOption = None,
) -> None:
    """List AwsIntegrations: whether they are ready, why not, when they were and will be verified."""
    namespace = None if all_namespaces else session.namespace
    titles = header(with_namespace=all_namespaces)

    def line(one: Object, now: datetime) -> list[Cell]:
        return row(one, now, with_namespace=all_namespaces)

    if watch:
        listing.watch(session, INTEGRATION, namespace, titles, line, output)
        return
    found = session.client.find(INTEGRATION, namespace)
    listing.list_once(found, titles, line, output, f"No AwsIntegrations in {namespace or 'any namespace'}.")
