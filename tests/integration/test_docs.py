"""What the README and the other pages tell people to apply is accepted as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import charts, pages
from sandbox.stage import Stage

ROOT = Path(__file__).parents[2]
# Kinds of other projects, whose definitions the stage does not have. Their pages say how they were checked.
FOREIGN = ("argoproj.io/", "tekton.dev/", "kustomize.toolkit.fluxcd.io/")
_CHART = yaml.safe_load((charts.OPERATOR / "Chart.yaml").read_text())
ON_ARTIFACT_HUB = [
    pytest.param(yaml.safe_dump(body), id=f"Artifact Hub: {body['kind']}")
    for body in yaml.safe_load(_CHART["annotations"]["artifacthub.io/crdsExamples"])
]
ON_PAGES = [pytest.param(block.text, id=str(block)) for block in pages.blocks("yaml") if not block.why_not]
IN_EXAMPLES = [
    pytest.param(file.read_text(), id=str(file.relative_to(ROOT)))
    for file in sorted(pages.EXAMPLES.glob("*/*.yaml"))
    if "\nkind: " in file.read_text()
]


def is_foreign(text: str) -> bool:
    return all(body["apiVersion"].startswith(FOREIGN) for body in yaml.safe_load_all(text))


@pytest.mark.parametrize("example", ON_PAGES + IN_EXAMPLES + ON_ARTIFACT_HUB)
def test_what_is_shown_can_be_applied(stage: Stage, namespace: str, example: str) -> None:
    if is_foreign(example):
        # What an engine creates by itself is ours to check.
        templates = next(yaml.safe_load_all(example))["spec"].get("templates", [])
        example = "---\n".join(template["resource"]["manifest"] for template in templates if "resource" in template)
        if not example:
            return
    example = re.sub(r"^(\s+namespace:) \S+$", rf"\1 {namespace}", example, flags=re.MULTILINE)
    # `create`, because `apply` has no use for the name that `generateName` leaves to the server.
    done = stage.cluster.kubectl(
        "create", "--dry-run=server", "--namespace", namespace, "--validate=strict", "-f", "-", input=example
    )
    assert done.stdout.count("created (server dry run)") == len(re.findall(r"^apiVersion:", example, re.MULTILINE))
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("chart", "role"),
    [
        (charts.OPERATOR, "spacelift-aws-controller"),
        (charts.OPERATOR, "spacelift-aws-controller-lease"),
        (charts.OPERATOR, "spacelift-aws-controller-jobs"),
        (charts.OPERATOR, "spacelift-aws-worker"),
        (charts.WORKER, "spacelift-aws-worker-build-lease"),
    ],
)
def test_the_tables_of_permissions_are_the_charts(chart: Path, role: str) -> None:
    """Every verb of each role, and no other, is in the page's table for it."""
    values: dict[str, Any] = {"installation": "acme-prod", "pool": "build"} if chart == charts.WORKER else {}
    if role.endswith("-jobs"):
        values["jobs"] = {"enabled": True}
    granted: dict[str, set[str]] = {}
    for document in charts.documents(charts.render(chart, "research", values)):
        for rule in document["rules"] if document["metadata"]["name"] == role and "rules" in document else ():
            for resource in rule["resources"]:
                granted.setdefault(resource, set()).update(rule["verbs"])
    section = (ROOT / "docs" / "rbac.md").read_text()
    named = role.replace("-build-", "-<pool>-")
    table = section.partition(f"`{named}` is all")[2].partition("\n\n")[2].partition("\n\n")[0]
    shown = {
        resource: set(verbs.split(", "))
        for resources, verbs in re.findall(r"^\| (`[^|]+) \| ([a-z, ]+) \|", table, re.MULTILINE)
        for resource in resources.replace("`", "").split(", ")
    }
    assert shown == granted != {}
