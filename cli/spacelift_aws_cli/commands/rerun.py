"""`rerun`: a new Run of the same spec."""

import sys
from typing import Annotated

import typer

from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.following.attend import attend
from spacelift_aws_cli.kube.resources import RUN
from spacelift_aws_cli.model import manifest
from spacelift_aws_cli.model.objects import name_of, namespace_of
from spacelift_aws_cli.model.runs import exit_code
from spacelift_aws_cli.model.workdir import SOURCE
from spacelift_aws_cli.options import Session
from spacelift_aws_cli.output.console import say


def rerun(
    session: Session,
    run: Annotated[str, typer.Argument(help="The Run.")],
    name: Annotated[str | None, typer.Option(help="The new Run's name.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Only create it, and print its name.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait for its end; it is not stopped then.")] = None,
) -> None:
    """Create a new Run of the same spec and follow it as `run` does."""
    old = session.client.get(RUN, session.namespace, run)
    if SOURCE in str(old["spec"].get("template")):
        raise UserError(f"Run {run} was created with --dir, and its folder is deleted with it: use `run --dir` again.")
    made = session.client.create(RUN, namespace_of(old), manifest.again(old, name))
    if detach:
        print(name_of(made))
        return
    say(f"Run {name_of(made)} in namespace {namespace_of(made)}, of the same spec as {run}")
    sys.exit(exit_code(attend(session.client, made, stop_on_interrupt=True, timeout=timeout)))
