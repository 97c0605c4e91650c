"""What a support archive holds of an object: nothing that its author may have meant to keep."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "<left out>"
_SECRET_LIKE = re.compile(
    r"(?i)((?:secret|token|password|passwd|credential|authorization)[\w-]*[\"']?\s*[:=]\s*[\"']?(?:bearer\s+)?)[^\s\"',]+"
)
_LONG = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])|[A-Za-z0-9/+]{100,}={0,2}")
"""The forms of a secret access key and of a session token."""


def redacted(value: Any, key: str = "") -> Any:
    """The same object without values of variables, what commands are given, and copies of the whole in annotations.

    Our own settings stay: none of them is a secret.
    """
    if isinstance(value, Mapping):
        return {name: _entry(name, one, value) for name, one in value.items() if name != "managedFields"}
    if isinstance(value, list):
        if key in ("command", "args"):
            return [*value[:1], *[HIDDEN] * (len(value) - 1)] if key == "command" else [HIDDEN] * len(value)
        return [redacted(one) for one in value]
    return text(value) if isinstance(value, str) else value


def text(found: str) -> str:
    """A text without what looks like a secret."""
    return _LONG.sub(HIDDEN, _SECRET_LIKE.sub(rf"\1{HIDDEN}", found))


def _entry(name: str, value: Any, beside: Mapping[str, Any]) -> Any:
    if name in ("data", "stringData", "binaryData"):
        return HIDDEN
    if name == "value" and not str(beside.get("name", "")).startswith("SPACELIFT_AWS_"):
        return HIDDEN
    if name == "kubectl.kubernetes.io/last-applied-configuration":
        return HIDDEN
    return redacted(value, name)
