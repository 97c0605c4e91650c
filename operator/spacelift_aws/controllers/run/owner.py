"""The owner reference on what a Run owns. Pure."""

from typing import Any

from spacelift_aws.api.run import Run
from spacelift_aws.kube.resources import RUNS


def owner_reference(run: Run) -> dict[str, Any]:
    """Without `blockOwnerDeletion`: it would need a permission on the Run's finalizers."""
    return {
        "apiVersion": RUNS.api_version,
        "kind": RUNS.kind,
        "name": run.metadata.name,
        "uid": run.metadata.uid,
        "controller": True,
    }
