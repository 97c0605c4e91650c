"""The worker: a process that verifies worker-mode integrations and executes their Runs, in its namespaces only."""

from spacelift_aws.engine.charter import Charter, LeaseName
from spacelift_aws.integration.side import PoolSide
from spacelift_aws.names import pool_executor
from spacelift_aws.settings import WorkerSettings
from spacelift_aws.worker.policy import WorkerPolicy
from spacelift_aws.worker.pools import LEASE_PREFIX, OtherPools


def worker_charter(settings: WorkerSettings) -> Charter:
    """What a pool's worker is there for."""
    others = OtherPools(settings.pool, settings.pool_silent_after)
    return Charter(
        component="spacelift-aws-worker",
        executor=pool_executor(settings.pool),
        namespaces=settings.namespaces or (settings.namespace,),
        side=lambda installation: PoolSide(installation, settings.pool),
        policy=lambda around: WorkerPolicy(around, settings.pool, others),
        lease=LeaseName(settings.namespace, LEASE_PREFIX + settings.pool),
        beside=lambda kube, look_again: others.watch(kube, settings.namespace, look_again),
    )
