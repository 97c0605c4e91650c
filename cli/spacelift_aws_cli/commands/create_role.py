"""`create-role`: the role that an integration needs, by the console or by the caller's own AWS identity."""

import sys
from typing import Annotated

import typer

from spacelift_aws_cli.aws.iam import Iam
from spacelift_aws_cli.commands import role_source as source
from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.kube.resources import INTEGRATION
from spacelift_aws_cli.model.objects import Object, status_of
from spacelift_aws_cli.model.references import split
from spacelift_aws_cli.model.roles import Role, as_commands
from spacelift_aws_cli.options import Session
from spacelift_aws_cli.output.console import confirm, say


def create_role(
    session: Session,
    integration: source.Integration,
    apply: Annotated[bool, typer.Option("--apply", help="Make the role, as your own AWS identity.")] = False,
    open_link: Annotated[bool, typer.Option("--open", help="Open the console's link in a browser.")] = False,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="With --apply: ARN of a managed policy to attach; repeatable.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Profile of your AWS configuration.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    role_name: source.RoleName = None,
    pool: source.Pool = None,
    installation: source.Installation = None,
    principal: source.Principal = None,
    tags: source.Tags = False,
    source_identity: source.SourceIdentity = False,
    duration: source.Duration = None,
) -> None:
    """Print the link to the AWS console's form, filled in; or with --apply make the role.

    --apply shows what it is about to do and asks. Where the integration exists without a role, its roleArn is set too.
    """
    namespace, name = split(integration, "" if "/" in integration else session.namespace)
    said = source.Said(installation, principal, tags, source_identity, duration, role_name, pool)
    role, found = source.found_role(session, namespace, name, said)
    if apply:
        _make(session, namespace, name, found, role, list(policy or ()), profile, yes)
        return
    link = status_of(found).get("createRoleUrl") if found else None
    if not link:
        say("The console's form cannot make this role, so here are the commands:")
        sys.stdout.write(as_commands(role))
        return
    print(link)
    if open_link and not _opened(str(link)):
        raise UserError("No browser could be opened: open the link above yourself.")


def _opened(link: str) -> bool:
    import webbrowser

    return webbrowser.open(link)


def _make(
    session: Session,
    namespace: str,
    name: str,
    found: Object | None,
    role: Role,
    policies: list[str],
    profile: str | None,
    yes: bool,
) -> None:
    iam = Iam(profile)
    account, arn = iam.who()
    if role.account and account != role.account:
        raise UserError(f"roleArn names account {role.account}, and you are {arn}: choose another --profile.")
    sets_arn = found is not None and not found["spec"].get("roleArn")
    say(as_commands(role).rstrip())
    for one in policies:
        say(f"aws iam attach-role-policy --role-name {role.name} --policy-arn {one}")
    if sets_arn:
        say(f"and write its ARN into roleArn of AwsIntegration {namespace}/{name}")
    confirm(f"Do this as {arn}?", yes)
    made = iam.create_role(role)
    for one in policies:
        iam.attach(role.name, one)
    print(made)
    if not policies:
        say("The role may do nothing yet: attach policies to it, or use --policy.")
    if sets_arn:
        session.client.patch(INTEGRATION, namespace, name, {"spec": {"roleArn": made}})
        say(f"roleArn is set: `kubectl spacelift-aws trust {namespace}/{name} --verify` shows whether it is right.")
