"""`wait`: until a Run has ended."""

import sys
from typing import Annotated

import typer

from spacelift_aws_cli.following.attend import attend
from spacelift_aws_cli.kube.resources import RUN
from spacelift_aws_cli.model.runs import exit_code, has_ended
from spacelift_aws_cli.options import Session


def wait(
    session: Session,
    run: Annotated[str, typer.Argument(help="The Run.")],
    timeout: Annotated[float | None, typer.Option(help="Seconds; without it for ever.")] = None,
) -> None:
    """Wait until a Run has ended, say its phases meanwhile, and end with its exit code."""
    found = session.client.get(RUN, session.namespace, run)
    if not has_ended(found):
        found = attend(session.client, found, stop_on_interrupt=False, logs=False, timeout=timeout)
    sys.exit(exit_code(found))
