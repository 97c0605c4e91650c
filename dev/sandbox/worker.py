"""Workers beside a cluster: in a tenant's namespace, under the tenant's own identity."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox import charts
from sandbox.aws import Account, Aws, Identity
from sandbox.cluster import Cluster
from sandbox.program import Program

SERVICE_ACCOUNT = "spacelift-aws-worker"
TENANT = "333333333333"
"""An AWS account that is neither the operator's nor its customer's."""


@dataclass(frozen=True)
class Tenant:
    """Somebody in an AWS account of their own, under whose identity a pool works, and a role it may assume."""

    account: Account
    identity: Identity
    role_arn: str

    def role(self, name: str) -> str:
        """Another role that trusts this identity alone."""
        return self.account.create_role(name, _trust(self.identity))


def tenant(aws: Aws, name: str, account: str = TENANT) -> Tenant:
    """A new user, and a new role that trusts this user alone. `name` is unique in the account."""
    owner = aws.account(account)
    user = owner.create_user(f"{name}-worker")
    owner.put_user_policy(f"{name}-worker", {"Version": "2012-10-17", "Statement": [{**_ALLOW, "Resource": "*"}]})
    return Tenant(owner, user, owner.create_role(f"{name}-deploy", _trust(user)))


_ALLOW = {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"]}


def _trust(identity: Identity) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{**_ALLOW, "Principal": {"AWS": identity.arn}}]}


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
        self._values = {
            "installation": self.environment["SPACELIFT_AWS_INSTALLATION"],
            "pool": pool,
            "runNamespaces": list(namespaces),
            "serviceAccount": {"name": SERVICE_ACCOUNT},
        }

    def install(self) -> None:
        """Apply all of its chart: where it lives, and its bindings wherever it serves. Again does no harm."""
        rendered = charts.beside(charts.WORKER, self.namespace, self._values)
        self._cluster.kubectl("apply", "--filename=-", input=rendered)
