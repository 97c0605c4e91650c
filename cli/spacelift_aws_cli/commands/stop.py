"""`stop`: end a Run."""

from typing import Annotated

import typer

from spacelift_aws_cli.kube.resources import RUN
from spacelift_aws_cli.model.objects import name_of
from spacelift_aws_cli.model.runs import has_ended, phase_of
from spacelift_aws_cli.options import Session


def stop(session: Session, runs: Annotated[list[str], typer.Argument(help="The Runs.", metavar="RUN...")]) -> None:
    """Stop Runs: their pods get their grace period, their credentials are deleted. `revoke` ends their sessions too."""
    for run in runs:
        found = session.client.get(RUN, session.namespace, run)
        if has_ended(found):
            print(f"Run {run} has ended already: {phase_of(found)}")
            continue
        stopped = session.client.patch(RUN, session.namespace, run, {"spec": {"stop": True}})
        print(f"Run {name_of(stopped)} is being stopped")
