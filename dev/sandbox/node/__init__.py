"""A stand-in for a Kubernetes node: it runs the containers of pods as local processes, without root or any engine.

It registers a Node, binds every pod that waits for a scheduler, resolves its environment, starts its commands, reports
their course as a kubelet would, ends them with grace, and serves their logs. `restartPolicy` is `Never`. Secrets are
mounted where the node runs as root. What it cannot do (other volumes, probes, users, …) it refuses aloud: such a pod
fails with the reason `UnsupportedBySandboxNode` and a message that names the field. What it ignores on purpose is
listed in `refusals.py`. There is no isolation: containers see this machine's files, network and processes, as the user
who started the node; they only share no environment with it.

Hands off: a pod with the annotation `sandbox/hold: "true"`, with a scheduling gate or with another `schedulerName`
stays unbound, a pod bound elsewhere is not touched, and when somebody else writes a terminal phase into the status of a
pod that runs here, its processes are killed and nothing more is written. So a test can play a kubelet's part by
patching a status.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.controlplane import ControlPlane
from sandbox.process import Process

_READY_WITHIN = 60.0
_GRACE = 10.0


@dataclass(frozen=True)
class Node:
    """A node that runs. Its processes and folder go with it, however it ends."""

    name: str
    process: Process

    @property
    def log(self) -> Path:
        return self.process.log

    def stop(self) -> None:
        """End it and everything that it runs. What its pods report stays, as when a machine is lost."""
        self.process.stop(_GRACE)


@contextmanager
def start_node(
    cluster: ControlPlane,
    *,
    name: str = "sandbox-node",
    path: Sequence[str | Path] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Node]:
    """Run a node beside the control plane while the context lasts; it is ready when the context is entered.

    `path`: folders put before the system's in every container's PATH. `variables`: set in every container whose
    template does not set them itself; anybody on the machine can read them, so nothing secret. Raises ProcessError with
    the end of its log.
    """
    ready = cluster.folder / f"{name}.ready"
    ready.unlink(missing_ok=True)
    # A user of its own tells its calls apart in the audit log.
    kubeconfig = cluster.kubeconfig_for_user(name, "sandbox-node", ["system:masters"])
    argv = [
        sys.executable,
        "-m",
        "sandbox.node",
        f"--kubeconfig={kubeconfig}",
        f"--name={name}",
        f"--ready-file={ready}",
    ]
    argv += [f"--path={folder}" for folder in path]
    argv += [f"--env={key}={value}" for key, value in (variables or {}).items()]
    # The keeper's folder is the only thing the node makes itself, and it takes it away itself.
    node = Node(name, cluster.run(name, argv))
    try:
        node.process.wait_ready(ready.exists, _READY_WITHIN)
        yield node
    finally:
        node.stop()
