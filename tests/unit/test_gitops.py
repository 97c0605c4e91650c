"""Argo CD's scripts in its own test format, run by a Lua of the version that Argo CD has; Flux's expressions."""

import copy
import re
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import gitops

CASES = {
    path.parent.name: yaml.safe_load(path.read_text())["tests"]
    for path in gitops.CUSTOMIZATIONS.glob("*/health_test.yaml")
}
ACTIONS = {
    path.parents[1].name: yaml.safe_load(path.read_text())
    for path in gitops.CUSTOMIZATIONS.glob("*/actions/action_test.yaml")
}
FLUX = {"Progressing": "InProgress", "Degraded": "Failed", "Healthy": "Current"}


def load(*path: str) -> Any:
    return yaml.safe_load(gitops.CUSTOMIZATIONS.joinpath(*path).read_text())


def timeless(value: Any) -> Any:
    """Argo CD's own tests, too, know nothing of the time at which they run."""
    if isinstance(value, dict):
        return {key: timeless(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [timeless(entry) for entry in value]
    if isinstance(value, str):
        value = re.sub(r"-\d{12}$", "-000000000000", value)
        return re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", "0001-01-01T00:00:00Z", value)
    return value


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{kind}-{Path(case['inputPath']).stem}")
        for kind, cases in CASES.items()
        for case in cases
    ],
)
def test_health(kind: str, case: dict[str, Any]) -> None:
    body = load(kind, case["inputPath"])
    assert gitops.argo_health(body) == (case["healthStatus"]["status"], case["healthStatus"]["message"])
    assert gitops.flux_health(body) == FLUX[case["healthStatus"]["status"]]


@pytest.mark.parametrize(
    "case", [case for entry in ACTIONS.items() for case in [(entry[0], one) for one in entry[1]["discoveryTests"]]]
)
def test_discovery(case: tuple[str, dict[str, Any]]) -> None:
    kind, wanted = case
    found = gitops.argo_actions(load(kind, "actions", wanted["inputPath"]))
    by_name = itemgetter("name")
    named = ({"name": name, **action} for name, action in found.items())
    assert sorted(named, key=by_name) == sorted(wanted["result"], key=by_name)


@pytest.mark.parametrize(
    "case", [case for entry in ACTIONS.items() for case in [(entry[0], one) for one in entry[1]["actionTests"]]]
)
def test_action(case: tuple[str, dict[str, Any]]) -> None:
    kind, wanted = case
    before = load(kind, "actions", wanted["inputPath"])
    done = gitops.argo_action(copy.deepcopy(before), wanted["action"])
    output = load(kind, "actions", wanted["expectedOutputPath"])
    if isinstance(output, list):
        output = [{"operation": one["k8sOperation"], "resource": one["unstructuredObj"]} for one in output]
    assert timeless(done) == timeless(output)
