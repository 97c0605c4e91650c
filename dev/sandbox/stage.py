"""Everything at once: a cluster, a node, an emulated AWS behind a fault proxy, the controller under its own account.

Two AWS accounts: the operator's, with a user it acts as, and a customer's, with the roles.
"""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sandbox.aws import Account, Aws, Identity, aws_cli, start_aws
from sandbox.cluster import Cluster
from sandbox.controller import CRDS, Controller
from sandbox.controlplane import ControlPlane, cluster
from sandbox.faultproxy import FaultProxy
from sandbox.node import start_node
from sandbox.objects import Object, Objects
from sandbox.progress import Say, to_stderr

INSTALLATION = "acme-prod"
API_VERSION = "aws.spacelift.io/v1beta1"

Policy = dict[str, Any]


@dataclass
class Stage:
    """What is on the stage, and short ways to put resources on it."""

    cluster: Cluster
    aws: Aws
    proxy: FaultProxy
    operator: Identity
    customer: Account
    controller: Controller
    objects: Objects
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def fresh(self, word: str) -> str:
        """A name that nobody has used."""
        return f"{word}-{next(self._numbers)}"

    def namespace(self, labels: Mapping[str, str] | None = None) -> str:
        """A new namespace in which pods can be made at once."""
        name = self.fresh("team")
        body = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, "labels": dict(labels or {})}}
        self.objects.create(body)
        self.cluster.kubectl("wait", "--for=create", f"--namespace={name}", "serviceaccount/default", "--timeout=30s")
        return name

    def trust(self, *external_ids: str, operator: str = "StringEquals", actions: tuple[str, ...] = ()) -> Policy:
        """A trust policy for the operator under these external IDs; under any or none where none is given."""
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Principal": {"AWS": self.operator.arn},
            "Action": ["sts:AssumeRole", *actions],
        }
        if external_ids:
            statement["Condition"] = {operator: {"sts:ExternalId": list(external_ids)}}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def role(self, trust: Policy, name: str | None = None) -> str:
        """A new role of the customer's that may do anything; its ARN."""
        name = name or self.fresh("role")
        arn = self.customer.create_role(name, trust, path="/deploy/")
        self.customer.put_role_policy(name, {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
        return arn

    def external_id(self, namespace: str, name: str) -> str:
        """What an integration's external ID must come out as."""
        return f"{INSTALLATION}@{namespace}@{name}"

    def integration(self, namespace: str, name: str = "prod", *, trusted: bool = True, **spec: Any) -> Object:
        """An AwsIntegration, by default with a role that rightly trusts it."""
        if trusted and "roleArn" not in spec:
            actions = ("sts:TagSession",) * bool(spec.get("tagAssumeRole"))
            spec["roleArn"] = self.role(self.trust(self.external_id(namespace, name), actions=actions))
        return self.objects.create(
            {
                "apiVersion": API_VERSION,
                "kind": "AwsIntegration",
                "metadata": {"namespace": namespace, "name": name},
                "spec": spec,
            }
        )

    def run(
        self,
        namespace: str,
        script: str = "true",
        *,
        name: str | None = None,
        integration: str = "prod",
        pod: Mapping[str, Any] | None = None,
        annotations: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> str:
        """A Run of a shell script, or of a whole pod's spec; its name. `annotations` are the pod's."""
        name = name or self.fresh("run")
        container = {"name": "main", "image": "sandbox", "command": ["sh", "-c", script]}
        template = {"metadata": {"annotations": dict(annotations or {})}, "spec": pod or {"containers": [container]}}
        self.objects.create(
            {
                "apiVersion": API_VERSION,
                "kind": "Run",
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"integrationRef": {"name": integration}, "template": template, **spec},
            }
        )
        return name


@contextmanager
def set_stage(
    settings: Mapping[str, str] | None = None, *, installation: str = INSTALLATION, say: Say = to_stderr
) -> Iterator[Stage]:
    """All of it but the controller's start, which is the caller's; `settings` are the controller's variables."""
    cli = aws_cli(say)
    with cluster(crds=[CRDS], say=say) as running, start_aws(running.supervisor, say) as aws, aws.faults() as proxy:
        vendor = aws.account("111111111111")
        operator = vendor.create_user("spacelift-operator", "/platform/")
        vendor.put_user_policy(
            "spacelift-operator",
            {"Statement": [{"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": "*"}]},
        )
        environment = {
            **aws.environment(operator, endpoint=proxy.endpoint),
            "SPACELIFT_AWS_INSTALLATION": installation,
            **(settings or {}),
        }
        stage = Stage(
            cluster=running,
            aws=aws,
            proxy=proxy,
            operator=operator,
            customer=aws.account("222222222222"),
            controller=Controller(running, environment),
            objects=Objects(running.kubeconfig),
        )
        if not isinstance(running, ControlPlane):
            yield stage  # its own nodes run the pods
            return
        with start_node(running, path=[cli], variables=aws.place()):
            yield stage
