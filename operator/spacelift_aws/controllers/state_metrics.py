"""The gauges, computed from what was last seen.

The thread that answers scrapes does it beside the loop: it reads and changes nothing.
"""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from spacelift_aws import metrics
from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.reasons import ConditionType, CredentialsIssuedReason, TrustVerifiedReason
from spacelift_aws.api.run import Phase, Run
from spacelift_aws.aws.identity import Identity
from spacelift_aws.aws.sts import PROBE, Sts
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.controllers.run.ended import EndedRun
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.stores import Stores
from spacelift_aws.metrics import Gauges
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.store import ObjectKey


def integration_label(run_namespace: str, key: ObjectKey, exists: bool) -> str:
    """The integration's name, with its namespace where that is not the Run's own.

    Empty where there is none: what Runs make up is no label.
    """
    namespace, name = key
    if not exists:
        return ""
    return name if namespace == run_namespace else f"{namespace}/{name}"


def run_gauges(gauges: Gauges, run: Run, pod: Pod | None, integration: str, now: datetime) -> None:
    """What one Run adds; `integration` is the label."""
    where = (run.metadata.namespace, integration)
    status = run.status
    gauges.add(metrics.RUNS, *where, str(run.spec.type), str(status.phase))
    if status.phase.terminal:
        return
    issued = status.condition(ConditionType.CREDENTIALS_ISSUED)
    if status.phase is Phase.QUEUED and issued is not None and issued.status != "True":
        gauges.add(metrics.RUNS_WAITING, *where, issued.reason)
        gauges.least(metrics.OLDEST_WAITING, run.metadata.creation_timestamp.timestamp(), *where, issued.reason)
        if issued.reason == CredentialsIssuedReason.NO_WORKER:
            gauges.add(metrics.WITHOUT_WORKER, run.metadata.namespace, run.spec.worker_pool)
    if issued is None or issued.status != "True":
        return
    if status.credentials_expire_at is not None and status.credentials_expire_at > now:
        gauges.add(metrics.CREDENTIALS_LIVE, *where)
        gauges.least(metrics.EARLIEST_EXPIRY, status.credentials_expire_at.timestamp(), *where)
    if pod is not None and (pod.finished or pod.gone):
        gauges.add(metrics.SECRETS_OUTLIVING, *where)


def integration_gauges(gauges: Gauges, integration: AwsIntegration, pool: str | None) -> None:
    """What one integration adds: of a worker, what its pool found."""
    where = (integration.metadata.namespace, integration.metadata.name)
    status = integration.status
    if pool is None:
        trust = status.condition(ConditionType.TRUST_VERIFIED)
        if trust is not None:
            gauges.set(metrics.TRUST, 1, *where, trust.status, trust.reason)
        _times(gauges, where, status.last_verified_time, status.next_verify_time)
        return
    entry = next((entry for entry in status.workers if entry.pool == pool), None)
    if entry is not None and entry.reason:
        verified = "True" if entry.reason == TrustVerifiedReason.VERIFIED else "False"
        gauges.set(metrics.TRUST, 1, *where, verified, entry.reason)
        _times(gauges, where, entry.last_verified_time, None)


def _times(gauges: Gauges, where: tuple[str, str], last: datetime | None, following: datetime | None) -> None:
    if last is not None:
        gauges.set(metrics.LAST_VERIFIED, last.timestamp(), *where)
    if following is not None:
        gauges.set(metrics.NEXT_VERIFY, following.timestamp(), *where)


def aws_gauges(gauges: Gauges, sts: Sts, identity: Identity) -> None:
    """How much of AWS's patience is left, and whether AWS knows us."""
    for purpose, turns in sts.turns().items():
        gauges.set(metrics.STS_WAITING, turns.waiting, purpose)
        gauges.set(metrics.STS_HELD, turns.held, purpose)
        gauges.set(metrics.STS_LIMIT, turns.limit, purpose)
    gauges.set(metrics.STS_BUDGET, sts.turns()[PROBE].budget)
    if identity.failure is not None:
        gauges.set(metrics.IDENTITY, 0, identity.failure.code)
    elif identity.principal_id is not None:
        gauges.set(metrics.IDENTITY, 1, "OK")


