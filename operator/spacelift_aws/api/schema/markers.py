"""What Python's types cannot say about a resource, for the definition only: bounds, CEL rules, kinds of lists, columns.

Markers of values go into `Annotated[…]`; those of whole objects into `model_config = rules(…)`. None of them checks
anything in Python: the API server does.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Cel:
    """A CEL rule on `self`, and on `oldSelf` if it is about changes (https://kubernetes.io/docs/reference/using-api/cel/).

    `message` says what to write instead. `field` (`.stack`) is where the error is shown, if not at the object itself.
    `forbidden` is for refused changes: the error then does not repeat the whole value.
    """

    rule: str
    message: str
    field: str | None = None
    forbidden: bool = False

    def schema(self) -> dict[str, str]:
        """The rule as `x-kubernetes-validations` lists it."""
        entry = {"rule": self.rule, "message": self.message}
        if self.forbidden:
            entry["reason"] = "FieldValueForbidden"
        if self.field is not None:
            entry["fieldPath"] = self.field
        return entry

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _extended(handler(core_schema), {VALIDATIONS: [self.schema()]})


@dataclass(frozen=True, slots=True)
class Keywords:
    """Further keywords of a schema; made by the functions below."""

    keywords: tuple[tuple[str, Any], ...]

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _extended(handler(core_schema), dict(self.keywords))


@dataclass(frozen=True, slots=True)
class Matches:
    """A string of this form, and what to write instead if it is not.

    The form is given twice: as `pattern` for editors and other tools without a cluster, whose message is the bare
    expression, and as a CEL rule for its message. RE2's syntax, of which ECMA 262's must be a superset here.
    """

    pattern: str
    message: str

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rule = Cel(f"self.matches({cel_string(self.pattern)})", self.message)
        return _extended(handler(core_schema), {"pattern": self.pattern, VALIDATIONS: [rule.schema()]})


def length(least: int, most: int) -> Keywords:
    """A string of so many characters."""
    return Keywords((("minLength", least), ("maxLength", most)) if least else (("maxLength", most),))


def between(least: int, most: int) -> Keywords:
    """An integer in this range, both ends included."""
    return Keywords((("minimum", least), ("maximum", most)))


def at_least(least: int) -> Keywords:
    """An integer from here on; a greatest one of 64 bits would not survive JSON's floating point."""
    return Keywords((("format", "int64"), ("minimum", least)))


def items(least: int, most: int) -> Keywords:
    """A list of so many entries; one without an own kind is replaced as a whole by server-side apply."""
    return Keywords((*_count(least, most), ("x-kubernetes-list-type", "atomic")))


def entries(most: int) -> Keywords:
    """A map of at most so many entries."""
    return Keywords((("maxProperties", most),))


def set_of(least: int, most: int) -> Keywords:
    """A list of so many different scalars, in any order."""
    return Keywords((*_count(least, most), ("x-kubernetes-list-type", "set")))


def map_by(key: str, most: int) -> Keywords:
    """A list of objects of which `key` tells one from another."""
    return Keywords((("maxItems", most), ("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", (key,))))


def anything() -> Keywords:
    """A value without a schema. No `type`: with one, CEL's `==` would compare only declared fields, which are none."""
    return Keywords((("x-kubernetes-preserve-unknown-fields", True),))


def rules(*rules: Cel) -> ConfigDict:
    """The CEL rules of an object, as the `model_config` of its model."""

    def extend(schema: dict[str, Any]) -> None:
        schema[VALIDATIONS] = [rule.schema() for rule in rules]

    return ConfigDict(json_schema_extra=extend)


def cel_string(text: str) -> str:
    """A CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"'{escaped}'"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`. Type `date` prints an age and can only show the past."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False
    """Shown with `-o wide` only."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What the definition of a kind says beside its schema."""

    kind: str
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    """JSON paths of fields that a field selector may name."""


def _count(least: int, most: int) -> tuple[tuple[str, int], ...]:
    return (("minItems", least), ("maxItems", most)) if least else (("maxItems", most),)


def _extended(schema: JsonSchemaValue, keywords: dict[str, Any]) -> JsonSchemaValue:
    """A copy with further keywords; rules are added to those that are there."""
    known = schema.get(VALIDATIONS, [])
    extended = {**schema, **keywords}
    if VALIDATIONS in keywords and known:
        extended[VALIDATIONS] = [*known, *keywords[VALIDATIONS]]
    return extended
