"""The one way in which a status becomes a patch."""

from typing import Any

from spacelift_aws.api.meta import Status

Wire = dict[str, Any]
"""JSON as the API has it: camelCase names, no nulls."""


def wire(status: Status, fields: set[str] | None = None) -> Wire:
    """A status as the API has it, or these fields of it."""
    return status.model_dump(include=fields, by_alias=True, exclude_none=True, mode="json")


def status_patch(before: Status, after: Status) -> Wire:
    """The merge patch from one status to another, empty if they are the same: what is no longer there is null."""
    # Most fields are the same object: to write and compare all of them would cost ten times as much.
    differing = {name for name in type(after).model_fields if getattr(before, name) != getattr(after, name)}
    old, new = wire(before, differing), wire(after, differing)
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    return changed | {key: None for key in old if key not in new}
