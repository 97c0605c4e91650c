"""`logs`: what a run printed, or prints."""

import sys
from typing import Annotated

import typer

from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.following.attend import attend
from spacelift_aws_cli.following.cursor import Cursor
from spacelift_aws_cli.kube.errors import ApiError, NotFound
from spacelift_aws_cli.kube.resources import RUN
from spacelift_aws_cli.model.objects import name_of, namespace_of, status_of
from spacelift_aws_cli.model.runs import containers_of, exit_code, has_ended, why
from spacelift_aws_cli.options import Session


def logs(
    session: Session,
    run: Annotated[str, typer.Argument(help="The Run.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")] = False,
    container: Annotated[str | None, typer.Option("--container", "-c", help="Of this container alone.")] = None,
) -> None:
    """Print a run's logs, of all its containers; with --follow until its end, and then end with its exit code."""
    found = session.client.get(RUN, session.namespace, run)
    known = containers_of(found)
    if container and container not in known:
        raise UserError(f"Run {run} has no container {container}: it has {', '.join(known)}.")
    if follow and not has_ended(found):
        sys.exit(exit_code(attend(session.client, found, stop_on_interrupt=False, timeout=None)))
    pod = status_of(found).get("podName")
    if not pod:
        raise UserError(f"Run {run} has no pod and so no logs: {why(found) or 'it has just been created'}.")
    wanted = [container] if container else known
    out = sys.stdout.buffer
    for one in wanted:
        prefix = f"[{one}] ".encode() if len(wanted) > 1 else b""
        cursor = Cursor()
        try:
            for line in session.client.log(namespace_of(found), str(pod), one, cursor.begin()):
                text = cursor.take(line)
                if text is not None:
                    out.write(prefix + text)
        except NotFound:
            raise UserError(f"The pod {pod} of Run {name_of(found)} is deleted, and its logs with it.") from None
        except ApiError as error:
            if error.status != 400:
                raise
            # A container that never started, beside others that did.
            print(f"{one}: {error.words}", file=sys.stderr)
    out.flush()
