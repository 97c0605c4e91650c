"""What was in a cluster before, as kubectl tells it."""

import json

from sandbox.guest import Item, items_of

ROLE = {"kind": "ClusterRole", "metadata": {"name": "controller"}}
ACCOUNT = {"kind": "ServiceAccount", "metadata": {"name": "controller", "namespace": "spacelift-aws"}}
DEFINITION = {"kind": "CustomResourceDefinition", "metadata": {"name": "runs.aws.spacelift.io"}}


def test_nothing_is_no_items() -> None:
    assert items_of("") == set()


def test_one_object_comes_without_a_list() -> None:
    [item] = items_of(json.dumps(ACCOUNT))
    assert item.arguments() == ["serviceaccount", "controller", "--namespace=spacelift-aws"]


def test_definitions_come_first() -> None:
    items = items_of(json.dumps({"kind": "List", "items": [ROLE, ACCOUNT, DEFINITION]}))
    assert sorted(items)[0] == Item(0, "customresourcedefinition", "runs.aws.spacelift.io", None)
    assert sorted(items)[0].arguments() == ["customresourcedefinition", "runs.aws.spacelift.io"]
