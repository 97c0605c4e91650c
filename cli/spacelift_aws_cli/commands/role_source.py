"""From a command line, with or without a cluster, to the role that an integration needs."""

from dataclasses import dataclass
from typing import Annotated

import typer

from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.kube.errors import KubeError, NotFound
from spacelift_aws_cli.kube.resources import INTEGRATION
from spacelift_aws_cli.model import roles
from spacelift_aws_cli.model.objects import Object
from spacelift_aws_cli.options import Session

PLACE = "Before the integration exists"
Integration = Annotated[str, typer.Argument(help="The AwsIntegration, which need not exist: NAME or NAMESPACE/NAME.")]
Installation = Annotated[str | None, typer.Option(help="The operator's `installation`.", rich_help_panel=PLACE)]
Principal = Annotated[str | None, typer.Option(help="The operator's ARN in AWS.", rich_help_panel=PLACE)]
Tags = Annotated[bool, typer.Option("--tag-assume-role", help="It will set tagAssumeRole.", rich_help_panel=PLACE)]
SourceIdentity = Annotated[
    bool, typer.Option("--source-identity", help="It will set sourceIdentity.", rich_help_panel=PLACE)
]
Duration = Annotated[int | None, typer.Option(help="Its durationSeconds.", min=900, max=43200, rich_help_panel=PLACE)]
RoleName = Annotated[str | None, typer.Option(help="The role's name; by default that of roleArn, or one made up.")]
Pool = Annotated[str | None, typer.Option(help="In worker mode: the pool that the role is to trust.")]


@dataclass(frozen=True)
class Said:
    """What the command line says of an integration that may not exist yet."""

    installation: str | None = None
    principal: str | None = None
    tags: bool = False
    source_identity: bool = False
    duration: int | None = None
    role_name: str | None = None
    pool: str | None = None


def found_role(session: Session, namespace: str, name: str, said: Said) -> tuple[roles.Role, Object | None]:
    """The role, and the integration where there is one. Raises UserError where too little is known.

    With --installation and --principal no cluster is asked.
    """
    if said.installation and said.principal:
        return _role(said, namespace, name, said.installation, said.principal), None
    try:
        found = session.client.get(INTEGRATION, namespace, name)
    except NotFound:
        installation, principal = _guessed(session, namespace)
        installation, principal = said.installation or installation, said.principal or principal
        if not installation or not principal:
            missing = " and ".join(
                option for option, value in (("--installation", installation), ("--principal", principal)) if not value
            )
            raise UserError(
                f"There is no AwsIntegration {namespace}/{name}, and no other that shows the operator's identity: "
                f"give {missing}.",
                Exit.USAGE,
            ) from None
        return _role(said, namespace, name, installation, principal), None
    principal, sent = roles.sent_by(found, said.pool)
    return roles.role(roles.needs_of(found), principal, sent, said.role_name), found


def _role(said: Said, namespace: str, name: str, installation: str, principal: str) -> roles.Role:
    needs = roles.Needs(namespace, name, said.tags, said.source_identity, said.duration or 3600)
    return roles.role(needs, principal, roles.computed(needs, installation), said.role_name)


def _guessed(session: Session, namespace: str) -> tuple[str | None, str | None]:
    for place in (None, namespace):
        try:
            return roles.guessed(session.client.find(INTEGRATION, place))
        except KubeError:
            continue
    return None, None
