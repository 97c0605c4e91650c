"""What the README tells people to apply is accepted as it stands."""

import re
import textwrap
from pathlib import Path

import pytest

from sandbox.program import MANIFESTS
from sandbox.stage import Stage

README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_it_has_an_example_of_each_kind() -> None:
    assert [re.findall(r"^kind: (\w+)$", example, re.MULTILINE) for example in EXAMPLES] == [
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


def test_the_table_of_permissions_is_the_manifest(stage: Stage) -> None:
    """Every verb of the ClusterRole, and no other, is in the README."""
    listed = stage.cluster.kubectl(
        "create", "--dry-run=client", "-o", "jsonpath={.rules}", "-f", str(MANIFESTS / "controller.yaml")
    ).stdout
    granted = {
        resource: set(verbs.replace('"', "").split(","))
        for resources, verbs in re.findall(r'"resources":\[([^\]]*)\],"verbs":\[([^\]]*)\]', listed)
        for resource in resources.replace('"', "").split(",")
    }
    table = textwrap.dedent(README.partition("## Permissions")[2].partition("\n## ")[0])
    shown = {
        resource: set(verbs.split(", "))
        for resources, verbs in re.findall(r"^\| (`[^|]+) \| ([a-z, ]+) \|", table, re.MULTILINE)
        for resource in resources.replace("`", "").split(", ")
    }
    assert shown == granted
