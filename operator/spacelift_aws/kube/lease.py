"""A Lease decides which of several replicas acts (coordination.k8s.io/v1, as client-go's leader election uses it).

Correctness does not depend on it: names are computed, writes carry what they were decided on. The Lease saves the
replicas from doing everything twice.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spacelift_aws.kube.client import Kube, Object
from spacelift_aws.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from spacelift_aws.kube.resources import LEASES

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """client-go's defaults."""

    duration: timedelta = timedelta(seconds=15)
    """A holder that was not heard of so long has lost the Lease."""
    renew_within: timedelta = timedelta(seconds=10)
    """A holder that could not renew so long acts no more: it stops before another begins."""
    retry: timedelta = timedelta(seconds=2)
    """Between two tries to acquire or renew."""


class LeaseLostError(Exception):
    """Somebody else holds the Lease, or it could not be renewed in time: this process must act no more."""


def awake_seconds() -> float:
    """A clock that goes on while the machine sleeps: a holder that wakes up has lost its Lease."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Elector:
    """One candidate for one Lease. Nobody's clock is believed: what counts is how long a record stays as it is."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = awake_seconds,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing or Timing()
        self._clock = clock
        self._renewed_at: float | None = None
        self._version = ""
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0

    def leads(self) -> bool:
        """Whether this process may act at this moment."""
        limit = self._timing.renew_within.total_seconds()
        return self._renewed_at is not None and self._clock() - self._renewed_at < limit

    async def acquire(self) -> None:
        """Return once the Lease is held."""
        while True:
            if await self._tried(self._try_to_acquire):
                break
            await asyncio.sleep(self._timing.retry.total_seconds())
        log.info("%s holds Lease %s/%s", self._identity, self._namespace, self._name)

    async def hold(self) -> None:
        """Renew until cancelled; raises LeaseLostError."""
        while True:
            await asyncio.sleep(self._timing.retry.total_seconds())
            if not self.leads():
                raise LeaseLostError(f"Lease {self._namespace}/{self._name} was not renewed in time")
            await self._tried(self._renew)

    async def release(self) -> None:
        """Let another begin at once; failing harms nobody."""
        if self._renewed_at is None:
            return
        self._renewed_at = None
        body = {"metadata": {"resourceVersion": self._version}, "spec": {"holderIdentity": ""}}
        try:
            await self._kube.patch(LEASES, self._namespace, self._name, body)
        except KubeError as error:
            log.info("Lease %s/%s was not released: %s", self._namespace, self._name, error)

    async def _tried(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await attempt()
        except KubeError as error:
            log.warning("Lease %s/%s: %s", self._namespace, self._name, error)
            return False

    async def _try_to_acquire(self) -> bool:
        asked_at = self._clock()
        try:
            lease = await self._kube.get(LEASES, self._namespace, self._name)
        except NotFound:
            body = self._body(transitions=0)
            try:
                return self._holds(await self._kube.create(LEASES, self._namespace, body), asked_at)
            except AlreadyExists:
                return False
        if not self._is_free(lease):
            return False
        spec = lease.get("spec") or {}
        return await self._write(lease, self._spec(int(spec.get("leaseTransitions") or 0) + 1), asked_at)

    async def _renew(self) -> bool:
        asked_at = self._clock()
        lease = await self._kube.get(LEASES, self._namespace, self._name)
        if (lease.get("spec") or {}).get("holderIdentity") != self._identity:
            self._renewed_at = None
            raise LeaseLostError(f"Lease {self._namespace}/{self._name} is held by another replica")
        return await self._write(lease, {"renewTime": _micro_time()}, asked_at)

    async def _write(self, lease: Object, spec: Object, asked_at: float) -> bool:
        """With the version that was looked at: of two candidates one succeeds."""
        body = {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec}
        try:
            return self._holds(await self._kube.patch(LEASES, self._namespace, self._name, body), asked_at)
        except Conflict:
            return False

    def _holds(self, lease: Object, asked_at: float) -> bool:
        """The time counts from before the call: that is when others begin to count at the latest."""
        self._version = lease["metadata"]["resourceVersion"]
        self._renewed_at = asked_at
        return True

    def _is_free(self, lease: Object) -> bool:
        """Whether nobody holds it, or whoever does has been silent for its whole duration, as far as we have seen."""
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        record = (holder, str(spec.get("renewTime")))
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()
        silent_for = float(spec.get("leaseDurationSeconds") or self._timing.duration.total_seconds())
        return holder in ("", self._identity) or self._clock() - self._seen_at >= silent_for

    def _spec(self, transitions: int) -> Object:
        now = _micro_time()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._timing.duration.total_seconds()),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _body(self, transitions: int) -> Object:
        metadata = {"name": self._name, "namespace": self._namespace}
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": self._spec(transitions),
        }


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
