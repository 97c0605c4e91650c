"""The controller beside a cluster."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox import charts
from sandbox.cluster import Cluster
from sandbox.process import wait_until
from sandbox.program import Program

NAMESPACE = "spacelift-aws"
SERVICE_ACCOUNT = "spacelift-aws-controller"


class Controller(Program):
    """A controller under the account and the permissions of its chart."""

    def __init__(self, cluster: Cluster, environment: Mapping[str, str], name: str = "controller") -> None:
        super().__init__(
            cluster,
            environment,
            command="controller",
            name=name,
            namespace=NAMESPACE,
            service_account=SERVICE_ACCOUNT,
        )

    def install(self, values: Mapping[str, Any] | None = None) -> None:
        """Apply all of its chart, with these values. Again does no harm."""
        file = manifest(self._cluster, values)
        self._cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={file}")
        wait_for_runs(self._cluster, NAMESPACE)


def wait_for_runs(cluster: Cluster, namespace: str) -> None:
    """Wait until a Run can be created there, which a policy that writes on it delays.

    The API server learns a new kind's schema up to five seconds after its definition, and answers 503 until then.
    """
    metadata = {"namespace": namespace, "name": "tried-out"}
    template = {"spec": {"containers": [{"name": "main", "image": "none"}]}}
    spec = {"integrationRef": {"name": "none"}, "template": template}
    run = json.dumps({"apiVersion": "aws.spacelift.io/v1beta1", "kind": "Run", "metadata": metadata, "spec": spec})

    def taken() -> bool:
        done = cluster.kubectl("create", "--dry-run=server", "--filename=-", input=run, check=False)
        return "There can be a delay" not in done.stderr and "no matches for kind" not in done.stderr

    wait_until(taken, timeout=30, what="the API server to take Runs", interval=0.25)


def manifest(cluster: Cluster, values: Mapping[str, Any] | None = None) -> Path:
    """A file with the operator's chart, for a controller that runs beside the cluster, and with its namespace."""
    path = cluster.folder / "operator.yaml"
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n"
    path.write_text(namespace + charts.beside(charts.OPERATOR, NAMESPACE, values))
    return path
