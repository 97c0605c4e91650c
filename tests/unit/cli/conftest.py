"""Objects as the API server gives them."""

from typing import Any

import pytest


def run(phase: str = "Queued", **status: Any) -> dict[str, Any]:
    """A Run in this phase."""
    return {
        "apiVersion": "aws.spacelift.io/v1beta1",
        "kind": "Run",
        "metadata": {
            "name": "plan",
            "namespace": "payments",
            "uid": "u-1",
            "creationTimestamp": "2026-01-01T12:00:00Z",
            "annotations": {"aws.spacelift.io/requested-by": "anna", "mine": "1"},
        },
        "spec": {
            "integrationRef": {"name": "prod"},
            "type": "Proposed",
            "stop": True,
            "template": {"spec": {"containers": [{"name": "main", "image": "x", "command": ["true"]}]}},
        },
        "status": {"phase": phase, **status},
    }


@pytest.fixture
def make_run() -> Any:
    """`run` for tests, which cannot import each other."""
    return run
