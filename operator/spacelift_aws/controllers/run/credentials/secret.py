"""Builds the Secret of a Run. Pure."""

from typing import Any

from spacelift_aws.api.meta import format_time
from spacelift_aws.api.run import Run
from spacelift_aws.aws.sts import Credentials
from spacelift_aws.controllers.run.delivery import DELIVERIES
from spacelift_aws.controllers.run.owner import owner_reference
from spacelift_aws.names import (
    ANNOTATION_EXPIRES_AT,
    ANNOTATION_RUN,
    LABEL_NO_BACKUP,
    LABEL_RUN_ID,
    SECRET_TYPE,
    child_name,
)


def build_secret(run: Run, run_id: str, credentials: Credentials) -> dict[str, Any]:
    """The Secret with the four variables or the two files.

    Its owner reference has the garbage collector as a second line of defence.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "metadata": {
            "name": child_name(run_id),
            "namespace": run.metadata.namespace,
            "labels": {LABEL_RUN_ID: run_id, LABEL_NO_BACKUP: "true"},
            "annotations": {
                ANNOTATION_RUN: run.metadata.name,
                ANNOTATION_EXPIRES_AT: format_time(credentials.expires_at),
            },
            "ownerReferences": [owner_reference(run)],
        },
        "stringData": DELIVERIES[run.spec.delivery].content(credentials, run.spec.profiles or ()),
    }
