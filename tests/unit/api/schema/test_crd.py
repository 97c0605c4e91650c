"""The generated definitions: as committed, structural, described and bounded throughout."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import ConfigDict

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.meta import Model
from spacelift_aws.api.run import MUTABLE, Run
from spacelift_aws.api.schema import crd
from spacelift_aws.api.schema.crd import NotStructural, structural_schema
from spacelift_aws.api.schema.markers import VALIDATIONS, Cel, anything, cel_string, length, rules

FOLDER = Path(__file__).parents[4] / "crds"
SCHEMAS = {model.__name__: structural_schema(model) for model in crd.KINDS}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from nodes(schema[key], path + suffix)


NODES = [
    pytest.param(path, node, id=f"{kind}{path}")
    for kind, schema in SCHEMAS.items()
    for path, node in nodes(schema)
    if path.startswith((".spec", ".status"))
]
RULES = [
    pytest.param(rule, id=f"{kind}{path}: {rule['rule']}"[:100])
    for kind, schema in SCHEMAS.items()
    for path, node in nodes(schema)
    for rule in node.get(VALIDATIONS, ())
]


def test_the_committed_files_are_what_the_models_give() -> None:
    assert crd.differences(FOLDER) == ""


def test_check_shows_what_differs_and_says_so_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crd.main(["--folder", str(tmp_path / "crds")]) == 0
    assert crd.main(["--folder", str(tmp_path / "crds"), "--check"]) == 0
    assert capsys.readouterr().out == ""

    changed = tmp_path / "crds" / "runs.yaml"
    changed.write_text(changed.read_text().replace("default: Task", "default: Tracked"))
    assert crd.main(["--folder", str(tmp_path / "crds"), "--check"]) == 1
    assert "-                default: Tracked\n+                default: Task\n" in capsys.readouterr().out
    assert "default: Tracked" in changed.read_text()

    changed.unlink()
    assert crd.main(["--folder", str(tmp_path / "crds"), "--check"]) == 1


@pytest.mark.parametrize("name", ["awsintegrations.yaml", "runs.yaml"])
def test_a_file_is_small_enough_for_client_side_apply_and_has_no_aliases(name: str) -> None:
    text = crd.rendered()[name]
    # kubectl keeps the applied object in an annotation of at most 262,144 bytes.
    assert len(json.dumps(yaml.safe_load(text)).encode()) < 60_000
    assert not re.search(r"[&*]id\d", text)


@pytest.mark.parametrize(
    ("model", "plural", "short_name", "columns"),
    [
        (AwsIntegration, "awsintegrations", "awsint", ["Role", "Ready", "Reason", "Verified", "Age"]),
        (Run, "runs", "awsrun", ["Type", "Phase", "Integration", "Run ID", "Expires", "Requested by", "Age"]),
    ],
)
def test_a_kind_is_named_and_printed_as_documented(
    model: type[AwsIntegration] | type[Run], plural: str, short_name: str, columns: list[str]
) -> None:
    definition = crd.definition(model)
    spec = definition["spec"]
    [version] = spec["versions"]
    assert definition["metadata"]["name"] == f"{plural}.aws.spacelift.io"
    assert (spec["scope"], spec["names"]["plural"], version["name"]) == ("Namespaced", plural, "v1beta1")
    assert (spec["names"]["shortNames"], spec["names"]["categories"]) == ([short_name], ["spacelift"])
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]] == columns


def test_runs_are_selected_by_id_phase_and_integration() -> None:
    [version] = crd.definition(Run)["spec"]["versions"]
    paths = [field["jsonPath"] for field in version["selectableFields"]]
    assert paths == [".status.runId", ".status.phase", ".spec.integrationRef.name"]


@pytest.mark.parametrize(("path", "node"), NODES)
def test_every_field_is_described_in_sentences(path: str, node: dict[str, Any]) -> None:
    if not path.endswith(("[]", "{}")):
        assert re.match(r"[A-Z`].{10,}\.$", node["description"]), node["description"]


@pytest.mark.parametrize(("path", "node"), NODES)
def test_everything_is_bounded(path: str, node: dict[str, Any]) -> None:
    match node.get("type"):
        case "string":
            assert node.keys() & {"maxLength", "enum"} or node["format"] == "date-time"
        case "array":
            assert "maxItems" in node
            assert node["x-kubernetes-list-type"] in ("atomic", "set", "map")
        case "object":
            assert "properties" in node or "maxProperties" in node
        case "integer":
            assert "minimum" in node
        case kind:
            assert kind == "boolean" or (kind is None and path == ".spec.template.spec")


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_field_is_absent_or_has_a_value_and_is_never_null(kind: str) -> None:
    for path, node in nodes(SCHEMAS[kind]):
        assert "nullable" not in node, path
        assert node.get("default", ...) is not None, path


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_says_what_to_write_instead(rule: dict[str, str]) -> None:
    assert 20 < len(rule["message"]) < 200
    assert "\n" not in rule["message"]
    if "oldSelf" in rule["rule"]:
        assert "immutable" in rule["message"]
        assert rule["reason"] == "FieldValueForbidden"


def test_every_field_of_a_run_but_two_is_immutable() -> None:
    spec = SCHEMAS["Run"]["properties"]["spec"]
    guarded = {rule["fieldPath"].removeprefix(".") for rule in spec[VALIDATIONS] if "==" in rule["rule"]}
    assert guarded == set(spec["properties"]) - set(MUTABLE)


def test_a_template_is_open_only_where_a_pod_begins() -> None:
    template = SCHEMAS["Run"]["properties"]["spec"]["properties"]["template"]
    opened = [path for path, node in nodes(template) if "x-kubernetes-preserve-unknown-fields" in node]
    assert opened == [".spec"]
    # With a type, CEL would compare the declared fields of two templates, which are none.
    assert "type" not in template["properties"]["spec"]


class Inner(Model):
    """Described by its class."""

    model_config = rules(Cel("self.x != ''", "write something"))

    x: Annotated[str, length(1, 5)] = "a"
    """A letter."""


class Outer(Model):
    """Has one thing of each sort that has to be rewritten."""

    inner: Annotated[Inner, Cel("self.x != 'b'", "do not write b")] = Inner()
    """Described by its
    field."""
    other: Inner | None = None
    anything: Annotated[Any, anything()]


def test_references_are_inlined_with_the_words_and_rules_of_both_sides() -> None:
    properties = structural_schema(Outer)["properties"]
    inner, other = properties["inner"], properties["other"]
    assert inner["description"] == "Described by its field."
    assert [rule["message"] for rule in inner[VALIDATIONS]] == ["write something", "do not write b"]
    assert inner["default"] == {"x": "a"}
    assert other["description"] == "Described by its class."
    assert [rule["message"] for rule in other[VALIDATIONS]] == ["write something"]
    assert "default" not in other


class Union(Model):
    x: str | int


class Pair(Model):
    x: tuple[str, int]


class Unordered(Model):
    x: set[str]


class Free(Model):
    x: dict[str, Any]


class Undescribed(Model):
    x: Any


class Strict(Model):
    model_config = ConfigDict(extra="forbid")
    x: str


class Nested(Model):
    y: tuple[Union, ...]


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (Union, "Union.x: anyOf has no place"),
        (Pair, "Pair.x: prefixItems has no place"),
        (Unordered, "Unordered.x: uniqueItems has no place"),
        (Free, "Free.x: free keys need a schema"),
        (Undescribed, "Undescribed.x: a type is needed"),
        (Strict, "Strict: fields and free keys exclude each other"),
        (Nested, r"Nested.y\[\].x: anyOf has no place"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_is_not_structural_is_refused_by_place(model: type[Model], problem: str) -> None:
    with pytest.raises(NotStructural, match=problem):
        structural_schema(model)


def test_a_cel_string_holds_any_expression() -> None:
    assert cel_string("a'b\\d\n") == r"'a\'b\\d\n'"
