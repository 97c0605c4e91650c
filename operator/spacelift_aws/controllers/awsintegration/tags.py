"""The session tags that an AwsIntegration asks for beside the operator's own. Pure."""

import unicodedata
from collections.abc import Mapping

from spacelift_aws.api.awsintegration import SessionTag

VALUE_LIMIT = 256
"""Characters that STS allows a tag's value (https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html)."""

_ALLOWED = "_.:/=+-@"


def further_tags(
    tags: tuple[SessionTag, ...] | None, labels: Mapping[str, str], requester: str | None
) -> tuple[tuple[str, str], ...]:
    """The tags of a Run with these labels, created by `requester`. A tag whose source is missing is there and empty."""
    return tuple((tag.key, _value(tag, labels, requester)) for tag in tags or ())


def probed_tags(tags: tuple[SessionTag, ...] | None, placeholder: str) -> tuple[tuple[str, str], ...]:
    """The tags of a probe: as many and with the same keys as a Run's; what only a Run knows is the placeholder."""
    return tuple((tag.key, placeholder if tag.value is None else tag.value) for tag in tags or ())


def tag_value(text: str) -> str:
    """A value that STS takes: other characters become `_`, and what is too long loses its end."""
    return "".join(character if _is_allowed(character) else "_" for character in text)[:VALUE_LIMIT]


def _value(tag: SessionTag, labels: Mapping[str, str], requester: str | None) -> str:
    if tag.value is not None:
        return tag.value
    if tag.from_ is not None and tag.from_.label is not None:
        return tag_value(labels.get(tag.from_.label, ""))
    return tag_value(requester or "")


def _is_allowed(character: str) -> bool:
    """Letters, separators and numbers of any script, as in STS's `[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]`."""
    return character in _ALLOWED or unicodedata.category(character)[0] in "LZN"
