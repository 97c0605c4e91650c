"""The stage for end-to-end tests: a real node, the operator's image, and both charts installed by Helm.

The controller runs as the chart's Deployment in its own namespace, a worker pool of a tenant's in another one, both
from the image that the Dockerfile makes. The emulated AWS stays on this machine's loopback; the node brings it to pods.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sandbox import charts, controlplane, realnode
from sandbox.aws import DEFAULT_REGION, Identity, start_aws
from sandbox.components import FOR_NODES
from sandbox.controller import NAMESPACE
from sandbox.controlplane import ControlPlane
from sandbox.objects import Object
from sandbox.progress import Say, to_stderr
from sandbox.realnode import RealNode
from sandbox.realnode.build import Image, operator_image, tools_image
from sandbox.stage import INSTALLATION, Stage
from sandbox.worker import Tenant, tenant

WORKERS, RESEARCH = "research-workers", "research"
"""Where the tenant's worker pool lives, and where its Runs are."""
POOL = "build"

_INSTALL = ("--create-namespace", "--wait", "--timeout=180s")
_IDENTITY = "aws-identity"

# A node that does not answer is given up after half a minute instead of six.
_IMPATIENT_API = ("--default-not-ready-toleration-seconds=5", "--default-unreachable-toleration-seconds=5")
_IMPATIENT_MANAGER = ("--node-monitor-grace-period=25s", "--node-monitor-period=2s")
_IMPATIENT_KUBELET = {"nodeStatusUpdateFrequency": "5s", "nodeLeaseDurationSeconds": 20}


@dataclass
class RealStage(Stage):
    """A stage whose containers are real; pods find the emulated AWS by the variables of `container`."""

    cluster: ControlPlane
    node: RealNode = field(kw_only=True)
    operator_image: Image = field(kw_only=True)
    tenant: Tenant = field(kw_only=True)

    def restart_node(self, **kubelet: Any) -> None:
        """Kill the node's kubelet and containerd and start them again, with these fields of its configuration."""
        self.node.restart(kubelet={**_IMPATIENT_KUBELET, **kubelet})

    def install(self) -> None:
        """Install the operator's chart as a release of its own, and wait until its pods are ready."""
        values = {**self._values(NAMESPACE, self.operator), "suggestedPolicies": [], "jobs": {"enabled": True}}
        charts.helm(
            self.cluster, "install", "operator", charts.OPERATOR, f"--namespace={NAMESPACE}", *_INSTALL, values=values
        )

    def install_worker(self) -> None:
        """Install the worker's chart in the tenant's namespace, for Runs in another one."""
        values = {**self._values(WORKERS, self.tenant.identity), "pool": POOL, "runNamespaces": [RESEARCH]}
        charts.helm(self.cluster, "install", "pool", charts.WORKER, f"--namespace={WORKERS}", *_INSTALL, values=values)

    def workloads_ready(self) -> None:
        """Wait until every Deployment is as its chart wants it."""
        for namespace in (NAMESPACE, WORKERS):
            self.cluster.kubectl("rollout", "status", "deployment", f"--namespace={namespace}", "--timeout=120s")

    def _values(self, namespace: str, identity: Identity) -> Object:
        """The values of either chart; the identity's keys lie in a Secret that is made here."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": _IDENTITY, "namespace": namespace},
            "stringData": {
                "AWS_ACCESS_KEY_ID": identity.access_key_id,
                "AWS_SECRET_ACCESS_KEY": identity.secret_access_key,
            },
        }
        self.objects.create(secret)
        repository, _, tag = self.operator_image.reference.rpartition(":")
        return {
            "installation": INSTALLATION,
            "image": {"repository": repository, "tag": tag},
            "region": DEFAULT_REGION,
            # Of what a kubelet does not evict.
            "priorityClassName": "system-cluster-critical",
            "extraEnv": [
                *({"name": name, "value": value} for name, value in self.variables.items()),
                *(
                    {"name": key, "valueFrom": {"secretKeyRef": {"name": _IDENTITY, "key": key}}}
                    for key in secret["stringData"]
                ),
            ],
        }


@contextmanager
def set_real_stage(say: Say = to_stderr) -> Iterator[RealStage]:
    """All of it, with both charts installed; it takes about half a minute when images and programs are in the cache."""
    operator, tools = operator_image(say), tools_image(say)
    with ExitStack() as stack:
        say("starting the control plane")
        cluster = stack.enter_context(
            controlplane.start(
                apiserver_args=_IMPATIENT_API,
                controller_manager_args=_IMPATIENT_MANAGER,
                controllers=FOR_NODES,
                say=say,
            )
        )
        say("starting the node")
        node = stack.enter_context(
            realnode.start_node(cluster, images=[operator.archive, tools.archive], kubelet=_IMPATIENT_KUBELET, say=say)
        )
        aws = stack.enter_context(start_aws(cluster.supervisor, say))
        proxy = stack.enter_context(aws.faults())
        variables = {
            "AWS_ENDPOINT_URL": node.expose(aws.endpoint),
            "AWS_REGION": DEFAULT_REGION,
            "AWS_DEFAULT_REGION": DEFAULT_REGION,
        }
        stage = RealStage.on(
            cluster,
            aws,
            proxy,
            {},
            image=tools.reference,
            variables=variables,
            node=node,
            operator_image=operator,
            tenant=tenant(aws, RESEARCH),
        )
        for namespace in (NAMESPACE, WORKERS, RESEARCH):
            stage.namespace(name=namespace)
        say("installing the charts")
        stage.install()
        stage.install_worker()
        yield stage
