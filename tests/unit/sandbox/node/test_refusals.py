"""What the node refuses, and what it lets pass although it does nothing about it."""

from typing import Any

import pytest

from sandbox.node.refusals import refusal

CONTAINER: dict[str, Any] = {
    "name": "main",
    "image": "example.com/image",
    "imagePullPolicy": "Always",
    "command": ["true"],
    "resources": {"limits": {"memory": "64Mi"}},
    "ports": [{"containerPort": 80}],
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "securityContext": {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "volumeMounts": [{"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
}
SPEC: dict[str, Any] = {
    "containers": [CONTAINER],
    "initContainers": [{"name": "side", "image": "i", "command": ["true"], "restartPolicy": "Always"}],
    "restartPolicy": "Never",
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "priority": 0,
    "schedulerName": "default-scheduler",
    "securityContext": {"runAsNonRoot": True},
    "serviceAccountName": "default",
    "terminationGracePeriodSeconds": 30,
    "tolerations": [{"key": "node.kubernetes.io/not-ready"}],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "volumes": [{"name": "kube-api-access-abcde", "projected": {}}],
    "hostPID": False,
}


def test_an_ordinary_pod_passes() -> None:
    assert refusal({"spec": SPEC}) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("restartPolicy", "Always"),
        ("restartPolicy", "OnFailure"),
        ("hostPID", True),
        ("runtimeClassName", "gvisor"),
        ("readinessGates", [{"conditionType": "x"}]),
        ("shareProcessNamespace", True),
        ("somethingNew", {"a": 1}),
    ],
)
def test_pod_fields_are_refused_by_name(field: str, value: Any) -> None:
    assert (refusal({"spec": {**SPEC, field: value}}) or "").startswith(f"spec.{field} ")


@pytest.mark.parametrize(
    "volume",
    [
        {"name": "data", "emptyDir": {"medium": "Memory"}},
        {"name": "data", "secret": {"secretName": "s", "items": [{"key": "a", "path": "b"}]}},
        {"name": "data", "hostPath": {"path": "/"}},
        {"name": "data", "projected": {}},
    ],
)
def test_volumes_are_refused(volume: dict[str, Any]) -> None:
    assert (refusal({"spec": {**SPEC, "volumes": [volume]}}) or "").startswith("spec.volumes[0] (data)")


def test_a_secret_may_be_mounted_among_secrets() -> None:
    source = {"secretName": "s", "defaultMode": 0o444, "optional": False}
    mount = {"name": "data", "mountPath": "/var/run/secrets/x", "readOnly": True}
    spec = {**SPEC, "volumes": [{"name": "data", "secret": source}]}
    assert refusal({"spec": {**spec, "containers": [{**CONTAINER, "volumeMounts": [mount]}]}}) is None
    mount["subPath"] = "a"
    assert "subPath" in (refusal({"spec": {**spec, "containers": [{**CONTAINER, "volumeMounts": [mount]}]}}) or "")


def test_users_are_refused() -> None:
    assert (refusal({"spec": {**SPEC, "securityContext": {"fsGroup": 1000}}}) or "").startswith(
        "spec.securityContext.fsGroup "
    )


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("command", None, "command"),
        ("livenessProbe", {"exec": {"command": ["true"]}}, "livenessProbe"),
        ("lifecycle", {"preStop": {}}, "lifecycle"),
        ("tty", True, "tty"),
        ("restartPolicy", "Always", "restartPolicy"),
        ("terminationMessagePolicy", "FallbackToLogsOnError", "terminationMessagePolicy"),
        ("securityContext", {"runAsUser": 1000}, "securityContext.runAsUser"),
        ("securityContext", {"privileged": True}, "securityContext.privileged"),
        ("volumeMounts", [{"name": "data", "mountPath": "/data"}], "volumeMounts[0]"),
        ("env", [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "cpu"}}}], "env[0].valueFrom"),
    ],
)
def test_container_fields_are_refused_by_name(field: str, value: Any, place: str) -> None:
    containers = [{**CONTAINER, field: value}]
    assert (refusal({"spec": {**SPEC, "containers": containers}}) or "").startswith(f"spec.containers[0].{place}")
