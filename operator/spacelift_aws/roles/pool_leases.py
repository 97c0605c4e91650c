"""Other pools of the same namespace: which of them are heard of no more.

A pool's replicas compete for a Lease that bears its name. Where nobody renews it any more the pool was removed, or
renamed; what it had begun is then for another pool of the namespace to end.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from spacelift_aws.clock import awake_seconds
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import KubeError
from spacelift_aws.kube.resources import LEASES
from spacelift_aws.names import WORKER

log = logging.getLogger(__name__)

LEASE_PREFIX = "spacelift-aws-worker-"

LOOK_EVERY = timedelta(seconds=15)


class OtherPools:
    """Watches the other pools' Leases. Nobody's clock is believed: what counts is that a record stays as it is."""

    def __init__(self, pool: str, silent_after: timedelta, clock: Callable[[], float] = awake_seconds) -> None:
        self._pool = pool
        self._silent_after = silent_after.total_seconds()
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}

    def silent(self, pool: str) -> bool:
        """Whether a pool has a Lease here that nobody has renewed for long."""
        record = self._seen.get(pool)
        return record is not None and self._clock() - record[1] >= self._silent_after

    def silent_executor(self, executor: str) -> bool:
        """The same of an executor's name on a pod."""
        kind, _, pool = executor.partition("/")
        return kind == WORKER and self.silent(pool)

    async def watch(self, kube: Kube, namespace: str, on_silent: Callable[[], None]) -> None:
        """Look at the Leases until cancelled; `on_silent` hears that a pool has fallen silent."""
        before: set[str] = set()
        while True:
            try:
                await self._look(kube, namespace)
            except KubeError as error:
                log.warning("looking at the other pools' Leases: %s", error)
            silent = {pool for pool in self._seen if self.silent(pool)}
            if silent - before:
                log.info("pools heard of no more: %s", ", ".join(sorted(silent)))
                on_silent()
            before = silent
            await asyncio.sleep(min(LOOK_EVERY.total_seconds(), self._silent_after / 2))

    async def _look(self, kube: Kube, namespace: str) -> None:
        async for leases, _ in kube.pages(LEASES, namespace=namespace):
            for lease in leases:
                name = lease["metadata"]["name"]
                pool = name.removeprefix(LEASE_PREFIX)
                if name.startswith(LEASE_PREFIX) and pool != self._pool:
                    self.note(pool, str((lease.get("spec") or {}).get("renewTime")))

    def note(self, pool: str, record: str) -> None:
        """A pool's Lease shows this record now."""
        known = self._seen.get(pool)
        if known is None or known[0] != record:
            self._seen[pool] = (record, self._clock())
