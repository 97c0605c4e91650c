"""The operator's programs beside a cluster: each a process of its own, under its service account and nothing more."""

import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox.cluster import Cluster
from sandbox.process import Process

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"

READY, LEADS, ALL_SEEN = "ready as installation", "holds Lease", "everything was listed"
"""What its log says once it has listed all that is watched, once it leads, and once it has listed the rest as well."""
_READY_WITHIN = 60.0


class Program:
    """A program that can be killed and started again, with the same or other settings."""

    def __init__(
        self,
        cluster: Cluster,
        environment: Mapping[str, str],
        *,
        command: str,
        name: str,
        namespace: str,
        service_account: str,
    ) -> None:
        """`environment` is all that the process gets besides its kubeconfig: AWS's variables and settings.

        `name` tells several of them apart.
        """
        self.environment = dict(environment)
        self.namespace = namespace
        self._cluster = cluster
        self._command = command
        self._name = name
        self._service_account = service_account
        self._generation = 0
        self._process: Process | None = None
        self._kubeconfig: Path | None = None

    @property
    def process(self) -> Process:
        """The process that runs, or ran last."""
        if self._process is None:
            raise RuntimeError(f"{self._name} was not started")
        return self._process

    @property
    def runs(self) -> bool:
        """Whether its process was started and has not ended."""
        return self._process is not None and self._process.exit_code() is None

    @property
    def leads(self) -> bool:
        """Whether the process that runs, or ran last, holds its Lease, or did."""
        return self.says(LEADS)

    def says(self, words: str) -> bool:
        """Whether the process that runs, or ran last, has logged these words."""
        log = self.process.log
        return log.exists() and words in log.read_text()

    @property
    def logs(self) -> str:
        """Everything that all its processes have logged."""
        files = (self._cluster.folder / f"{self._name}-{n}.log" for n in range(1, self._generation + 1))
        return "".join(file.read_text() for file in files if file.exists())

    def start(self, settings: Mapping[str, str] | None = None, *, wait: bool = True) -> None:
        """Start it, by default until it has listed all that is watched. Its service account has to be there."""
        if self._kubeconfig is None:
            self._kubeconfig = self._cluster.kubeconfig_for(self.namespace, self._service_account)
        self._generation += 1
        environment = {"KUBECONFIG": str(self._kubeconfig), **self.environment, **(settings or {})}
        self._process = self._cluster.run(
            f"{self._name}-{self._generation}", [sys.executable, "-m", "spacelift_aws", self._command], env=environment
        )
        if wait:
            self._process.wait_ready(lambda: self.says(READY), _READY_WITHIN)

    def kill(self) -> None:
        """End it as a lost node would: at once and without a word."""
        self.process.stop(grace=0)

    def stop(self) -> None:
        """End it as a Deployment would: SIGTERM, and time to finish."""
        self.process.stop(grace=10)
