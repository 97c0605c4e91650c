"""Builds the Run of a Job. Pure."""

from typing import Any

from spacelift_aws.controllers.job.rules import exit_codes
from spacelift_aws.controllers.job.view import (
    CREDENTIALS_FOR,
    DELIVERY,
    STACK,
    SUCCESS_EXIT_CODES,
    TYPE,
    WORKER_POOL,
    Job,
    integration_of,
)
from spacelift_aws.kube.resources import JOBS, RUNS
from spacelift_aws.names import ANNOTATION_REQUESTED_BY

_PASSED_ON = {TYPE: "type", STACK: "stack", DELIVERY: "delivery", WORKER_POOL: "workerPool"}


def build_run(job: Job) -> dict[str, Any]:
    """The Run of a Job, under the Job's name. The Job must not be one that `refusal` refuses.

    The template keeps the labels that the API server gave it: `kubectl logs job/NAME` finds the pod by them.
    """
    metadata = job.template.get("metadata") or {}
    return {
        "apiVersion": RUNS.api_version,
        "kind": RUNS.kind,
        "metadata": {
            "name": job.name,
            "namespace": job.namespace,
            "ownerReferences": [_owner(job)],
            "annotations": {key: job.annotations[key] for key in (ANNOTATION_REQUESTED_BY,) if key in job.annotations},
        },
        "spec": {
            "integrationRef": _reference(job),
            **{field: job.annotations[key] for key, field in _PASSED_ON.items() if key in job.annotations},
            **_lists(job),
            "template": {
                "metadata": {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)},
                "spec": job.template["spec"],
            },
        },
    }


def _reference(job: Job) -> dict[str, str]:
    namespace, name = integration_of(job)
    return {"name": name} if namespace == job.namespace else {"name": name, "namespace": namespace}


def _lists(job: Job) -> dict[str, Any]:
    lists: dict[str, Any] = {}
    containers = job.annotations.get(CREDENTIALS_FOR)
    if containers is not None:
        lists["credentialsFor"] = [name.strip() for name in containers.split(",")]
    codes = exit_codes(job.annotations[SUCCESS_EXIT_CODES]) if SUCCESS_EXIT_CODES in job.annotations else None
    if codes is not None:
        lists["successExitCodes"] = codes
    return lists


def _owner(job: Job) -> dict[str, Any]:
    """Without `blockOwnerDeletion`: it would need a permission on the Job's finalizers."""
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "name": job.name,
        "uid": job.uid,
        "controller": True,
    }
