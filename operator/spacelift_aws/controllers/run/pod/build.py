"""Builds the pod of a Run. Pure."""

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from spacelift_aws.api.meta import format_time
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.delivery import DELIVERIES
from spacelift_aws.controllers.run.owner import owner_reference
from spacelift_aws.controllers.run.pod import masking
from spacelift_aws.controllers.run.pod.helper import Helper
from spacelift_aws.controllers.run.template_rules import credentialed_containers
from spacelift_aws.names import (
    ANNOTATION_EXPIRES_AT,
    ANNOTATION_ROLE_ARN,
    ANNOTATION_RUN,
    LABEL_RUN_ID,
    child_name,
    executor_labels,
)

KEEP_NODE = {
    # Neither autoscaler may take the node away from under an apply.
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}


def build_pod(
    run: Run,
    run_id: str,
    *,
    role_arn: str,
    executor: str,
    expires_at: datetime | None,
    helper: Helper | None = None,
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The template, plus what makes it this run's pod. The template must not be one that `refusal` refuses.

    The rest of the template is passed on untouched, so that pods of newer API servers work. `helper` masks logs, if
    there is one; its delivery is not `Auto`. `variables` are further computed ones of its containers.
    """
    metadata = run.spec.template.metadata
    labels = dict(metadata.labels or {}) if metadata else {}
    own = (metadata.annotations or {}) if metadata else {}
    annotations = DELIVERIES[run.spec.delivery].annotations(own, credentialed_containers(run.spec))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": child_name(run_id),
            "namespace": run.metadata.namespace,
            "labels": {**labels, LABEL_RUN_ID: run_id, **executor_labels(executor)},
            "annotations": {
                **KEEP_NODE,
                **annotations,
                ANNOTATION_RUN: run.metadata.name,
                **({ANNOTATION_EXPIRES_AT: format_time(expires_at)} if expires_at is not None else {}),
                ANNOTATION_ROLE_ARN: role_arn,
            },
            "ownerReferences": [owner_reference(run)],
        },
        "spec": _pod_spec(run, run_id, {**computed_variables(run, run_id, role_arn), **(variables or {})}, helper),
    }


def _pod_spec(run: Run, run_id: str, computed: Mapping[str, str], helper: Helper | None) -> dict[str, Any]:
    spec: dict[str, Any] = copy.deepcopy(run.spec.template.spec)
    spec["restartPolicy"] = "Never"
    credentialed = credentialed_containers(run.spec)
    delivery = DELIVERIES[run.spec.delivery]
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        own = container.get("env") or []
        names = [variable.get("name") for variable in own]
        # First, so that a variable of the template may refer to them with $(NAME).
        container["env"] = [
            {"name": name, "value": value} for name, value in computed.items() if name not in names
        ] + own
        if container["name"] in credentialed:
            delivery.add_to(container, child_name(run_id))
    if volumes := delivery.volumes(child_name(run_id)):
        spec["volumes"] = [*(spec.get("volumes") or ()), *volumes]
    if helper is not None:
        masking.add_to(spec, run.spec, masking.plan(run.spec, credentialed, helper.image), helper)
    return spec


def computed_variables(run: Run, run_id: str, role_arn: str) -> Mapping[str, str]:
    """The variables that Spacelift computes for a run, by name."""
    variables = {
        "TF_VAR_spacelift_run_id": run_id,
        "TF_VAR_spacelift_run_type": str(run.spec.type),
        "TF_VAR_spacelift_aws_role_arn": role_arn,
    }
    if run.spec.stack is not None:
        variables["TF_VAR_spacelift_stack_id"] = run.spec.stack
    return variables
