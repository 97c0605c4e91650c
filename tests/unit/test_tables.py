"""The tables of the documentation, compared with what the program really knows."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox import reasontables
from spacelift_aws.settings import Settings, WorkerSettings

DOCS = Path(__file__).parents[2] / "docs"
REASONS = (DOCS / "reasons.md").read_text()
SETTINGS = (DOCS / "settings.md").read_text()


def first_column(text: str) -> list[str]:
    """The names in the first column of a table's rows."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_the_tables_of_reasons_are_those_of_the_program() -> None:
    assert reasontables.rendered(REASONS) == REASONS


@pytest.mark.parametrize("condition", ["TrustVerified", "CredentialsIssued", "Succeeded", "LogsMasked"])
def test_each_of_these_conditions_has_its_table(condition: str) -> None:
    assert reasontables.table(condition) in REASONS


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    names = [f"SPACELIFT_AWS_{name.upper()}" for name in WorkerSettings.model_fields]
    assert sorted(first_column(SETTINGS)) == sorted(names)


def test_the_controller_has_none_of_the_workers_settings() -> None:
    common = first_column(SETTINGS.partition("Of workers alone")[0])
    assert sorted(common) == sorted(f"SPACELIFT_AWS_{name.upper()}" for name in Settings.model_fields)


def test_the_defaults_are_those_of_the_settings() -> None:
    shown = dict(re.findall(r"^\| `(SPACELIFT_AWS_\w+)` \| `([^`]+)` \|", SETTINGS, re.MULTILINE))
    for name, field in WorkerSettings.model_fields.items():
        default = field.default
        if default is None or field.default_factory is not None or name == "namespaces":
            assert f"SPACELIFT_AWS_{name.upper()}" not in shown
            continue
        if isinstance(default, timedelta):
            default = f"{default.total_seconds():g}"
        elif isinstance(default, tuple):
            default = "[" + ", ".join(f'"{entry}"' for entry in default) + "]"
        elif isinstance(default, float):
            default = f"{default:g}"
        elif isinstance(default, bool):
            default = str(default).lower()
        assert shown[f"SPACELIFT_AWS_{name.upper()}"] == default
