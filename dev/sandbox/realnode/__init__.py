"""A real Kubernetes node beside the sandbox's control plane: containerd, runc and a kubelet, on this machine, as root.

    reason = realnode.unavailable()               # None, or why this machine cannot have one
    with controlplane.start(controllers=FOR_NODES) as cluster, realnode.start_node(cluster) as node:
        node.load(archive)                        # an image, for pods with imagePullPolicy IfNotPresent or Never
        endpoint = node.expose(aws.endpoint)      # what listens on this machine's loopback, as pods reach it
        node.restart(kubelet={"syncFrequency": "10s"})

The node is a machine of its own as far as namespaces go (`machine.py`), with the usual paths inside and a network of
its own: pods have addresses on a bridge and reach one another, the API server (at its Service's address, so any
client's in-cluster configuration works), and what `expose` names; nothing else, not even this machine's other ports.
There is no kube-proxy (other Services have endpoints, and nobody who carries traffic to them), no DNS, and
NetworkPolicies are not enforced. `kubectl logs` and `exec` work. Pods with `hostNetwork` share the node's network.

Everything ends with the cluster's supervisor, however this process ends: processes, mounts and network devices with the
namespaces, then the cgroups. One machine has one such node at a time; a second one waits for the first one's end.

The control plane has to run the controllers of `components.FOR_NODES`; a scheduler is started here. Images lie in
`sandbox.realnode.images`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox import binaries, kubeconfig
from sandbox.controlplane import ControlPlane
from sandbox.paths import cache_folder
from sandbox.process import Process, wait_until
from sandbox.progress import Say, Stopwatch, to_stderr
from sandbox.realnode import config, packages
from sandbox.realnode.images import pause
from sandbox.realnode.overlays import overlays_work

_HERE = Path(__file__).resolve().parent
_NAMESPACES = ("--mount", "--net", "--ipc", "--uts", "--pid")
_READY_WITHIN = 120.0
_LOCK_WITHIN = 1800.0
_HEALTHZ = 10248
"""The kubelet's own default port for it."""


class NodeError(RuntimeError):
    """The node could not do what was asked of it; the text is what the failed command said."""


def unavailable() -> str | None:
    """Why this machine cannot have a real node, as the end of a sentence; None if it can.

    Packages that can be installed are no reason against it.
    """
    if sys.platform != "linux":
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root"
    if not Path("/sys/fs/cgroup").is_dir():
        return "it needs cgroups"
    missing = packages.missing(packages.NODE)
    if missing and not packages.installable():
        return f"it needs the packages {', '.join(missing)}"
    if not missing:
        tried = subprocess.run(["unshare", "--fork", *_NAMESPACES, "true"], capture_output=True, text=True)
        if tried.returncode != 0:
            return f"it needs namespaces of its own: {tried.stderr.strip()}"
    return None


