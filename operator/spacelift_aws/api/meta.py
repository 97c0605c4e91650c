"""What both kinds share: metadata, conditions, times and durations."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel

from spacelift_aws.api.schema.markers import Keywords, Matches, at_least, length, map_by

MESSAGE_LIMIT = 8192
"""Characters. A statement to paste into a policy fits into a message several times."""

INT32 = 2**31 - 1


class Model(BaseModel):
    """A value of the API: immutable, `snake_case` in Python and `camelCase` on the wire.

    Fields unknown here are ignored, so that an operator survives objects of a newer definition. Python's None is a
    field's absence: `model_dump(by_alias=True, exclude_none=True, mode="json")` gives the wire form.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        # An object may hold what its author would not want to find in a log.
        hide_input_in_errors=True,
    )


def _whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def format_time(moment: datetime) -> str:
    """As Kubernetes writes times: `2026-01-02T03:04:05Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> datetime | None:
    """A time as Kubernetes writes it; None where there is none. Raises ValueError for anything else."""
    return datetime.fromisoformat(text) if text else None


Time = Annotated[
    AwareDatetime,
    # The wire has whole seconds: with more in memory, a status would differ from itself once it was read back.
    AfterValidator(_whole_seconds),
    PlainSerializer(format_time, return_type=str, when_used="json"),
]
"""A moment in UTC, in whole seconds."""


def shorten(message: str) -> str:
    """A message that the API server accepts, whatever an API in between had to say."""
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"


Message = Annotated[str, AfterValidator(shorten), length(0, MESSAGE_LIMIT)]
"""A sentence for people; one that is too long loses its end."""

_DURATION = re.compile(r"(\d+)(h|m|s)")
_UNITS = {"h": 3600, "m": 60, "s": 1}


def parse_duration(text: object) -> timedelta:
    """A duration as Go writes it, in hours, minutes and seconds: `24h`, `90m`, `1h30m`, `0s`.

    Raises ValueError for anything else.
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or re.fullmatch(rf"(?:{_DURATION.pattern})+", text, re.ASCII) is None:
        raise ValueError(f"{text!r} is no duration; write hours, minutes and seconds like 24h, 90m or 1h30m")
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(text)))


def format_duration(duration: timedelta) -> str:
    """The shortest form that `parse_duration` reads: `1h30m`. Fractions of a second are dropped."""
    rest = int(duration.total_seconds())
    parts = []
    for unit, seconds in _UNITS.items():
        number, rest = divmod(rest, seconds)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    length(2, 18),
    Matches(r"^([0-9]{1,5}(h|m|s)){1,3}$", "write a duration in hours, minutes and seconds, like 24h, 90m or 1h30m"),
]
"""A span of time, written like Go's."""

DnsLabel = Annotated[
    str,
    length(1, 63),
    Matches(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "write lower-case letters, digits and hyphens, beginning and ending with a letter or digit",
    ),
]
"""The name of a namespace, a container or a worker pool."""

DnsSubdomain = Annotated[
    str,
    length(1, 253),
    Matches(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "write the name of an object: lower-case letters, digits, hyphens and dots",
    ),
]
"""The name of a resource."""


class OwnerReference(Model):
    """An object that another one belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model):
    """What every object of a namespaced kind carries, as far as it matters here."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    creation_timestamp: Time
    generation: int = 0
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()


ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Model):
    """One aspect of an object's state, in the form that all of Kubernetes uses."""

    type: Annotated[str, length(1, 316), Keywords((("pattern", r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$"),))]
    """The aspect's name, one word in CamelCase."""
    status: ConditionStatus
    """Whether it holds; Unknown if that could not be found out."""
    reason: Annotated[str, length(1, 1024), Keywords((("pattern", r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),))]
    """Why, in one word in CamelCase for programs and alerts."""
    message: Message
    """Why, in sentences for people, with what to do about it."""
    last_transition_time: Time
    """When `status` last changed."""
    observed_generation: Annotated[int, at_least(0)] | None = None
    """The object's `metadata.generation` that this is about; an older one than the object's may be out of date."""


class Status(Model):
    """The part of a status that both kinds have."""

    observed_generation: Annotated[int, at_least(-1)] = -1
    """The `metadata.generation` that this status is about; -1 until the operator has looked at the object."""
    conditions: Annotated[tuple[Condition, ...], map_by("type", 16)] = ()
    """What holds and what does not, one entry for each aspect; `kubectl wait --for=condition=…` reads them."""

    def condition(self, type: str) -> Condition | None:
        """The condition of that type, if there is one."""
        return next((condition for condition in self.conditions if condition.type == type), None)
