"""The texts that people paste into IAM: statements and documents, as JSON. Pure.

IAM counts 2,048 characters of a trust policy without its white space; the longest that is made here stays below.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

ASSUME_ROLE: Final = "sts:AssumeRole"
TAG_SESSION: Final = "sts:TagSession"
SET_SOURCE_IDENTITY: Final = "sts:SetSourceIdentity"

VERSION: Final = "2012-10-17"

PolicyStatement = dict[str, Any]


def session_actions(*, tags: bool, source_identity: bool) -> tuple[str, ...]:
    """What a session needs beside `sts:AssumeRole`, on both sides."""
    return ((TAG_SESSION,) if tags else ()) + ((SET_SOURCE_IDENTITY,) if source_identity else ())


def trust_statement(principal: str, external_id: str, extra: Sequence[str] = ()) -> PolicyStatement:
    """The one statement that a role's trust policy needs: this principal, with exactly this external ID."""
    return {
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": _one_or_many((ASSUME_ROLE, *extra)),
        "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
    }


def session_statement(principal: str, extra: Sequence[str]) -> PolicyStatement:
    """The statement that allows tags or a source identity by themselves.

    It has no condition on the external ID: AWS documents that key for `sts:AssumeRole` alone, and without that action
    these allow nothing.
    """
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": _one_or_many(extra)}


def trust_policy(principal: str, external_id: str, extra: Sequence[str] = ()) -> PolicyStatement:
    """The whole trust policy of a new role."""
    statements = [trust_statement(principal, external_id, extra)]
    if extra:
        statements.append(session_statement(principal, extra))
    return {"Version": VERSION, "Statement": statements}


def caller_statement(role_arn: str, extra: Sequence[str] = ()) -> PolicyStatement:
    """What the operator's own identity must be allowed, unless role and operator share an account."""
    return {"Effect": "Allow", "Action": _one_or_many((ASSUME_ROLE, *extra)), "Resource": role_arn}


def role_placeholder(partition: str) -> str:
    """Stands for the ARN of a role that does not exist yet."""
    return f"arn:{partition}:iam::<account ID>:role/<role name>"


def deny_all() -> str:
    """A session policy under which a session can do nothing at all."""
    return one_line({"Version": VERSION, "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})


def deny_all_arn(partition: str) -> str:
    """The managed policy of AWS that denies everything."""
    return f"arn:{partition}:iam::aws:policy/AWSDenyAll"


def readable(document: PolicyStatement) -> str:
    """JSON as it is pasted into an editor; the same document always gives the same text."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def one_line(document: PolicyStatement) -> str:
    """JSON within a sentence."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _one_or_many(actions: Sequence[str]) -> str | list[str]:
    return actions[0] if len(actions) == 1 else list(actions)
