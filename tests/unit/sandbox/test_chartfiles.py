"""What is generated from the charts."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import charts
from sandbox.chartfiles import Value, table, values
from sandbox.program import ROOT

TEXT = """\
# The first part,
# in two lines.
first: ""

group:
  # Whether there is | something.
  create: true
  inner:
    # Deep.
    deepest: [1, {"a": "ü"}]
# A whole.
whole:
  part: 1
  # Described all the same.
  other: x
plain: 2
"""


def test_a_value_is_described_by_the_comment_right_above_it() -> None:
    assert list(values(TEXT)) == [
        Value("first", "", "The first part, in two lines."),
        Value("group.create", True, "Whether there is | something."),
        Value("group.inner.deepest", [1, {"a": "ü"}], "Deep."),
        Value("whole", {"part": 1, "other": "x"}, "A whole."),
        Value("whole.other", "x", "Described all the same."),
    ]


def test_a_comment_apart_from_a_key_describes_nothing() -> None:
    assert list(values("# About the file.\n\nkey: 1\n")) == []


def test_a_table_shows_defaults_as_json() -> None:
    assert table("# Names.\nnames: {a: true}\n").splitlines()[2:] == ['| `names` | `{"a": true}` | Names. |']


@pytest.mark.parametrize("chart", [charts.OPERATOR, charts.WORKER], ids=lambda chart: chart.name)
def test_every_value_is_described(chart: Path) -> None:
    text = (chart / "values.yaml").read_text()
    described = {value.key for value in values(text)}
    assert [key for key in leaves(yaml.safe_load(text)) if not described & set(ways_to(key))] == []
    assert not any("|" in value.description for value in values(text))


def leaves(tree: dict[str, Any], path: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in tree.items():
        keys += leaves(value, f"{path}{key}.") if isinstance(value, dict) and value else [f"{path}{key}"]
    return keys


def ways_to(key: str) -> list[str]:
    """A key and all that it is inside of."""
    return [key[: dot.start()] for dot in re.finditer(r"\.|$", key)]


@pytest.mark.parametrize("chart", [charts.OPERATOR, charts.WORKER], ids=lambda chart: chart.name)
def test_a_chart_has_the_programs_version(chart: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (version, version)
