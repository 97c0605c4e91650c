"""What is the same for every object of the API."""

from typing import Any

Object = dict[str, Any]
"""As its JSON is."""


def name_of(found: Object) -> str:
    """Its name."""
    return str(found["metadata"]["name"])


def namespace_of(found: Object) -> str:
    """Its namespace; empty for what has none."""
    return str(found["metadata"].get("namespace", ""))


def status_of(found: Object) -> Object:
    """Its status; empty before anybody wrote one."""
    return found.get("status") or {}


def condition(found: Object, kind: str) -> Object:
    """The condition of a type; empty where there is none."""
    return next((one for one in status_of(found).get("conditions") or () if one.get("type") == kind), {})


def one_line(text: str, limit: int = 0) -> str:
    """The text in one line, cut where it is longer than `limit` characters; 0 is no limit."""
    line = " ".join(text.split())
    return line if not limit or len(line) <= limit else line[: limit - 1] + "…"


def first_line(text: str) -> str:
    """What a message begins with, without the statement to copy that may follow."""
    return one_line(text.strip().split("\n", 1)[0])
