"""The worker: it verifies worker-mode integrations and executes their Runs, in its namespaces only."""

from datetime import timedelta

from spacelift_aws.api.reasons import CredentialsIssuedReason
from spacelift_aws.api.run import Phase, Run
from spacelift_aws.controllers.awsintegration.side import PoolSide
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.state import Authorized, Denied
from spacelift_aws.names import POOL_PREFIX, pool_executor
from spacelift_aws.roles.pool_leases import LEASE_PREFIX, OtherPools
from spacelift_aws.roles.trusting import TrustingRole
from spacelift_aws.runtime.role import LeaseName, Role, RoleContext
from spacelift_aws.settings import WorkerSettings


class WorkerPolicy(TrustingRole):
    """A worker executes the Runs of its pool's name whose integration is in worker mode.

    Runs of a pool that is heard of no more, a renamed one say, keep no Secret without a pod, and those that it has
    begun are brought to their end: nobody else would.
    """

    def __init__(self, around: RoleContext, pool: str, others: OtherPools) -> None:
        super().__init__(around)
        self._pool = pool
        self._executor = pool_executor(pool)
        self._others = others
        self.message_prefix = f"{POOL_PREFIX}{pool}`: "

    def owns(self, run: Run, pod: Pod | None) -> bool:
        """Whether the Run is this pool's: by its pod where it has one, else by its spec and its integration's mode."""
        if pod is not None:
            return pod.executor == self._executor or self._others.silent_executor(pod.executor)
        integration = self.integration(run)
        if integration is None or not integration.spec.generate_credentials_in_worker:
            return False
        if integration_key(run)[0] != run.metadata.namespace:
            return False
        return run.spec.worker_pool == self._pool or self._others.silent(run.spec.worker_pool)

    def is_foreign(self, run: Run) -> bool:
        """Whether the controller or another pool is to issue the Run's credentials."""
        return self.integration(run) is not None and not self.owns(run, None)

    def grant(self, run: Run, run_id: str) -> Authorized | Denied:
        """Whether the Run may be issued credentials now."""
        integration = self.integration(run)
        if integration is None:
            return self.no_integration(run)
        if run.spec.worker_pool != self._pool:
            # What another pool has begun is ended by this one, but never continued under its identity.
            verb = "waits for" if run.status.phase is Phase.QUEUED else "was begun by"
            return Denied(
                CredentialsIssuedReason.NO_WORKER,
                f"Pool `{run.spec.worker_pool}`, which this Run {verb}, is heard of no more.",
            )
        return self.by_trust(run, run_id, integration)

    def takeover_grace(self, run: Run, pod: Pod | None) -> timedelta:
        """A worker's Runs are its own to end."""
        return timedelta(0)

    def own_account(self, run: Run) -> str | None:
        """The worker's own service account: a pod under it could assume every role of the pool."""
        namespace, _, name = self._around.account.removeprefix("system:serviceaccount:").partition(":")
        return name if name and namespace == run.metadata.namespace else None


def worker_role(settings: WorkerSettings) -> Role:
    """What a pool's worker is there for."""
    others = OtherPools(settings.pool, settings.pool_silent_after)
    return Role(
        component="spacelift-aws-worker",
        executor=pool_executor(settings.pool),
        namespaces=settings.namespaces or (settings.namespace,),
        side=lambda installation: PoolSide(installation, settings.pool),
        policy=lambda around: WorkerPolicy(around, settings.pool, others),
        lease=LeaseName(settings.namespace, LEASE_PREFIX + settings.pool),
        background=lambda kube, look_again: others.watch(kube, settings.namespace, look_again),
    )
