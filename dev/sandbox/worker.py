"""Workers beside a cluster: in a tenant's namespace, under the tenant's own identity."""

import json
from collections.abc import Mapping, Sequence

from sandbox.cluster import Cluster
from sandbox.program import MANIFESTS, Program

SERVICE_ACCOUNT = "spacelift-aws-worker"


class Worker(Program):
    """One replica of a pool. `namespaces` are those it serves; by default the one where it lives."""

    def __init__(
        self,
        cluster: Cluster,
        environment: Mapping[str, str],
        namespace: str,
        *,
        pool: str = "default",
        name: str = "worker",
        namespaces: Sequence[str] = (),
    ) -> None:
        settings = {
            "SPACELIFT_AWS_POOL": pool,
            "SPACELIFT_AWS_NAMESPACE": namespace,
            "SPACELIFT_AWS_NAMESPACES": json.dumps(list(namespaces)),
        }
        super().__init__(
            cluster,
            {**environment, **settings},
            command="worker",
            name=f"{namespace}-{name}",
            namespace=namespace,
            service_account=SERVICE_ACCOUNT,
        )
        self._served = tuple(namespaces)

    def install(self) -> None:
        """Apply its service account and permissions where it lives, and the same permissions wherever it serves."""
        manifest = MANIFESTS / "worker.yaml"
        self._cluster.kubectl("apply", f"--namespace={self.namespace}", f"--filename={manifest}")
        for namespace in self._served:
            if namespace == self.namespace:
                continue
            self._cluster.kubectl("apply", f"--namespace={namespace}", f"--filename={manifest}")
            self._cluster.kubectl(
                "create",
                "rolebinding",
                f"workers-of-{self.namespace}",
                f"--namespace={namespace}",
                "--role=spacelift-aws-worker",
                f"--serviceaccount={self.namespace}:{SERVICE_ACCOUNT}",
            )
