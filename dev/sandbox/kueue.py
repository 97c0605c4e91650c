"""Kueue beside a cluster: its real controller, under its own chart's account, permissions, definitions and webhooks."""

import base64
import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from sandbox import binaries, charts, gobuild, paths
from sandbox.charts import Document
from sandbox.cluster import Cluster
from sandbox.ports import free_port
from sandbox.process import Process, wait_until
from sandbox.progress import Say, to_stderr
from sandbox.toolbox import locked

NAMESPACE = "kueue-system"
API_VERSION = "kueue.x-k8s.io/v1beta2"
QUEUE = "kueue.x-k8s.io/queue-name"
"""The label of a Job that waits in a LocalQueue."""

SHIPPED = {"qps": 50, "burst": 100}
"""What its chart allows of requests a second, and at once."""

_MODULE = "sigs.k8s.io/kueue"
_ACCOUNT = "kueue-controller-manager"
_SERVICE, _CERTIFICATE = "kueue-webhook-service", "kueue-webhook-server-cert"
_LEFT_OUT = ("Deployment", "Service", "ConfigMap", "APIService", "PodDisruptionBudget")
"""What a process beside the cluster does not need of the chart."""
_READY_WITHIN = 60.0


@contextmanager
def kueue(cluster: Cluster, limits: Mapping[str, int] | None = None, say: Say = to_stderr) -> Iterator[Process]:
    """Kueue for Jobs while the context lasts; afterwards its webhooks, definitions and permissions are gone again.

    `limits` on its own requests are `qps` and `burst`, by default those that it is shipped with. Raises BuildError.
    """
    program = binaries.ensure("kueue", say=say)["kueue"]
    folder = Path(tempfile.mkdtemp(dir=cluster.folder, prefix="kueue-"))
    webhooks, health = free_port(), free_port()
    configuration = folder / "configuration.yaml"
    configuration.write_text(yaml.safe_dump(_configuration(folder, webhooks, health, limits or SHIPPED)))
    manifest = folder / "manifest.yaml"
    manifest.write_text(yaml.safe_dump_all(_objects(configuration.read_text(), webhooks, say)))
    with _installed(cluster, manifest):
        process = _start(cluster, program, configuration)
        try:
            _mount_certificate(cluster, process, folder)
            process.wait_ready(lambda: _answers(health), _READY_WITHIN)
            yield process
            # What it has in hand bears a finalizer that only it takes away.
            cluster.kubectl("delete", "workloads,localqueues", "--all", "--all-namespaces", "--timeout=60s")
            cluster.kubectl("delete", "clusterqueues,resourceflavors", "--all", "--timeout=60s")
        finally:
            process.stop()


@contextmanager
def _installed(cluster: Cluster, manifest: Path) -> Iterator[None]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        cluster.kubectl("apply", "--server-side", f"--filename={manifest}")
        yield
    finally:
        cluster.kubectl("delete", "--ignore-not-found", f"--filename={manifest}", "--timeout=60s")
        cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")


def _objects(configuration: str, webhooks: int, say: Say) -> list[Document]:
    values = {"fullnameOverride": "kueue", "managerConfig": {"controllerManagerConfigYaml": configuration}}
    rendered = charts.documents(charts.render(_chart(say), NAMESPACE, values))
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": NAMESPACE, "name": _SERVICE},
            # The API server goes where this leads, and still asks for the certificate of the Service.
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        },
        *(_at_port(one, webhooks) for one in rendered if one["kind"] not in _LEFT_OUT),
    ]


def _at_port(document: Document, port: int) -> Document:
    """The object, with every reference to the Service of the webhooks at this port."""
    asked = document.get("webhooks", [])
    if conversion := document.get("spec", {}).get("conversion", {}).get("webhook"):
        asked = [conversion]
    for webhook in asked:
        webhook["clientConfig"]["service"]["port"] = port
    return document


def create_queue(
    cluster: Cluster, name: str, namespace: str, cpu: int, node_labels: Mapping[str, str] | None = None
) -> None:
    """Create a LocalQueue and all that it takes, for as many Jobs as this many processors suffice for.

    A Job of a class of higher priority takes the place of another.
    """
    resources = [{"name": "cpu", "nominalQuota": str(cpu)}]
    cluster_queue = {
        "namespaceSelector": {},
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [{"coveredResources": ["cpu"], "flavors": [{"name": name, "resources": resources}]}],
    }
    specs = {
        "ResourceFlavor": {"nodeLabels": dict(node_labels or {})},
        "ClusterQueue": cluster_queue,
        "LocalQueue": {"clusterQueue": name},
    }
    objects = [
        {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, **({"namespace": namespace} if kind == "LocalQueue" else {})},
            "spec": spec,
        }
        for kind, spec in specs.items()
    ]
    cluster.kubectl("create", "--filename=-", input=yaml.safe_dump_all(objects))


def _configuration(folder: Path, webhooks: int, health: int, limits: Mapping[str, int]) -> Document:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhooks, "certDir": str(folder)},
        "internalCertManagement": {
            "enable": True,
            "webhookServiceName": _SERVICE,
            "webhookSecretName": _CERTIFICATE,
        },
        "leaderElection": {"leaderElect": False},
        "clientConnection": dict(limits),
        "integrations": {"frameworks": ["batch/job"]},
    }


def _start(cluster: Cluster, program: Path, configuration: Path) -> Process:
    kubeconfig = cluster.kubeconfig_for(NAMESPACE, _ACCOUNT)
    # It would serve an API of its own, aggregated into the cluster's.
    gates = "--feature-gates=VisibilityOnDemand=false"
    name = configuration.parent.name
    return cluster.run(name, [program, f"--config={configuration}", gates], env={"KUBECONFIG": str(kubeconfig)})


def _mount_certificate(cluster: Cluster, process: Process, folder: Path) -> None:
    """Kueue makes its certificate, as a Secret, and waits until the kubelet has mounted it."""
    found: dict[str, str] = {}

    def made() -> bool:
        process.check()
        shown = cluster.kubectl("get", "secret", _CERTIFICATE, f"--namespace={NAMESPACE}", "--output=json")
        found.update(json.loads(shown.stdout).get("data") or {})
        return "tls.crt" in found

    wait_until(made, timeout=30, what="Kueue's certificate", interval=0.2)
    for name in ("tls.key", "tls.crt"):
        (folder / name).write_bytes(base64.b64decode(found[name]))


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _chart(say: Say) -> Path:
    """The chart of the same version, copied once out of Go's module cache, which somebody may clean."""
    copy = paths.binary_folder(binaries.KUEUE_VERSION) / "kueue-chart"
    if copy.exists():
        return copy
    copy.parent.mkdir(parents=True, exist_ok=True)
    with locked(copy.with_suffix(".lock")):
        if not copy.exists():
            module = gobuild.source(paths.MODULES / "kueue", _MODULE, say)
            partial = copy.with_name(f"{paths.SCRATCH_PREFIX}kueue-chart")
            shutil.rmtree(partial, ignore_errors=True)
            # Files of the module cache are read-only.
            shutil.copytree(module / "charts" / "kueue", partial, copy_function=shutil.copyfile)
            partial.rename(copy)
    return copy
