"""The tables of the documentation, compared with what the program really knows."""

import re
from pathlib import Path

import pytest

from sandbox import reasontables, reference
from spacelift_aws.settings import WorkerSettings

DOCS = Path(__file__).parents[2] / "docs"
REASONS = (DOCS / "reasons.md").read_text()


def test_the_tables_of_reasons_are_those_of_the_program() -> None:
    assert reasontables.rendered(REASONS) == REASONS


@pytest.mark.parametrize("condition", ["TrustVerified", "CredentialsIssued", "Succeeded", "LogsMasked"])
def test_each_of_these_conditions_has_its_table(condition: str) -> None:
    assert reasontables.table(condition) in REASONS


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: str(page.name))
def test_the_generated_pages_are_what_the_program_says(page: Path) -> None:
    assert page.read_text() == reference.PAGES[page]()


def test_every_setting_and_every_command_is_there() -> None:
    settings = re.findall(r"^\| `SPACELIFT_AWS_(\w+)` \|", reference.settings(), re.MULTILINE)
    assert settings == [name.upper() for name in WorkerSettings.model_fields]
    headings = re.findall(r"^## (\S+)$", reference.commands(), re.MULTILINE)
    assert {"run", "trust-policy", "doctor", "revoke"} <= set(headings)


def test_fields_are_shown_with_their_type_default_and_range() -> None:
    rows = reference.fields("AwsIntegration").splitlines()
    assert any(row.startswith("| `durationSeconds` | integer, 900 to 43200 | `3600` | How long") for row in rows)
    assert any(row.startswith("| `tags[].from.label` | string |  | The key of a label") for row in rows)
