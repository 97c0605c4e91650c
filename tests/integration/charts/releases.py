"""Releases of the charts, and what is looked at in their cluster."""

import json
from typing import Any

from sandbox.charts import OPERATOR, helm
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, wait_for_runs
from sandbox.controlplane import ControlPlane
from sandbox.process import wait_until

RELEASE = "spacelift-aws"


CONTROLLER = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"


DEFINITIONS = ["awsintegrations.aws.spacelift.io", "runs.aws.spacelift.io"]


def install(cluster: ControlPlane, **values: Any) -> str:
    return helm(cluster, "install", RELEASE, OPERATOR, "--namespace", NAMESPACE, "--create-namespace", values=values)


def remove(cluster: ControlPlane) -> None:
    helm(cluster, "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found")
    # Its own wait can last for ever: it watches for the end of what may have ended before the watch began.
    cluster.kubectl("delete", "customresourcedefinition", "--ignore-not-found", "--wait=false", *DEFINITIONS)
    left = ("customresourcedefinition", "--ignore-not-found", *DEFINITIONS)
    wait_until(lambda: not names(cluster, *left), timeout=60, what="the end of the definitions", interval=0.1)


def get(cluster: ControlPlane, *words: str) -> Any:
    return json.loads(cluster.kubectl("get", *words, "--output=json").stdout)


def names(cluster: ControlPlane, *words: str) -> list[str]:
    return cluster.kubectl("get", *words, "--output=name").stdout.split()


def environment_of(cluster: ControlPlane) -> dict[str, str]:
    deployment = get(cluster, "deployment", "spacelift-aws-controller", f"--namespace={NAMESPACE}")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def may(cluster: ControlPlane, user: str, verb: str, resource: str, namespace: str) -> bool:
    resource, _, subresource = resource.partition("/")
    asked = (
        "auth",
        "can-i",
        verb,
        resource,
        f"--subresource={subresource}",
        f"--namespace={namespace}",
        f"--as={user}",
    )
    return cluster.kubectl(*asked, check=False).stdout.strip() == "yes"


def make_namespace(cluster: ControlPlane, name: str, **labels: str) -> str:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(body))
    cluster.kubectl("wait", "--for=create", f"--namespace={name}", "serviceaccount/default", "--timeout=30s")
    return name


def make_run(cluster: ControlPlane, namespace: str, name: str, **spec: Any) -> None:
    template = {"spec": {"containers": [{"name": "main", "image": "x"}]}}
    body = {
        "apiVersion": "aws.spacelift.io/v1beta1",
        "kind": "Run",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"integrationRef": {"name": "prod"}, "template": template, **spec},
    }
    wait_for_runs(cluster, namespace)
    cluster.kubectl("create", "--validate=strict", "--filename=-", input=json.dumps(body))
