"""Whether a role's trust policy lets a caller in: IAM's evaluation as AWS documents it, to judge others by. Pure.

Sources: the IAM User Guide's pages on policy evaluation logic, on condition operators (a missing key fails an
operator, but satisfies a negated one, `…IfExists` and `ForAllValues:`), on multivalued context keys, on the elements
`Principal` and `NotAction`, and on policy variables (one without a value makes the comparison fail).

The caller's own policies, those of organizations and permissions boundaries are not looked at: they only take away.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

ASSUME_ROLE: Final = "sts:AssumeRole"
TAG_SESSION: Final = "sts:TagSession"
SET_SOURCE_IDENTITY: Final = "sts:SetSourceIdentity"

Policy = Mapping[str, Any]
Context = Mapping[str, str | tuple[str, ...]]
"""Condition keys in lower case. A tuple is a multivalued key; a key without a value is absent."""


@dataclass(frozen=True)
class AssumeRole:
    """One call, as a trust policy sees it. `caller` is an ARN: a user, a role, a session of a role or a root."""

    caller: str
    session_name: str
    external_id: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    source_identity: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    """Further condition keys, `aws:SourceIp` say."""

    def actions(self) -> tuple[str, ...]:
        """All that must be allowed, the one first that STS names first."""
        tags = (TAG_SESSION,) if self.tags else ()
        return (ASSUME_ROLE, *tags, *((SET_SOURCE_IDENTITY,) if self.source_identity is not None else ()))

    def context(self) -> dict[str, str | tuple[str, ...]]:
        """The condition keys that have a value."""
        values: dict[str, str | tuple[str, ...] | None] = {
            "aws:principalarn": _role_of(self.caller),
            "aws:principalaccount": _account(self.caller),
            "sts:externalid": self.external_id,
            "sts:rolesessionname": self.session_name,
            "sts:sourceidentity": self.source_identity,
            "aws:tagkeys": tuple(key for key, _ in self.tags) or None,
            **{f"aws:requesttag/{key}".lower(): value for key, value in self.tags},
            **{key.lower(): value for key, value in self.more.items()},
        }
        return {key: value for key, value in values.items() if value is not None}


def denied_action(trust: Policy, call: AssumeRole) -> str | None:
    """The first action that the trust policy does not allow; None if the call gets a session."""
    context = call.context()
    return next((action for action in call.actions() if not _allows(trust, action, call.caller, context)), None)


def _allows(trust: Policy, action: str, caller: str, context: Context) -> bool:
    effects = {
        statement["Effect"]
        for statement in _listed(trust.get("Statement", ()))
        if _names_action(statement, action)
        and _names_caller(statement, caller)
        and all(
            _holds(operator, key.lower(), _texts(expected), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    }
    return effects == {"Allow"}


def _names_action(statement: Policy, action: str) -> bool:
    if "NotAction" in statement:
        return not any(matches(action.lower(), one.lower()) for one in _texts(statement["NotAction"]))
    return any(matches(action.lower(), one.lower()) for one in _texts(statement.get("Action", ())))


def _names_caller(statement: Policy, caller: str) -> bool:
    if "NotPrincipal" in statement:
        return not _is_named(statement["NotPrincipal"], caller)
    return _is_named(statement.get("Principal", {}), caller)


def _is_named(principal: Any, caller: str) -> bool:
    """A principal is an exact ARN, a whole account, or everybody; other wildcards AWS refuses to store."""
    if principal == "*":
        return True
    account = _account(caller)
    return any(
        one in ("*", caller, _role_of(caller), account)
        or (one.endswith(":root") and one.split(":")[4] == account)
        or _is_pathless(one, caller)
        for one in _texts(principal.get("AWS", ()))
    )


def _is_pathless(principal: str, caller: str) -> bool:
    """A session's ARN lacks its role's path: whoever has the same name and account is that role."""
    role = _role_of(caller)
    return (
        role != caller
        and principal.split(":role/")[0] == role.split(":role/")[0]
        and (principal.rsplit("/", 1)[-1] == role.rsplit("/", 1)[-1])
    )


def _role_of(caller: str) -> str:
    """The principal behind a session's ARN, its path unknown; other ARNs as they are."""
    session = re.fullmatch(r"arn:([^:]+):sts::(\d+):assumed-role/([^/]+)/.+", caller)
    return f"arn:{session[1]}:iam::{session[2]}:role/{session[3]}" if session else caller


def _account(arn: str) -> str:
    return arn.split(":")[4]


# Conditions

_OPERATORS: Final[dict[str, Callable[[str, str], bool]]] = {
    "stringequals": lambda value, expected: value == expected,
    "stringequalsignorecase": lambda value, expected: value.lower() == expected.lower(),
    "stringlike": lambda value, expected: matches(value, expected),
    "arnequals": lambda value, expected: matches(value, expected),
    "arnlike": lambda value, expected: matches(value, expected),
    "bool": lambda value, expected: value.lower() == expected.lower(),
}
_NEGATED: Final = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
}


def _holds(operator: str, key: str, expected: tuple[str, ...], context: Context) -> bool:
    name = operator.lower()
    present = key in context
    if name == "null":
        return present != (expected[0].lower() == "true")
    quantifier, _, name = name.rpartition(":")
    if name.endswith("ifexists"):
        if not present:
            return True
        name = name.removesuffix("ifexists")
    is_negated = name in _NEGATED
    compare = _OPERATORS[_NEGATED.get(name, name)]
    if not present:
        return quantifier == "forallvalues" or (is_negated and quantifier != "foranyvalue")

    def meets(value: str) -> bool:
        found = any(compare(value, text) for text in _expanded(expected, context))
        return found != is_negated

    value = context[key]
    values = value if isinstance(value, tuple) else (value,)
    # Without a quantifier a key with several values is compared as one that matches none of them.
    return all(map(meets, values)) if quantifier == "forallvalues" or is_negated else any(map(meets, values))


_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_LITERAL: Final = {"*": "\ufdd0", "?": "\ufdd1", "$": "$"}
"""A wildcard that is written as a variable becomes a character that no pattern treats as one."""


def _expanded(expected: Iterable[str], context: Context) -> Iterable[str]:
    """Values with their policy variables filled in; those in which one has no value match nothing."""
    for text in expected:
        names = [name.lower() for name in _VARIABLE.findall(text) if name not in _LITERAL]
        if all(isinstance(context.get(name), str) for name in names):
            yield _VARIABLE.sub(lambda found: _LITERAL.get(found[1]) or str(context[found[1].lower()]), text)


@lru_cache(maxsize=100_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    wild = {"*": ".*", "?": ".", "\ufdd0": r"\*", "\ufdd1": r"\?"}
    return re.compile("".join(wild.get(character) or re.escape(character) for character in pattern), re.DOTALL)


def matches(value: str, pattern: str) -> bool:
    """Whether a pattern matches: `*` is any number of characters, `?` is one."""
    return _compiled(pattern).fullmatch(value) is not None


def _listed(one_or_many: Any) -> tuple[Any, ...]:
    return tuple(one_or_many) if isinstance(one_or_many, (list, tuple)) else (one_or_many,)


def _texts(one_or_many: Any) -> tuple[str, ...]:
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in _listed(one_or_many))
