"""Ending a run's sessions: a policy on its role that denies everything to its run ID."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spacelift_aws.aws.arns import parse_role_arn
from spacelift_aws.aws.policies import VERSION
from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.model.objects import Object, name_of, status_of
from spacelift_aws_cli.model.times import parse


@dataclass(frozen=True)
class Revocation:
    """The deny for one run, and until when it is needed. `until` None: the end of its sessions is not known."""

    role: str
    account: str
    run_id: str
    until: datetime | None

    @property
    def policy_name(self) -> str:
        """The name of the inline policy."""
        return f"revoke-{self.run_id}"

    @property
    def document(self) -> Mapping[str, Any]:
        """A session's user ID is the role's and the session's name, which is the run ID."""
        condition = {"StringLike": {"aws:userid": f"*:{self.run_id}"}}
        statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
        return {"Version": VERSION, "Statement": [statement]}


def revocation(run: Object) -> Revocation:
    """What ends the sessions of a Run. Raises UserError for one that never had any."""
    status = status_of(run)
    arn, run_id = parse_role_arn(str(status.get("roleArn") or "")), status.get("runId")
    if arn is None or not run_id:
        raise UserError(f"Run {name_of(run)} was never issued credentials, so there is no session to end.")
    return Revocation(arn.name, arn.account, str(run_id), parse(status.get("credentialsExpireAt")))


def commands(wanted: Revocation) -> Iterator[str]:
    """What to run with the AWS CLI, first to deny and later to take it away."""
    document = json.dumps(wanted.document, separators=(",", ":"))
    names = f"--role-name {shlex.quote(wanted.role)} --policy-name {wanted.policy_name}"
    yield f"aws iam put-role-policy {names} --policy-document {shlex.quote(document)}"
    when = f"{wanted.until:%Y-%m-%d %H:%M:%S} UTC" if wanted.until else "the last session has ended"
    yield f"# after {when}:"
    yield f"aws iam delete-role-policy {names}"
