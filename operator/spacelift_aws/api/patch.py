"""The one way in which a status becomes a patch."""

from typing import Any

from spacelift_aws.api.meta import Status

Wire = dict[str, Any]
"""JSON as the API has it: camelCase names, no nulls."""


def wire(status: Status) -> Wire:
    """A status as the API has it."""
    return status.model_dump(by_alias=True, exclude_none=True, mode="json")


def status_patch(before: Status, after: Status) -> Wire:
    """The merge patch from one status to another, empty if they are the same: what is no longer there is null."""
    old, new = wire(before), wire(after)
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    return changed | {key: None for key in old if key not in new}
