"""ARNs of roles and of callers, taken apart. Pure."""

import re
from dataclasses import dataclass

_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/((?:[^/]+/)*)([^/]+)")
_CALLER = re.compile(r"arn:(aws[a-z-]*):(?:sts|iam)::(\d{12}):(.+)")


@dataclass(frozen=True)
class ParsedRoleArn:
    """An IAM role. `path` begins and ends with a slash, as IAM has it; `/` is no path."""

    partition: str
    account: str
    path: str
    name: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role{self.path}{self.name}"


@dataclass(frozen=True)
class CallerArn:
    """Who a caller is to IAM: what a trust policy would have to name.

    `role` is the name of the role where the caller is a session of one; then its path is unknown, for
    `GetCallerIdentity` drops it.
    """

    partition: str
    account: str
    principal: str
    role: str | None


def parse_role_arn(text: str) -> ParsedRoleArn | None:
    """The parts of a role's ARN, None if it is none."""
    match = _ROLE.fullmatch(text)
    if match is None:
        return None
    partition, account, path, name = match.groups()
    return ParsedRoleArn(partition, account, f"/{path}", name)


def parse_caller_arn(text: str) -> CallerArn | None:
    """The principal behind an ARN of `GetCallerIdentity`, None if it has no form that is known.

    `arn:aws:sts::1…:assumed-role/NAME/SESSION` is the role `NAME`; users (whose path is kept), root and federated
    users stand for themselves.
    """
    match = _CALLER.fullmatch(text)
    if match is None:
        return None
    partition, account, resource = match.groups()
    kind, *names = resource.split("/")
    if kind == "assumed-role":
        if len(names) != 2:
            return None
        return CallerArn(partition, account, f"arn:{partition}:iam::{account}:role/{names[0]}", names[0])
    return CallerArn(partition, account, text, None)


def account_of(arn: str) -> str | None:
    """The account that an ARN belongs to; a bare account ID, which a trust policy may name too, is one itself."""
    if re.fullmatch(r"\d{12}", arn):
        return arn
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 and re.fullmatch(r"\d{12}", parts[4]) else None


def partition_of(arn: str, default: str = "aws") -> str:
    """The partition of an ARN."""
    parts = arn.split(":", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "arn" and parts[1] else default