def health_gauges(gauges: Gauges, health: Health) -> None:
    """How the process itself is."""
    gauges.set(metrics.LOOP_LAG, health.late)
    now = health.clock()
    for path, watch in tuple(health.watches.items()):
        open_ = watch.answer is not None and not watch.answer.closed
        gauges.set(metrics.WATCH_UP, float(open_), path)
        gauges.set(metrics.WATCH_AGE, now - watch.asked_at, path)


@dataclass(frozen=True)
class Source:
    """Where the gauges come from; None for what is not made yet. `pool`: of a worker."""

    component: str
    pool: str | None
    stores: Stores
    health: Health
    acts: Callable[[], bool]
    queue: Callable[[], tuple[int, float]]
    """Keys in the work queue, and for how many seconds the one that is handled longest has been."""
    aws: Callable[[], tuple[Sts, Identity] | None]
    clock: Callable[[], datetime]


class StateCollector(Collector):
    """Everything that a scrape of this process answers."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """The gauges as they are at this moment, and what was counted; a worker's with its pool."""
        pool = self._source.pool
        labels = {metrics.POOL: pool} if pool is not None else {}
        for family in self._families():
            family.samples = [sample._replace(labels={**sample.labels, **labels}) for sample in family.samples]
            yield family

    def _families(self) -> Iterator[Metric]:
        source = self._source
        if source.acts():
            metrics.forget_unless(self._is_known)
        gauges = Gauges()
        gauges.set(metrics.BUILD, 1, version("spacelift-aws"), source.component, platform.python_version())
        gauges.set(metrics.LEADER, float(source.acts()))
        depth, oldest = source.queue()
        gauges.set(metrics.QUEUE_DEPTH, depth)
        gauges.set(metrics.OLDEST_KEY, oldest)
        health_gauges(gauges, source.health)
        if source.acts():
            self._of_the_leader(gauges)
        yield from gauges.families()
        yield from metrics.HAPPENED.collect()

    def _of_the_leader(self, gauges: Gauges) -> None:
        source, now = self._source, self._source.clock()
        for run in source.stores.runs.values():
            if isinstance(run, EndedRun):
                namespace, key, pool = run.namespace, run.integration, run.worker_pool
            else:
                namespace, key, pool = run.metadata.namespace, integration_key(run), run.spec.worker_pool
            integration = source.stores.integrations.get(key)
            if not self._is_counted(pool, integration):
                continue
            label = integration_label(namespace, key, exists=integration is not None)
            if isinstance(run, EndedRun):
                gauges.add(metrics.RUNS, namespace, label, run.type, str(run.phase))
            else:
                run_gauges(gauges, run, source.stores.pod_of(run), label, now)
        for integration in source.stores.integrations.values():
            integration_gauges(gauges, integration, source.pool)
        known = source.aws()
        if known is not None:
            aws_gauges(gauges, *known)

    def _is_counted(self, worker_pool: str, integration: AwsIntegration | None) -> bool:
        """The controller counts all Runs, a pool those that are for it."""
        pool = self._source.pool
        worker_mode = integration is not None and integration.spec.generate_credentials_in_worker
        return pool is None or (worker_mode and worker_pool == pool)

    def _is_known(self, namespace: str, integration: str) -> bool:
        """Whether both are there; an empty name stands for Runs of integrations that never were."""
        stores = self._source.stores
        if len(stores.namespaces) and stores.namespaces.get(("", namespace)) is None:
            return False
        home, _, name = integration.rpartition("/")
        return not integration or stores.integrations.get((home or namespace, name)) is not None
