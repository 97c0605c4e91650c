"""What the README tells people to apply is accepted as it stands."""

import re
from pathlib import Path

import pytest
import yaml

from sandbox.program import MANIFESTS
from sandbox.stage import Stage

README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_it_has_an_example_of_each_kind() -> None:
    assert [re.findall(r"^kind: (\w+)$", example, re.MULTILINE) for example in EXAMPLES] == [
        ["AwsIntegration"],
        ["Run"],
        ["AwsIntegration"],
        ["Run"],
    ]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_can_be_applied(stage: Stage, namespace: str, example: str) -> None:
    # `create`, because `apply` has no use for the name that `generateName` leaves to the server.
    done = stage.cluster.kubectl(
        "create", "--dry-run=server", "--namespace", namespace, "--validate=strict", "-f", "-", input=example
    )
    assert "created (server dry run)" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("manifest", ["controller.yaml", "worker-runs.yaml", "worker.yaml"])
def test_the_tables_of_permissions_are_the_manifests(manifest: str) -> None:
    """Every verb of each Role, and no other, is in the README's table for it."""
    documents = yaml.safe_load_all((MANIFESTS / manifest).read_text())
    granted = {
        resource: set(rule["verbs"])
        for document in documents
        for rule in document.get("rules", ())
        for resource in rule["resources"]
    }
    section = README.partition("## Permissions")[2].partition("\n## ")[0]
    table = section.partition(f"`manifests/{manifest}` is all")[2].partition("\n\n")[2].partition("\n\n")[0]
    shown = {
        resource: set(verbs.split(", "))
        for resources, verbs in re.findall(r"^\| (`[^|]+) \| ([a-z, ]+) \|", table, re.MULTILINE)
        for resource in resources.replace("`", "").split(", ")
    }
    assert shown == granted
