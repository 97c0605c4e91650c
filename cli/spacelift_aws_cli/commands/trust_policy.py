"""`trust-policy`: the trust that an integration's role needs, for every tool."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from spacelift_aws_cli.commands import role_source as source
from spacelift_aws_cli.model.references import split
from spacelift_aws_cli.model.roles import FORMS
from spacelift_aws_cli.options import Session


class Form(StrEnum):
    """What can be written; the keys of `model.roles.FORMS`."""

    JSON = "json"
    TERRAFORM = "terraform"
    CLOUDFORMATION = "cloudformation"
    PULUMI = "pulumi"
    AWS = "aws"


def trust_policy(
    session: Session,
    integration: source.Integration,
    form: Annotated[Form, typer.Option("--format", "-o", help="What to write.")] = Form.JSON,
    role_name: source.RoleName = None,
    pool: source.Pool = None,
    installation: source.Installation = None,
    principal: source.Principal = None,
    tags: source.Tags = False,
    source_identity: source.SourceIdentity = False,
    duration: source.Duration = None,
) -> None:
    """Write the trust policy as JSON, or a role that has it for Terraform, CloudFormation, Pulumi or the AWS CLI.

    The external ID is known before anything exists: with --installation and --principal no cluster is asked.
    """
    namespace, name = split(integration, "" if "/" in integration else session.namespace)
    said = source.Said(installation, principal, tags, source_identity, duration, role_name, pool)
    role, _ = source.found_role(session, namespace, name, said)
    sys.stdout.write(FORMS[form](role))
