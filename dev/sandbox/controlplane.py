"""Kubernetes' own kube-apiserver, kube-controller-manager and etcd on loopback, without root, in seconds.

    with controlplane.start(crds=[Path("crds")]) as cluster:
        cluster.kubectl("get", "namespaces")

Several can run side by side. They leave nothing behind, however this process ends.
"""

import http.client
import json
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox import audit, binaries, components, kubeconfig
from sandbox.certificates import Authority, service_account_keys
from sandbox.cluster import Cluster, ExistingCluster
from sandbox.process import Process, Supervisor
from sandbox.progress import Say, Stopwatch, to_stderr

_ETCD, _API_SERVER, _CONTROLLER_MANAGER = COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager")
_READY_WITHIN = 90.0
"""Seconds for one component; a quiet machine needs five, a crowded one many more."""


def start(
    *,
    crds: Sequence[Path] = (),
    apiserver_args: Sequence[str] = (),
    controller_manager_args: Sequence[str] = (),
    etcd_args: Sequence[str] = (),
    controllers: Sequence[str] = (),
    audit_policy: Mapping[str, Any] = audit.POLICY,
    say: Say = to_stderr,
) -> "ControlPlane":
    """Start a control plane and wait until pods can be created in namespace `default`.

    `crds` are applied before the controller manager starts: its garbage collector looks for new kinds every 30 s only.
    Further arguments of the components come last, so they win over the sandbox's own; further `controllers` join the
    controller manager's, such as `components.FOR_NODES`. Raises process.ProcessError with
    the end of the log of whatever did not start, and what `binaries.ensure` raises.
    """
    programs = binaries.ensure(*COMPONENTS, "kubectl", say=say)
    cluster = ControlPlane(
        programs,
        {_ETCD: etcd_args, _API_SERVER: apiserver_args, _CONTROLLER_MANAGER: controller_manager_args},
        controllers,
        audit_policy,
        say,
    )
    try:
        cluster.start_component(_ETCD)
        cluster.start_component(_API_SERVER)
        cluster.apply_crds(crds)
        cluster.start_component(_CONTROLLER_MANAGER)
    except BaseException:
        cluster.stop()
        raise
    return cluster


def cluster(
    *, crds: Sequence[Path] = (), audit_policy: Mapping[str, Any] = audit.POLICY, say: Say = to_stderr
) -> Cluster:
    """The cluster of the current kubeconfig context if `USE_EXISTING_CLUSTER` is `true`, else a new control plane."""
    return ExistingCluster(crds=crds) if uses_existing() else start(crds=crds, audit_policy=audit_policy, say=say)


def uses_existing() -> bool:
    """Whether the environment asks for the cluster of the current kubeconfig context."""
    return os.environ.get("USE_EXISTING_CLUSTER", "").lower() == "true"


