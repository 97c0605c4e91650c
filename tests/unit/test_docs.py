"""What the pages say, as far as no cluster is needed to check it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from spacelift_aws.controllers.awsintegration.probes.call import PROBE_MARK

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "charts").glob("*/README.md")),
]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in found if block.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)(#[^)]*)?\)", page.read_text())
    assert [target for target, _ in links if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_json_and_yaml_can_be_read(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)
    for block in blocks(page, "yaml"):
        list(yaml.safe_load_all(block))


@pytest.mark.slow
def test_cloudformation_has_nothing_to_complain_about() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [linter, *(ROOT / "docs" / "eks" / name for name in ("operator.yaml", "role.yaml"))],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_alarms_pattern_knows_the_probes_by_their_name() -> None:
    patterns = re.findall(r"^\{ .* \}$", (ROOT / "docs" / "eks.md").read_text(), re.MULTILINE)
    assert len(patterns) == 2
    assert f'"*{PROBE_MARK}"' in patterns[0]
    for pattern in patterns:
        assert pattern.count("(") == pattern.count(")")


def test_what_the_threat_model_says_is_shown_by_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "threat-model.md").read_text()))
    tests = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named, "no test is named"
    assert named - tests == set()
