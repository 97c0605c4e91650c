"""The controller beside a cluster."""

from collections.abc import Mapping
from pathlib import Path

from sandbox import charts
from sandbox.cluster import Cluster
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

    def install(self) -> None:
        """Apply all of its chart. Again does no harm."""
        self._cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={manifest(self._cluster)}")


def manifest(cluster: Cluster) -> Path:
    """A file with the operator's chart, for a controller that runs beside the cluster, and with its namespace."""
    path = cluster.folder / "operator.yaml"
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n"
    path.write_text(namespace + charts.beside(charts.OPERATOR, NAMESPACE))
    return path
