"""Builds the Secret of a Run. Pure."""

from typing import Any

from spacelift_aws.api.meta import format_time
from spacelift_aws.api.run import Delivery, Run
from spacelift_aws.aws.sts import Credentials
from spacelift_aws.controllers.run.delivery import file
from spacelift_aws.controllers.run.owner import owner_reference
from spacelift_aws.names import ANNOTATION_EXPIRES_AT, ANNOTATION_RUN, LABEL_RUN_ID, SECRET_TYPE, child_name


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
            "labels": {LABEL_RUN_ID: run_id, "velero.io/exclude-from-backup": "true"},
            "annotations": {
                ANNOTATION_RUN: run.metadata.name,
                ANNOTATION_EXPIRES_AT: format_time(credentials.expires_at),
            },
            "ownerReferences": [owner_reference(run)],
        },
        "stringData": _content(run, credentials),
    }


def _content(run: Run, credentials: Credentials) -> dict[str, str]:
    if run.spec.delivery is Delivery.FILE:
        return file.secret_content(credentials)
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        # botocore reads the older name first: the two must be equal.
        "AWS_SECURITY_TOKEN": credentials.session_token,
        "AWS_SESSION_TOKEN": credentials.session_token,
    }
