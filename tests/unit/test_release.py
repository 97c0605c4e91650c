"""What is released together has one version, and the workflows can do no more than they must."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import spacelift_aws_cli as plugin

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


def test_the_plugin_has_the_programs_version() -> None:
    assert tomllib.loads((ROOT / "cli" / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert plugin.VERSION == VERSION


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


def annotations(chart: Path) -> dict[str, Any]:
    """What Artifact Hub shows of a chart, by the word after `artifacthub.io/`."""
    found = yaml.safe_load(chart.read_text())["annotations"]
    return {key.removeprefix("artifacthub.io/"): yaml.safe_load(value) for key, value in found.items()}


def test_the_licence_is_named_wherever_a_package_is_described() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    for folder in (ROOT, ROOT / "cli", ROOT / "dev"):
        assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"
    assert {annotations(chart)["license"] for chart in CHARTS} == {"Apache-2.0"}


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.parent.name)
def test_artifact_hub_is_told_which_image_a_chart_takes(chart: Path) -> None:
    repository = yaml.safe_load(chart.with_name("values.yaml").read_text())["image"]["repository"]
    assert [each["image"] for each in annotations(chart)["images"]] == [f"{repository}:{VERSION}"]


def test_artifact_hub_is_told_of_every_definition_with_an_example() -> None:
    definitions = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    told = annotations(ROOT / "charts" / "spacelift-aws-operator" / "Chart.yaml")
    assert [(each["name"], each["kind"], each["version"]) for each in told["crds"]] == [
        (each["metadata"]["name"], each["spec"]["names"]["kind"], each["spec"]["versions"][-1]["name"])
        for each in definitions
    ]
    assert [each["kind"] for each in told["crdsExamples"]] == [each["kind"] for each in told["crds"]]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda path: path.parent.name)
def test_artifact_hub_is_told_what_has_changed(chart: Path) -> None:
    changes = annotations(chart)["changes"]
    assert changes
    for change in changes:
        assert change["kind"] in ("added", "changed", "deprecated", "removed", "fixed", "security")
        assert change["description"]


def test_the_changelog_keeps_to_its_format() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", heading) for heading in headings[1:])
    kinds = re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


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
