"""Alerts and dashboard, as far as no Prometheus has to run."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import dashboard, metricsdoc, prometheus
from sandbox.program import ROOT

ALERTS = ROOT / "charts" / "spacelift-aws-operator" / "files" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts.yaml")
RUNBOOKS = (ROOT / "docs" / "alerts.md").read_text()


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def tried() -> dict[str, list[bool]]:
    """For each alert whether it fires, at the moments at which promtool looks."""
    found: dict[str, list[bool]] = {}
    for test in yaml.safe_load(CASES.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            found.setdefault(case["alertname"], []).append(bool(case.get("exp_alerts")))
    return found


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    promtool = prometheus.find("promtool")
    if promtool is None:
        assert os.environ.get("CI") != "true", "promtool is missing"
        pytest.skip("promtool is missing: THE ALERTS ARE NOT TRIED")
    for file, name in ((ALERTS, "alerts.yaml"), (CASES, "cases.yaml")):
        shutil.copy(file, tmp_path / name)
    done = subprocess.run([promtool, "test", "rules", tmp_path / "cases.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_is_tried_and_has_a_runbook(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert True in tried()[name]
    assert alert["annotations"]["runbook_url"].endswith(f"/docs/alerts.md#{name.lower()}")
    assert f"\n## {name}\n" in RUNBOOKS
    assert alert["labels"]["severity"] in ("warning", "critical")


def test_every_runbook_is_an_alerts() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE) == [alert["alert"] for alert in alerts()]


def documented() -> set[str]:
    """Every metric there is, as Prometheus names its series."""
    table = metricsdoc.PAGES[ROOT / "docs" / "metrics.md"]()
    names = re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE)
    buckets = {f"{name}{part}" for name, kind in names if kind == "histogram" for part in ("_bucket", "_sum", "_count")}
    return {name for name, _ in names} | buckets


def test_alerts_and_dashboard_name_metrics_that_exist() -> None:
    expressions = [alert["expr"] for alert in alerts()]
    expressions += [query.promql for panel in dashboard.panels() for query in panel.queries]
    named = {name for expression in expressions for name in re.findall(r"\bspacelift_aws_\w+", expression)}
    assert named - documented() == set()


# --- The dashboard: the rules of Grafana's dashboard-linter.


def test_the_dashboard_is_what_the_code_says() -> None:
    assert dashboard.main(["--check"]) == 0


def shown() -> list[dict[str, Any]]:
    return [panel for panel in dashboard.dashboard()["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", shown(), ids=lambda panel: panel["title"])
def test_every_panel_keeps_the_linters_rules(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "$datasource"
    assert panel["targets"]
    for target in panel["targets"]:
        expression = target["expr"]
        selectors = re.findall(r"(?:spacelift_aws|process)_\w+(\{[^}]*\})?", expression)
        assert all('job=~"$job",instance=~"$instance"' in selector for selector in selectors), expression
        assert set(re.findall(r"\[([^\]]+)\]", expression)) <= {"$__rate_interval"}
        counters = re.findall(r"(\w+\()?(spacelift_aws_\w+_total|process_cpu_seconds_total)", expression)
        assert all(function == "rate(" for function, _ in counters)


def test_its_variables_keep_the_linters_rules() -> None:
    made = dashboard.dashboard()
    assert made["editable"] is False
    variables = {variable["name"]: variable for variable in made["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("job", "instance"):
        variable = variables[name]
        assert (variable["label"], variable["type"], variable["datasource"]["uid"]) == (name, "query", "$datasource")
        assert (variable["multi"], variable["allValue"], variable["refresh"]) == (True, ".+", 2)


def test_no_panel_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert all(x < dashboard.WIDTH for x, _ in cells)
        taken |= cells


def test_the_linter_itself_has_nothing_to_say() -> None:
    linter = shutil.which("dashboard-linter")
    if linter is None:
        pytest.skip("dashboard-linter is not on the PATH: its rules are tried above, IT ITSELF IS NOT")
    done = subprocess.run([linter, "lint", "--strict", dashboard.FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