class RealNode:
    """A node that runs; made by `start_node`."""

    address = config.ADDRESS
    """Its InternalIP, at which pods find what was exposed."""

    def __init__(self, cluster: ControlPlane, name: str, kubelet: Mapping[str, Any], say: Say) -> None:
        self.name = name
        self.folder = cluster.folder / name
        """What a disk would keep; `lib` and `log` in it are the node's /var/lib and /var/log."""
        self._cluster = cluster
        self._say = say
        self._programs = binaries.ensure("kubelet", "kube-scheduler", say=say)
        self._settings = dict(kubelet)
        self._machine: Process | None = None
        self._services: dict[str, Process] = {}
        self._started = datetime.now(UTC)
        self._exposed: list[int] = []
        self._forwards: list[Process] = []
        self._starts = 0

    @property
    def pid(self) -> int:
        """The number of the node's first process."""
        return int((self.folder / "machine.pid").read_text())

    def run(self, *argv: str | Path, input: bytes | None = None, check: bool = True) -> str:
        """Run a command on the node, in all its namespaces; what it printed.

        NodeError if it fails and `check` is set.
        """
        done = subprocess.run([*self._inside(), *map(str, argv)], input=input, capture_output=True)
        if check and done.returncode != 0:
            raise NodeError(f"{' '.join(map(str, argv))}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace")

    def load(self, *archives: Path) -> None:
        """Bring images, docker-archives or OCI archives, to the node under the names that are in them."""
        for archive in archives:
            self.run("ctr", "--namespace=k8s.io", "images", "import", "--snapshotter", self._snapshotter, archive)

    def expose(self, endpoint: str) -> str:
        """The URL under which pods reach `endpoint`, an HTTP server on this machine's loopback, also after restarts."""
        port = urlsplit(endpoint).port
        if port is None:
            raise ValueError(f"there is no port in {endpoint}")
        if port not in self._exposed:
            self._exposed.append(port)
            self._forward(self.address, port, port)
        return f"http://{self.address}:{port}"

    def restart(self, *, kubelet: Mapping[str, Any] | None = None) -> None:
        """Kill kubelet and containerd and start them again, the kubelet with other settings if any; containers live on.

        The kubelet is back when this returns; what it then notices, its Node and pods tell.
        """
        self._settings = dict(self._settings if kubelet is None else kubelet)
        for name in ("kubelet", "containerd"):
            self._services.pop(name).stop(grace=0)
        self._start_services()

    def power_off(self) -> None:
        """Take the machine away, at once and without a word; its disk stays."""
        self._services.clear()
        # Their sockets would keep the machine's network alive.
        while self._forwards:
            self._forwards.pop().stop(grace=0)
        if self._machine is not None:
            self._machine.stop(grace=0)
            self._machine = None

    def power_on(self) -> None:
        """Start the machine, for the first time or after `power_off`, and wait until its kubelet answers."""
        self._starts += 1
        (self.folder / "machine.pid").unlink(missing_ok=True)
        lock = cache_folder() / "realnode.lock"
        script = [sys.executable, "-I", "-S", str(_HERE / "machine.py"), str(self.folder), str(lock)]
        unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child=KILL", "--propagation=private"]
        self._machine = self._cluster.run(f"{self.name}-machine", [*unshare, *script])
        watch = Stopwatch(self._say)

        def there() -> bool:
            watch.tick("waiting for the end of another real node on this machine")
            return (self.folder / "machine.pid").exists()

        self._machine.wait_ready(there, _LOCK_WITHIN)
        self._connect()
        self._forward(config.SERVICE_ADDRESS, config.SERVICE_PORT, urlsplit(self._cluster.server).port or 443)
        for port in self._exposed:
            self._forward(self.address, port, port)
        self._start_services()

    def wait_ready(self, timeout: float = _READY_WITHIN) -> None:
        """Wait until the kubelet that was started last says that it is ready, and the Node takes pods.

        NodeError with what the Node says of itself otherwise.
        """
        watch = Stopwatch(self._say)

        def ready() -> bool:
            watch.tick("waiting for the node")
            for process in self._services.values():
                process.check()
            found = self._cluster.kubectl("get", "node", self.name, "--output=json", check=False)
            return found.returncode == 0 and _takes_pods(json.loads(found.stdout), self._started)

        try:
            wait_until(ready, timeout=timeout, what="the node", interval=0.2)
        except TimeoutError as error:
            described = self._cluster.kubectl("get", "node", self.name, "--output=yaml", check=False)
            raise NodeError(f"{error}:\n{described.stdout or described.stderr}") from None

    def check(self) -> None:
        """ProcessError if a part of the node has ended by itself."""
        for process in (*self._services.values(), *([self._machine] if self._machine else [])):
            process.check()

    def _prepare(self) -> None:
        """Write every file that the node is configured by."""
        self.folder.mkdir(mode=0o700)
        self._snapshotter = "overlayfs" if overlays_work(self.folder) else "native"
        (self.folder / "containerd.toml").write_text(config.containerd(self.folder / "net.d", self._snapshotter))
        (self.folder / "net.d").mkdir()
        (self.folder / "net.d" / "10-pods.conflist").write_text(config.network())
        # Nobody answers there: names fail at once instead of after a time-out.
        (self.folder / "resolv.conf").write_text(f"nameserver {config.ADDRESS}\n")
        pair = self._cluster.authority.client(self.name, f"system:node:{self.name}", ["system:nodes"])
        kubeconfig.write(
            self.folder / "kubelet.kubeconfig",
            cluster=kubeconfig.cluster_entry(
                f"https://{config.SERVICE_ADDRESS}:{config.SERVICE_PORT}", self._cluster.ca
            ),
            user=kubeconfig.client_certificate(pair),
            name=self.name,
        )
        leave = [sys.executable, "-I", "-S", str(_HERE / "leave.py"), config.CGROUP]
        subprocess.run([*leave, os.devnull + "/none"], check=True)
        sysctls = {name: Path("/proc/sys", name) for name in config.SYSCTLS}
        saved = {name: path.read_text().strip() for name, path in sysctls.items() if path.exists()}
        (self.folder / "sysctls.json").write_text(json.dumps(saved))
        self._cluster.supervisor.request("at_end", argv=[*leave, str(self.folder / "sysctls.json")])

    def _connect(self) -> None:
        """Lay the cable between this machine and the node's, and give the node its addresses."""
        subprocess.run(["ip", "link", "delete", config.DEVICE], capture_output=True)
        outside = [
            f"link add {config.DEVICE} type veth peer name eth0 netns {self.pid}",
            f"address add {config.OUTSIDE}/30 dev {config.DEVICE}",
            f"link set {config.DEVICE} up",
        ]
        inside = [
            "link set lo up",
            f"address add {config.ADDRESS}/30 dev eth0",
            "link set eth0 up",
            f"address add {config.SERVICE_ADDRESS}/32 dev lo",
        ]
        for prefix, commands in (([], outside), (self._inside(), inside)):
            for command in commands:
                done = subprocess.run([*prefix, "ip", *command.split()], capture_output=True, text=True)
                if done.returncode != 0:
                    raise NodeError(f"ip {command}: {done.stderr.strip()}")

    def _forward(self, address: str, port: int, target: int) -> None:
        name = f"{self.name}-forward-{port}-{self._starts}"
        script = [sys.executable, "-I", "-S", str(_HERE / "forward.py"), str(self.pid), address, str(port), str(target)]
        process = self._cluster.run(name, script)
        self._forwards.append(process)
        process.wait_ready(lambda: process.log.exists() and "listening" in process.log.read_text(), 30)

    def _start_services(self) -> None:
        authority = self._cluster.ca
        (self.folder / "kubelet.json").write_text(
            config.kubelet(authority, self.folder / "resolv.conf", self._settings)
        )
        self._start("containerd", ["containerd", f"--config={self.folder / 'containerd.toml'}"])
        self._services["containerd"].wait_ready(self._containerd_answers, 60)
        kubelet: list[str | Path] = [
            self._programs["kubelet"],
            f"--config={self.folder / 'kubelet.json'}",
            f"--kubeconfig={self.folder / 'kubelet.kubeconfig'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
        ]
        # Heartbeats know no fractions of a second: one of the kubelet before must not look like its successor's.
        self._started = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        wait_until(lambda: datetime.now(UTC) >= self._started, timeout=5, what="the next second")
        self._start("kubelet", kubelet)
        self._services["kubelet"].wait_ready(self._kubelet_answers, 60)

    def _start(self, service: str, argv: Sequence[str | Path]) -> None:
        self._services[service] = self._cluster.run(f"{self.name}-{service}", [*self._inside(), *argv])

    def _containerd_answers(self) -> bool:
        return bool(self.run("ctr", "version", check=False)) and self._snapshotter in self.run(
            "ctr", "plugins", "list", check=False
        )

    def _kubelet_answers(self) -> bool:
        probe = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{_HEALTHZ}/healthz').read().decode())"
        return "ok" in self.run(sys.executable, "-I", "-S", "-c", probe, check=False)

    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", *_NAMESPACES, "--"]


