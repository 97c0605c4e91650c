"""`revoke`: stop a Run and end its sessions in AWS."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from spacelift_aws_cli.aws.iam import Iam
from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.kube.resources import RUN
from spacelift_aws_cli.model.objects import name_of
from spacelift_aws_cli.model.revocation import Revocation, commands, revocation
from spacelift_aws_cli.model.runs import has_ended
from spacelift_aws_cli.model.times import span
from spacelift_aws_cli.options import Session
from spacelift_aws_cli.output.console import confirm, say

AFTER = 5.0
"""Seconds beyond the sessions' end: clocks differ."""


def revoke(
    session: Session,
    run: Annotated[str, typer.Argument(help="The Run.")],
    apply: Annotated[bool, typer.Option("--apply", help="Put the deny on the role, as your own AWS identity.")] = False,
    until_expired: Annotated[
        bool, typer.Option("--until-expired", help="Wait, and take the deny away when the last session has ended.")
    ] = False,
    profile: Annotated[str | None, typer.Option(help="Profile of your AWS configuration.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop a Run and end its sessions: deleting its Secret does not, for STS cannot take a session back.

    Stops the Run, and shows the commands that deny everything to its sessions; with --apply it runs them.
    """
    if until_expired and not apply:
        raise UserError("--until-expired removes what --apply adds: add --apply.", Exit.USAGE)
    found = session.client.get(RUN, session.namespace, run)
    wanted = revocation(found)
    iam = _allowed(wanted, profile) if apply else None
    if iam:
        say("\n".join(commands(wanted)))
        confirm(f"Stop Run {run} and put this deny on role {wanted.role} in account {wanted.account}?", yes)
    if not has_ended(found):
        session.client.patch(RUN, session.namespace, run, {"spec": {"stop": True}})
        say(f"Run {name_of(found)} is being stopped.")
        # What was issued meanwhile ends later.
        wanted = revocation(session.client.get(RUN, session.namespace, run))
    if iam is None:
        say(f"To end its sessions at once, as somebody who may change role {wanted.role} in {wanted.account}:")
        print("\n".join(commands(wanted)))
        return
    iam.put_policy(wanted.role, wanted.policy_name, wanted.document)
    print(f"Role {wanted.role} denies everything to sessions named {wanted.run_id}")
    if until_expired:
        _take_away(iam, wanted)


def _allowed(wanted: Revocation, profile: str | None) -> Iam:
    iam = Iam(profile)
    account, arn = iam.who()
    if account != wanted.account:
        raise UserError(f"The role is in account {wanted.account}, and you are {arn}: choose another --profile.")
    return iam


def _take_away(iam: Iam, wanted: Revocation) -> None:
    if wanted.until is None:
        raise UserError("It is not known when the last session ends, so the deny stays: remove it by hand.")
    left = (wanted.until - datetime.now(UTC)).total_seconds() + AFTER
    if left > 0:
        say(f"The last session ends in {span(left)}; Ctrl-C leaves the deny where it is.")
        time.sleep(left)
    iam.delete_policy(wanted.role, wanted.policy_name)
    print(f"Policy {wanted.policy_name} is removed: the last session has ended")
