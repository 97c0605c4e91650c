"""What is released together has one version, and the workflows can do no more than they must."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHARTS = sorted((ROOT / "charts").glob("*/Chart.yaml"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
MAY_WRITE = {
    "image": {"packages", "id-token", "attestations"},
    "charts": {"packages", "id-token"},
    "release": {"contents"},
}
"""By job: what its token may write."""


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.parent.name)
def test_a_chart_has_the_programs_version(chart: Path) -> None:
    found = yaml.safe_load(chart.read_text())
    assert (found["version"], found["appVersion"]) == (VERSION, VERSION)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.parent.name)
def test_a_chart_takes_the_image_of_its_version(chart: Path) -> None:
    assert yaml.safe_load(chart.with_name("values.yaml").read_text())["image"]["tag"] == "", "the chart's appVersion"


def test_install_yaml_takes_the_image_of_this_version() -> None:
    images = set(re.findall(r"^ *image: (\S+)$", (ROOT / "install.yaml").read_text(), re.MULTILINE))
    assert images == {f"ghcr.io/spacelift-io/spacelift-aws-operator:{VERSION}"}


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(workflow.read_text())["jobs"]
    return found


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (.+)$", workflow.read_text(), re.MULTILINE)
    assert used
    for action in used:
        assert action.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_token_may_do_no_more_than_it_must(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {}
    for name, job in jobs(workflow).items():
        granted = job["permissions"]
        written = {what for what, level in granted.items() if level == "write"}
        assert written == MAY_WRITE.get(name, set()), name
        assert set(granted.values()) <= {"read", "write"}


def test_nothing_is_released_before_the_tests_have_passed() -> None:
    needs = {name: job.get("needs") for name, job in jobs(ROOT / ".github" / "workflows" / "release.yaml").items()}
    assert needs == {"tests": None, "image": "tests", "charts": "image", "release": "charts"}
