"""What the charts are rendered with: as little as possible, and every value that is not as it is by default."""

from pathlib import Path
from typing import Any

import pytest

from sandbox.charts import OPERATOR, WORKER

DIGEST = f"sha256:{'0' * 64}"


POD_VALUES: dict[str, Any] = {
    "installation": "acme-prod",
    "region": "eu-central-1",
    "log": {"format": "json", "level": "DEBUG"},
    "replicas": 3,
    "image": {"digest": DIGEST, "pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]},
    "maskHelper": {
        "image": "example.org/helper:1",
        "delivery": "InitContainer",
        "resources": {"limits": {"memory": "64Mi"}},
        "securityContext": {"runAsUser": 1234},
    },
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111111111111:role/x"}},
    "resources": {"limits": {"memory": "1Gi"}},
    "podDisruptionBudget": {"maxUnavailable": "50%"},
    "networkPolicy": {"egress": [{"ports": [{"port": 443}]}]},
    "healthPort": 9090,
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "x", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "priorityClassName": "system-cluster-critical",
    "terminationGracePeriodSeconds": 60,
    "extraEnv": [{"name": "SPACELIFT_AWS_RELIST_EVERY", "value": "60"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "podAnnotations": {"example.org/pod": "annotated"},
    "podLabels": {"example.org/pod": "labelled"},
    "commonAnnotations": {"example.org/all": "annotated"},
    "commonLabels": {"example.org/all": "labelled"},
}
"""Every value of a pod's that is not as it is by default."""


EVERY_VALUE: dict[Path, dict[str, Any]] = {
    OPERATOR: {
        **POD_VALUES,
        "principal": "arn:aws:iam::111111111111:role/x",
        "suggestedPolicies": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "runDisruptionBudget": {"namespaces": ["payments", "research"]},
        "admissionPolicies": {"otherControllers": ["system:serviceaccount:other:spacelift-aws-controller"]},
    },
    WORKER: {**POD_VALUES, "pool": "build", "runNamespaces": ["research"], "runDisruptionBudget": {"create": True}},
}


FEWEST_VALUES: dict[Path, dict[str, Any]] = {OPERATOR: {}, WORKER: {"installation": "acme-prod"}}


both_charts = pytest.mark.parametrize("chart", [OPERATOR, WORKER], ids=lambda chart: chart.name)


few_and_all_values = pytest.mark.parametrize("values", [FEWEST_VALUES, EVERY_VALUE], ids=["fewest", "every"])
