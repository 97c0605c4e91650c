"""Everything at once: a cluster, a node, an emulated AWS behind a fault proxy, the controller under its own account.

Two AWS accounts: the operator's, with a user it acts as, and a customer's, with the roles.

With `USE_EXISTING_CLUSTER=true` the cluster is that of the current kubeconfig context, and its own nodes run the pods.
They need two things of this machine, which two variables name:

`SANDBOX_IMAGE`: an image with `sh` and `aws`; by default AWS's own, from its public registry.
`SANDBOX_AWS_ADDRESS`: the host name or IP address under which pods reach this machine, where the emulated AWS listens:
the gateway of kind's network, `host.docker.internal` with Docker Desktop; by default 127.0.0.1, which suits only nodes
that run pods as processes of this machine.
"""

import itertools
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sandbox import audit
from sandbox.aws import DEFAULT_REGION, Account, Aws, Identity, aws_cli, start_aws
from sandbox.cluster import Cluster
from sandbox.controller import Controller
from sandbox.controlplane import ControlPlane, cluster, uses_existing
from sandbox.faultproxy import FaultProxy
from sandbox.guest import guest
from sandbox.node import start_node
from sandbox.objects import Object, Objects, RefusedError
from sandbox.program import CRDS
from sandbox.progress import Say, to_stderr

HAS_CREDENTIALS = 'test -n "$AWS_SESSION_TOKEN"'
"""For many runs at once, where AWS's command line would take a second of a processor for each.

It does not show whether the credentials are the run's own, or still good.
"""
INSTALLATION = "acme-prod"
API_VERSION = "aws.spacelift.io/v1beta1"

VENDOR = "111111111111"
CUSTOMER = "222222222222"

DEFAULT_IMAGE = "public.ecr.aws/aws-cli/aws-cli:latest"

Policy = dict[str, Any]


@dataclass(frozen=True)
class Gate:
    """What a pod waits for: the test decides when it ends, however busy the machine is."""

    file: Path

    @property
    def wait(self) -> str:
        """The script that ends once the gate is open."""
        return f"until test -e {self.file}; do sleep 0.1; done"

    def open(self) -> None:
        self.file.touch()


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
    image: str = DEFAULT_IMAGE
    """Of every container that is made here."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What a container needs to find the emulated AWS, where its node does not see to that."""
    namespaces: list[str] = field(default_factory=list)
    """Those made here."""
    prefix: str = ""
    """Of every number in a name."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def on(cls, cluster: Cluster, aws: Aws, proxy: FaultProxy, settings: Mapping[str, str], **more: Any) -> Self:
        """A stage of these parts, whose controller, not started yet, has these variables and reaches STS by the proxy.

        `more` are the other fields.
        """
        operator = operator_of(aws)
        environment = {
            **aws.environment(operator, endpoint=proxy.endpoint),
            "SPACELIFT_AWS_INSTALLATION": INSTALLATION,
            **settings,
        }
        return cls(
            cluster=cluster,
            aws=aws,
            proxy=proxy,
            operator=operator,
            customer=aws.account(CUSTOMER),
            controller=Controller(cluster, environment),
            objects=Objects(cluster.kubeconfig),
            **more,
        )

    def fresh(self, word: str) -> str:
        """A name that nobody has used."""
        return f"{word}-{self.prefix}{next(self._numbers)}"

    def namespace(self, labels: Mapping[str, str] | None = None, name: str | None = None) -> str:
        """A new namespace in which pods can be made at once; `name` with a number, if that one is taken."""
        wanted = name = name or self.fresh("team")
        for attempt in itertools.count(2):
            body = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, "labels": dict(labels or {})}}
            try:
                self.objects.create(body)
            except RefusedError as error:
                if error.status != 409:
                    raise
                name = f"{wanted}-{attempt}"
            else:
                break
        self.namespaces.append(name)
        self.objects.wait("ServiceAccount", name, "default", bool, timeout=30)
        return name

    def clear(self, namespace: str) -> None:
        """Leave nothing there that executors would look after, and verify again, until the stage ends."""
        for kind in ("Job", "Run", "AwsIntegration"):
            self.objects.delete_all(kind, namespace)

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

    def role(self, trust: Policy, name: str | None = None, path: str = "/deploy/") -> str:
        """A new role of the customer's that may do anything; its ARN."""
        name = name or self.fresh("role")
        arn = self.customer.create_role(name, trust, path=path)
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
        template = {
            "metadata": {"annotations": dict(annotations or {})},
            "spec": pod or {"containers": [self.container(script)]},
        }
        self.objects.create(
            {
                "apiVersion": API_VERSION,
                "kind": "Run",
                "metadata": {"namespace": namespace, "name": name},
                "spec": {"integrationRef": {"name": integration}, "template": template, **spec},
            }
        )
        return name

    def gate(self) -> "Gate":
        """A new gate for pods of the sandbox's own node, which share the folder of the cluster with the tests."""
        return Gate(self.cluster.folder / self.fresh("gate"))

    def container(self, script: str) -> Object:
        """A container that runs a shell script and finds the emulated AWS."""
        container: Object = {"name": "main", "image": self.image, "command": ["sh", "-c", script]}
        if self.variables:
            container["env"] = [{"name": key, "value": value} for key, value in self.variables.items()]
        return container


@contextmanager
def set_stage(
    settings: Mapping[str, str] | None = None,
    *,
    installation: str = INSTALLATION,
    install: bool = True,
    audit_policy: Mapping[str, Any] = audit.POLICY,
    path: Sequence[Path] = (),
    say: Say = to_stderr,
) -> Iterator[Stage]:
    """All of it but the controller's start, which is the caller's; `settings` are the controller's variables.

    Without `install` definitions and permissions are the caller's to apply. A cluster that is not the sandbox's own
    is left as it was found. `path`: folders with programs that containers of the sandbox's own node find before others.
    """
    with ExitStack() as stack:
        cli = aws_cli(say)
        say("starting the control plane" if not uses_existing() else "using the cluster of the kubeconfig's context")
        running = stack.enter_context(cluster(crds=[CRDS] if install else (), audit_policy=audit_policy, say=say))
        own = isinstance(running, ControlPlane)
        namespaces: list[str] = []
        if not own:
            stack.enter_context(guest(running, namespaces, say))
        say("starting the emulated AWS")
        address = None if own else os.environ.get("SANDBOX_AWS_ADDRESS")
        aws = stack.enter_context(start_aws(running.supervisor, say, address=address))
        proxy = stack.enter_context(aws.faults())
        stage = Stage.on(
            running,
            aws,
            proxy,
            {"SPACELIFT_AWS_INSTALLATION": installation, **(settings or {})},
            image=os.environ.get("SANDBOX_IMAGE", DEFAULT_IMAGE),
            variables={} if own else {"AWS_ENDPOINT_URL": aws.outside, "AWS_REGION": DEFAULT_REGION},
            namespaces=namespaces,
        )
        if not own:
            # Names of an earlier use may still be there.
            stage.prefix = f"{secrets.token_hex(2)}-"
        if install:
            stage.controller.install()
        if isinstance(running, ControlPlane):
            say("starting the node")
            stack.enter_context(start_node(running, path=[*path, cli], variables=aws.place()))
        yield stage


def operator_of(aws: Aws) -> Identity:
    """The user that the operator acts as: it may assume every role that trusts it."""
    vendor = aws.account(VENDOR)
    operator = vendor.create_user("spacelift-operator", "/platform/")
    vendor.put_user_policy(
        "spacelift-operator",
        {"Statement": [{"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": "*"}]},
    )
    return operator