@contextmanager
def start_node(
    cluster: ControlPlane,
    *,
    name: str = "node-1",
    images: Sequence[Path] = (),
    kubelet: Mapping[str, Any] | None = None,
    say: Say = to_stderr,
) -> Iterator[RealNode]:
    """Run a real node beside the control plane while the context lasts; when it is entered, pods can be scheduled.

    `images` are loaded first; the pause image is brought by itself. `kubelet` holds fields of its KubeletConfiguration
    that differ from `config.kubelet`, such as `syncFrequency`. Raises NodeError, ProcessError, packages.PackageError,
    and what `binaries.ensure` raises; whether it can work here at all, `unavailable` says.
    """
    packages.ensure(packages.NODE, say)
    node = RealNode(cluster, name, kubelet or {}, say)
    scheduler: Process | None = None
    try:
        node._prepare()
        node.power_on()
        node.load(pause(say), *images)
        scheduler = _start_scheduler(cluster, node._programs["kube-scheduler"])
        node.wait_ready()
        yield node
    finally:
        node.power_off()
        if scheduler is not None:
            scheduler.stop(grace=0)


def _start_scheduler(cluster: ControlPlane, program: Path) -> Process:
    access = cluster.kubeconfig_for_user("kube-scheduler", "system:kube-scheduler")
    return cluster.run("kube-scheduler", [program, f"--kubeconfig={access}", "--leader-elect=false", "--secure-port=0"])


def _takes_pods(node: Mapping[str, Any], since: datetime) -> bool:
    """Whether the Node was told to be ready after `since`, and nothing keeps pods away from it."""
    ready = next((one for one in node["status"].get("conditions", []) if one["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True" or node["spec"].get("taints"):
        return False
    return datetime.fromisoformat(ready["lastHeartbeatTime"]) >= since
