"""What the README and the other pages tell people to apply is accepted as it stands."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml

from sandbox import charts
from sandbox.stage import Stage

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def examples(page: str) -> list[str]:
    """The objects that a page shows whole."""
    found = re.findall(r"^ *```yaml\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(example) for example in found if "apiVersion:" in example]


EXAMPLES = examples(README)
_CHART = yaml.safe_load((charts.OPERATOR / "Chart.yaml").read_text())
ON_ARTIFACT_HUB = [
    yaml.safe_dump(body) for body in yaml.safe_load(_CHART["annotations"]["artifacthub.io/crdsExamples"])
]
ELSEWHERE = [example for page in sorted((ROOT / "docs").glob("*.md")) for example in examples(page.read_text())]


def test_it_has_an_example_of_each_kind() -> None:
    assert [re.findall(r"^kind: (\w+)$", example, re.MULTILINE) for example in EXAMPLES] == [
        ["AwsIntegration"],
        ["Run"],
    ]


@pytest.mark.parametrize("example", EXAMPLES + ELSEWHERE + ON_ARTIFACT_HUB)
def test_the_examples_can_be_applied(stage: Stage, namespace: str, example: str) -> None:
    example = re.sub(r"^(\s+namespace:) payments$", rf"\1 {namespace}", example, flags=re.MULTILINE)
    # `create`, because `apply` has no use for the name that `generateName` leaves to the server.
    done = stage.cluster.kubectl(
        "create", "--dry-run=server", "--namespace", namespace, "--validate=strict", "-f", "-", input=example
    )
    assert done.stdout.count("created (server dry run)") == example.count("apiVersion:")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("chart", "role"),
    [
        (charts.OPERATOR, "spacelift-aws-controller"),
        (charts.OPERATOR, "spacelift-aws-controller-lease"),
        (charts.OPERATOR, "spacelift-aws-worker"),
        (charts.WORKER, "spacelift-aws-worker-build-lease"),
    ],
)
def test_the_tables_of_permissions_are_the_charts(chart: Path, role: str) -> None:
    """Every verb of each role, and no other, is in the page's table for it."""
    values = {"installation": "acme-prod", "pool": "build"} if chart == charts.WORKER else {}
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
