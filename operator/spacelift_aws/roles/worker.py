"""The worker: it verifies worker-mode integrations and executes their Runs, in its namespaces only."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.kube.client import Kube
from spacelift_aws.names import pool_executor
from spacelift_aws.roles.pool_leases import LEASE_PREFIX, OtherPools
from spacelift_aws.runtime.role import LeaseName, MadePod
from spacelift_aws.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class WorkerRole:
    """A worker executes the Runs of its pool's name whose integration is in worker mode.

    Runs of a pool that is heard of no more, a renamed one say, keep no Secret without a pod, and those that it has
    begun are brought to their end: nobody else would.
    """

    pool: str
    namespaces: tuple[str, ...]
    lease: LeaseName
    others: OtherPools
    component: str = "spacelift-aws-worker"

    @property
    def executor(self) -> str:
        """The pool's name for itself on pods."""
        return pool_executor(self.pool)

    @property
    def message_prefix(self) -> str:
        """Names the pool."""
        return f"Pool `{self.pool}`: "

    def judges(self, integration: AwsIntegration) -> bool:
        """Those in worker mode."""
        return integration.spec.generate_credentials_in_worker

    def owns(self, run: Run, integration: AwsIntegration | None, pod: MadePod | None) -> bool:
        """By its pod where it has one, else by its spec and its integration's mode."""
        if pod is not None:
            return pod.executor == self.executor or self.others.silent_executor(pod.executor)
        if integration is None or not self.judges(integration):
            return False
        if integration_key(run)[0] != run.metadata.namespace:
            return False
        return run.spec.worker_pool == self.pool or self.others.silent(run.spec.worker_pool)

    def is_foreign(self, run: Run, integration: AwsIntegration | None) -> bool:
        """Those of the controller and of other pools."""
        return integration is not None and not self.owns(run, integration, None)

    def takeover_grace(self, run: Run, integration: AwsIntegration | None, pod: MadePod | None) -> timedelta:
        """A worker's Runs are its own to end."""
        return timedelta(0)

    def background(self, kube: Kube, look_at_all_runs: Callable[[], None]) -> Coroutine[None, None, None]:
        """Watch which other pools of the namespace fall silent."""
        return self.others.watch(kube, self.lease.namespace, look_at_all_runs)


def worker_role(settings: WorkerSettings) -> WorkerRole:
    """What a pool's worker is there for."""
    return WorkerRole(
        pool=settings.pool,
        namespaces=settings.namespaces or (settings.namespace,),
        lease=LeaseName(settings.namespace, LEASE_PREFIX + settings.pool),
        others=OtherPools(settings.pool, settings.pool_silent_after),
    )
