"""A real node, the operator's image and both charts, installed once for all end-to-end tests (see `dev/e2e`)."""

from collections.abc import Iterator

import pytest

from sandbox import realnode
from sandbox.realnode.stage import RealStage, set_real_stage


@pytest.fixture(scope="session")
def stage() -> Iterator[RealStage]:
    """The stage. Where there can be none, whoever asked for these tests is told by a failure."""
    if reason := realnode.unavailable():
        pytest.fail(f"there can be no real node here: {reason}")
    with set_real_stage() as stage:
        yield stage


@pytest.fixture
def namespace(stage: RealStage) -> str:
    """A namespace of the test's own, with an integration `prod` that is ready."""
    name = stage.namespace()
    stage.integration(name)
    stage.cluster.kubectl(
        "wait", "--for=condition=Ready", "awsintegration/prod", f"--namespace={name}", "--timeout=60s"
    )
    return name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that take the node away come last."""
    items.sort(key=lambda item: item.path.name == "test_node.py")
