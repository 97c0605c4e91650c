"""The command lines of a control plane on loopback. Nothing secret is in them: they name files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.certificates import Authority, KeyPair

_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "ttl-after-finished-controller",
    "validatingadmissionpolicy-status-controller",
)
"""What pods, Jobs, budgets, namespaces, quotas, accounts and owner references need; nothing that needs nodes."""

FOR_NODES = (
    "deployment-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "node-lifecycle-controller",
    "replicaset-controller",
    "taint-eviction-controller",
)
"""What real nodes and workloads on them need as well: taints and their evictions, Deployments, endpoints."""

SERVICE_HOSTS = ("10.0.0.1", "kubernetes.default", "kubernetes.default.svc")
"""What pods call the API server: the first address of the Services' range, and the Service's names."""


@dataclass(frozen=True)
class Files:
    """Everything that the components read or write, in the sandbox's folder."""

    folder: Path
    authority: Authority
    serving: KeyPair
    kubelet_client: KeyPair
    """With it the API server asks kubelets for logs."""
    service_accounts: KeyPair
    audit_policy: Path
    audit_log: Path
    controller_manager_kubeconfig: Path

    @property
    def etcd_socket(self) -> Path:
        return self.folder / "etcd.sock"


def etcd(program: Path, files: Files, extra: Sequence[str] = ()) -> list[str | Path]:
    """etcd that writes without waiting for the disk, on sockets that only the folder's owner can reach.

    It has no access control of its own: on a port, everybody on the machine could read every Secret.
    """
    client = f"unix://{files.etcd_socket}"
    peer = f"unix://{files.folder / 'etcd-peer.sock'}"
    return [
        program,
        "--name=sandbox",
        f"--data-dir={files.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=sandbox={peer}",
        "--unsafe-no-fsync=true",
        "--log-level=warn",
        *extra,
    ]


def api_server(program: Path, files: Files, port: int, extra: Sequence[str] = ()) -> list[str | Path]:
    """kube-apiserver on `127.0.0.1:port`, which its owner may hold reserved by a socket of its own."""
    return [
        program,
        f"--etcd-servers=unix://{files.etcd_socket}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        "--permit-port-sharing=true",
        # Without a node network nobody could use the endpoints that it would publish of itself.
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={files.serving.certificate}",
        f"--tls-private-key-file={files.serving.key}",
        f"--client-ca-file={files.authority.certificate}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={files.service_accounts.certificate}",
        f"--service-account-signing-key-file={files.service_accounts.key}",
        f"--kubelet-client-certificate={files.kubelet_client.certificate}",
        f"--kubelet-client-key={files.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={files.audit_policy}",
        f"--audit-log-path={files.audit_log}",
        # Megabytes; a log that is rotated away could not be counted.
        "--audit-log-maxsize=10000",
        # Load tests measure the operator, not these limits.
        "--max-requests-inflight=3000",
        "--max-mutating-requests-inflight=1500",
        "--profiling=false",
        *extra,
    ]


def controller_manager(
    program: Path, files: Files, extra: Sequence[str] = (), controllers: Sequence[str] = ()
) -> list[str | Path]:
    """kube-controller-manager with the controllers that objects need, and further `controllers`; listening nowhere."""
    return [
        program,
        f"--kubeconfig={files.controller_manager_kubeconfig}",
        f"--controllers={','.join((*_CONTROLLERS, *controllers))}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={files.service_accounts.key}",
        f"--root-ca-file={files.authority.certificate}",
        "--leader-elect=false",
        "--secure-port=0",
        # The defaults would make cleaning up after hundreds of runs take minutes.
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        "--profiling=false",
        *extra,
    ]