class ControlPlane(Cluster):
    """A control plane of this process's own; made by `start`."""

    ca: Path
    audit_log: Path
    authority: Authority
    """Signs further certificates, such as a node's; its own certificate and key are `authority.pair`."""

    def __init__(
        self,
        programs: dict[str, Path],
        arguments: dict[str, Sequence[str]],
        controllers: Sequence[str],
        audit_policy: Mapping[str, Any],
        say: Say,
    ) -> None:
        super().__init__(Supervisor())
        self._say = say
        self._audit_policy = audit_policy
        self._reserved = _reserve_port()
        port: int = self._reserved.getsockname()[1]
        self.server = f"https://127.0.0.1:{port}"
        self.authority = Authority(self.folder)
        self.ca = self.authority.certificate
        self.kubeconfig = self.kubeconfig_for_user("admin", "sandbox-admin", ["system:masters"])
        files = self._files()
        self.audit_log = files.audit_log
        self._etcd_socket = files.etcd_socket
        self._commands = {
            _ETCD: components.etcd(programs[_ETCD], files, arguments[_ETCD]),
            _API_SERVER: components.api_server(programs[_API_SERVER], files, port, arguments[_API_SERVER]),
            _CONTROLLER_MANAGER: components.controller_manager(
                programs[_CONTROLLER_MANAGER], files, arguments[_CONTROLLER_MANAGER], controllers
            ),
        }
        self._processes: dict[str, Process] = {}
        self._trust = ssl.create_default_context(cafile=self.ca)
        self._trust.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")

    def start_component(self, name: str, extra: Sequence[str] = ()) -> None:
        """Start one of COMPONENTS, for the first time or after `stop_component`, and wait until it is ready.

        `extra` arguments come last, so they win over all others.

        An API server that starts again knows no events from before: a watch that wants to go on from there, like any
        from a long time ago, is answered with 410.
        """
        process = self.run(name, [*self._commands[name], *extra])
        self._processes[name] = process
        probe = {
            _ETCD: self._etcd_ready,
            _API_SERVER: self._api_server_ready,
            _CONTROLLER_MANAGER: self._default_service_account_exists,
        }[name]
        watch = Stopwatch(self._say)

        def ready() -> bool:
            watch.tick(f"waiting for {name}")
            return probe()

        process.wait_ready(ready, _READY_WITHIN)

    def stop_component(self, name: str, grace: float = 0) -> None:
        """Kill one of COMPONENTS, after `grace` seconds to end by itself; its data, port and log stay."""
        self._processes.pop(name).stop(grace)

    def check(self) -> None:
        for process in self._processes.values():
            process.check()

    def stop(self) -> None:
        super().stop()
        self._reserved.close()

    def kubeconfig_for_user(self, name: str, user: str, groups: Sequence[str] = ()) -> Path:
        """The file `<name>.kubeconfig` (mode 0600) with a client certificate for any user in any groups.

        So a node is `system:node:NAME` in `system:nodes`.
        """
        return kubeconfig.write(
            self.folder / f"{name}.kubeconfig",
            cluster=self._cluster_entry(),
            user=kubeconfig.client_certificate(self.authority.client(name, user, groups)),
            name=name,
        )

    def _cluster_entry(self) -> dict[str, Any]:
        return kubeconfig.cluster_entry(self.server, self.ca)

    def _files(self) -> components.Files:
        policy = self.folder / "audit-policy.json"
        policy.write_text(json.dumps(self._audit_policy))
        log = self.folder / "audit.log"
        log.touch(mode=0o600)
        return components.Files(
            folder=self.folder,
            authority=self.authority,
            serving=self.authority.server("kube-apiserver", ["127.0.0.1", "localhost", *components.SERVICE_HOSTS]),
            kubelet_client=self.authority.client("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"]),
            service_accounts=service_account_keys(self.folder),
            audit_policy=policy,
            audit_log=log,
            controller_manager_kubeconfig=self.kubeconfig_for_user(
                "kube-controller-manager", "system:kube-controller-manager"
            ),
        )

    def _etcd_ready(self) -> bool:
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self._etcd_socket))
            return _answer_is_good(connection, "/health")
        except OSError:
            return False
        finally:
            connection.close()

    def _api_server_ready(self) -> bool:
        return self._api_answers("/readyz")

    def _default_service_account_exists(self) -> bool:
        """Without it the API server refuses every pod; the controller manager makes it as one of its first acts."""
        return self._api_answers("/api/v1/namespaces/default/serviceaccounts/default")

    def _api_answers(self, path: str) -> bool:
        host = self.server.removeprefix("https://")
        connection = http.client.HTTPSConnection(host, timeout=5, context=self._trust)
        try:
            return _answer_is_good(connection, path)
        except OSError:
            return False
        finally:
            connection.close()


def _answer_is_good(connection: http.client.HTTPConnection, path: str) -> bool:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status == http.HTTPStatus.OK


def _reserve_port() -> socket.socket:
    """A socket that holds a free port on loopback without listening on it.

    Nobody else is given that port, but the API server, which says that it shares, may listen there: now and after
    every restart.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved
