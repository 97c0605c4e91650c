"""A Kubernetes cluster as the demo and the tests see it, whoever runs it."""

import abc
import base64
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox import audit, binaries, kubeconfig
from sandbox.process import Process, Supervisor


class KubectlError(RuntimeError):
    """kubectl failed; the text is its command and what it said on standard error."""


class Cluster(abc.ABC):
    """A cluster with an administrator's access to it, and a supervised folder for what belongs to its use.

    Leaving the context, `stop`, or the end of this process in any way removes the folder and everything that was
    started by `run`.
    """

    kubeconfig: Path
    """An administrator's, mode 0600."""
    server: str
    """The API server's URL."""
    ca: Path | None
    """The certificate authority that `server` is verified against; None: the system's."""
    audit_log: Path | None = None
    """The API server's audit log; None where it cannot be read."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.folder = supervisor.folder
        self._kubectl = binaries.ensure("kubectl")["kubectl"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill everything that was started here and remove the folder. A second call does nothing."""
        self.supervisor.stop()

    def run(self, name: str, argv: Sequence[str | Path], *, env: dict[str, str] | None = None) -> Process:
        """Start a program beside the cluster that ends with it at the latest; see `Supervisor.start`."""
        return self.supervisor.start(name, argv, env=env)

    def kubectl(
        self, *args: str, input: str | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator, or as whom `kubeconfig` says, with `input` on its standard input.

        KubectlError if it fails and `check` is set. Arguments can be read by anybody on the machine: secret values
        belong into `input` (`apply -f -`).
        """
        done = subprocess.run(
            [self._kubectl, *args],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            env=self.kubectl_environment(kubeconfig),
        )
        if check and done.returncode != 0:
            raise KubectlError(f"kubectl {shlex.join(args)} failed: {done.stderr.strip()}")
        return done

    def kubectl_environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """The environment for a kubectl that talks to this cluster and leaves nothing in the home folder.

        It finds the plugins that are installed beside Python.
        """
        return {
            **os.environ,
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "KUBECACHEDIR": str(self.folder / "kubectl-cache"),
            "KUBERC": "off",
        }

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig (mode 0600) with a token of that service account for 24 hours, asked for by TokenRequest.

        Another call replaces the file by one with a new token.
        """
        token = self.kubectl("create", "token", service_account, f"--namespace={namespace}", "--duration=24h").stdout
        return kubeconfig.write(
            self.folder / f"{namespace}.{service_account}.kubeconfig",
            cluster=self._cluster_entry(),
            user={"token": token.strip()},
            name=service_account,
            namespace=namespace,
        )

    def apply_crds(self, crds: Sequence[Path]) -> None:
        """Apply the files or folders `crds` and wait until every definition in them is established."""
        if crds:
            files = [f"--filename={path}" for path in crds]
            self.kubectl("apply", "--server-side", "--force-conflicts", *files)
            self.wait_for_crds(crds)

    def wait_for_crds(self, crds: Sequence[Path]) -> None:
        """Wait until every definition in the files or folders `crds` is established."""
        # Not by `condition=`, which fails at once where a definition has no condition yet.
        established = 'jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
        self.kubectl("wait", f"--for={established}", "--timeout=30s", *(f"--filename={path}" for path in crds))

    def audit_events(self, namespace: str = "") -> Iterator[audit.AuditEvent]:
        """What the audit log holds so far; see `audit.read`. Nothing where there is none."""
        return audit.read(self.audit_log, namespace) if self.audit_log else iter(())

    def lease_holder(self, name: str, namespace: str) -> str:
        """Who holds a Lease; empty where nobody does."""
        shown = self.kubectl("get", "lease", name, "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}")
        return shown.stdout

    def check(self) -> None:
        """ProcessError if a component of the cluster has ended by itself."""
        return

    @abc.abstractmethod
    def _cluster_entry(self) -> dict[str, Any]:
        """The `cluster` of a kubeconfig for this cluster."""


class ExistingCluster(Cluster):
    """The cluster of the current kubeconfig context, with the same interface; it has to be an administrator's.

    `stop` removes what was written here about it, and nothing from the cluster itself.
    """

    def __init__(self, *, crds: Sequence[Path] = ()) -> None:
        super().__init__(Supervisor())
        try:
            self._copy_current_context()
            self.apply_crds(crds)
        except BaseException:
            self.stop()
            raise

    def _copy_current_context(self) -> None:
        """Keep to today's context, also when the user switches to another one meanwhile."""
        done = subprocess.run(
            [self._kubectl, "config", "view", "--raw", "--minify", "--flatten", "--output=json"],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise KubectlError(f"there is no current kubeconfig context: {done.stderr.strip()}")
        config = json.loads(done.stdout)
        self._entry: dict[str, Any] = config["clusters"][0]["cluster"]
        self.kubeconfig = kubeconfig.write(
            self.folder / "admin.kubeconfig",
            cluster=self._entry,
            user=config["users"][0]["user"],
            name=config["current-context"],
            namespace=config["contexts"][0]["context"].get("namespace", "default"),
        )
        self.server = self._entry["server"]
        self.ca = None
        if authority := self._entry.get("certificate-authority-data"):
            self.ca = self.folder / "ca.crt"
            self.ca.write_bytes(base64.b64decode(authority))

    def _cluster_entry(self) -> dict[str, Any]:
        return self._entry
