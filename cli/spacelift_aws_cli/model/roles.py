"""The IAM role that an integration needs, and the ways to write it down."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spacelift_aws.aws import policies
from spacelift_aws.aws.arns import parse_role_arn
from spacelift_aws.names import external_id
from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.model.objects import Object, name_of, namespace_of, status_of

NAME_LIMIT = 64
"""Characters that IAM allows a role's name."""


@dataclass(frozen=True)
class Role:
    """What is needed to create a role. `duration`: its maximum session duration in seconds, an hour at least."""

    name: str
    trust: Mapping[str, Any]
    path: str = "/"
    duration: int = 3600
    account: str | None = None


@dataclass(frozen=True)
class Needs:
    """What an integration asks of a role's trust policy."""

    namespace: str
    name: str
    tags: bool = False
    source_identity: bool = False
    duration: int = 3600
    role_arn: str | None = None


def needs_of(integration: Object) -> Needs:
    """What its spec says."""
    spec = integration["spec"]
    return Needs(
        namespace=namespace_of(integration),
        name=name_of(integration),
        tags=bool(spec.get("tagAssumeRole")),
        source_identity=bool(spec.get("sourceIdentity")),
        duration=int(spec.get("durationSeconds") or 3600),
        role_arn=spec.get("roleArn"),
    )


def role(needs: Needs, principal: str, sent: str, name: str | None = None) -> Role:
    """The role for these needs, which trusts `principal` under the external ID `sent`."""
    extra = policies.session_actions(tags=needs.tags, source_identity=needs.source_identity)
    known = parse_role_arn(needs.role_arn) if needs.role_arn else None
    return Role(
        name=name or (known.name if known else default_name(needs)),
        path=known.path if known and not name else "/",
        trust=policies.trust_policy(principal, sent, extra),
        duration=max(3600, needs.duration),
        account=known.account if known else None,
    )


def default_name(needs: Needs) -> str:
    """A role's name where nobody gave one."""
    return f"spacelift-{needs.namespace}-{needs.name}"[:NAME_LIMIT].rstrip("-.")


def sent_by(integration: Object, pool: str | None) -> tuple[str, str]:
    """Principal and external ID of an integration that the operator, or a worker pool, has looked at.

    Raises UserError where nobody has, or where it is not said which of several pools is meant.
    """
    status, place = status_of(integration), f"{namespace_of(integration)}/{name_of(integration)}"
    sent, principal = status.get("externalId"), status.get("principal")
    if integration["spec"].get("generateCredentialsInWorker"):
        principal = _worker(integration, pool).get("principal")
    if not sent or not principal:
        raise UserError(
            f"The operator has not yet said whom the role of {place} must trust: look at `kubectl spacelift-aws trust "
            f"{place}`, or give --installation and --principal."
        )
    return str(principal), str(sent)


def _worker(integration: Object, pool: str | None) -> Mapping[str, Any]:
    workers = {str(one["pool"]): one for one in status_of(integration).get("workers") or ()}
    if pool is not None and pool not in workers:
        raise UserError(f"No pool {pool} has looked at it yet: {', '.join(workers) or 'no pool has'}.")
    if pool is None and len(workers) > 1:
        raise UserError(f"Several pools use it, each under its own identity: say which, --pool {'|'.join(workers)}.")
    return workers[pool] if pool else next(iter(workers.values()), {})


def guessed(integrations: list[Object]) -> tuple[str | None, str | None]:
    """Installation and principal as other integrations of the cluster show them; None where they differ or say none."""
    installations, principals = set(), set()
    for one in integrations:
        if one["spec"].get("generateCredentialsInWorker"):
            continue
        status = status_of(one)
        own = f"@{namespace_of(one)}@{name_of(one)}"
        if str(status.get("externalId", "")).endswith(own):
            installations.add(str(status["externalId"]).removesuffix(own))
        if status.get("principal"):
            principals.add(str(status["principal"]))
    return _only(installations), _only(principals)


def _only(found: set[str]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None


def computed(needs: Needs, installation: str) -> str:
    """The external ID that the operator will send, known before there is anything."""
    return external_id(installation, needs.namespace, needs.name)


def as_json(wanted: Role) -> str:
    """The trust policy alone."""
    return json.dumps(wanted.trust, indent=2, ensure_ascii=False) + "\n"


def as_terraform(wanted: Role) -> str:
    """A resource of the Terraform provider `hashicorp/aws`."""
    return f'''resource "aws_iam_role" "{_word(wanted.name)}" {{
  name                 = {json.dumps(wanted.name)}
  path                 = {json.dumps(wanted.path)}
  max_session_duration = {wanted.duration}
  assume_role_policy   = jsonencode({_hcl(wanted.trust, 1)})
}}
'''


def as_cloudformation(wanted: Role) -> str:
    """A CloudFormation template."""
    import yaml

    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            _pascal(wanted.name): {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "RoleName": wanted.name,
                    "Path": wanted.path,
                    "MaxSessionDuration": wanted.duration,
                    "AssumeRolePolicyDocument": dict(wanted.trust),
                },
            }
        },
        "Outputs": {"RoleArn": {"Value": {"Fn::GetAtt": [_pascal(wanted.name), "Arn"]}}},
    }
    return str(yaml.safe_dump(template, sort_keys=False, width=120))


def as_pulumi(wanted: Role) -> str:
    """A Pulumi program in Python."""
    document = _indented(json.dumps(wanted.trust, indent=4, ensure_ascii=False), 4)
    return f"""import json

import pulumi
import pulumi_aws as aws

role = aws.iam.Role(
    {json.dumps(wanted.name)},
    name={json.dumps(wanted.name)},
    path={json.dumps(wanted.path)},
    max_session_duration={wanted.duration},
    assume_role_policy=json.dumps({document}),
)
pulumi.export("role_arn", role.arn)
"""


def as_commands(wanted: Role) -> str:
    """Commands of the AWS CLI."""
    document = json.dumps(wanted.trust, separators=(",", ":"), ensure_ascii=False)
    return (
        f"aws iam create-role --role-name {shlex.quote(wanted.name)} --path {shlex.quote(wanted.path)} "
        f"--max-session-duration {wanted.duration} \\\n  --assume-role-policy-document {shlex.quote(document)}\n"
    )


FORMS: Mapping[str, Callable[[Role], str]] = {
    "json": as_json,
    "terraform": as_terraform,
    "cloudformation": as_cloudformation,
    "pulumi": as_pulumi,
    "aws": as_commands,
}


def _hcl(value: Any, depth: int) -> str:
    """A JSON value as an HCL expression; `${` and `%{` would be read as templates."""
    pad = "  " * (depth + 1)
    end = "  " * depth
    if isinstance(value, Mapping):
        inner = "".join(f"{pad}{_key(key)} = {_hcl(one, depth + 1)}\n" for key, one in value.items())
        return f"{{\n{inner}{end}}}"
    if isinstance(value, list):
        inner = "".join(f"{pad}{_hcl(one, depth + 1)},\n" for one in value)
        return f"[\n{inner}{end}]"
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key)


def _indented(text: str, by: int) -> str:
    return text.replace("\n", "\n" + " " * by)


def _word(name: str) -> str:
    word = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)
    return word if word[0].isalpha() else f"role_{word}"


def _pascal(name: str) -> str:
    words = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in name).split()
    return "".join(word[0].upper() + word[1:] for word in words) + "Role"
