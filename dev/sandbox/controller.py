"""The controller beside a cluster."""

from collections.abc import Mapping

from sandbox.cluster import Cluster
from sandbox.program import MANIFESTS, Program

NAMESPACE = "spacelift-aws"
SERVICE_ACCOUNT = "spacelift-aws-controller"


class Controller(Program):
    """A controller under the account and the permissions of its manifest."""

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
        """Apply its service account and permissions, and the policy on namespaces for workers only."""
        for manifest in ("controller.yaml", "worker-only.yaml"):
            self._cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={MANIFESTS / manifest}")
