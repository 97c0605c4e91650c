"""A Lease decides which of several replicas acts (coordination.k8s.io/v1, as client-go's leader election uses it).

Correctness does not depend on it: names are computed, writes carry what they were decided on. The Lease saves the
replicas from doing everything twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spacelift_aws.clock import awake_seconds
from spacelift_aws.kube.client import Kube, Object
from spacelift_aws.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from spacelift_aws.kube.resources import LEASES

log = logging.getLogger(__name__)

RELEASE_WITHIN = 3.0
"""Seconds that an orderly end may take for letting go of the Lease."""


@dataclass(frozen=True, slots=True)
class Timing:
    """client-go's defaults, and one of our own."""

    duration: timedelta = timedelta(seconds=15)
    """A holder that was not heard of so long has lost the Lease."""
    renew_within: timedelta = timedelta(seconds=10)
    """A holder that could not renew so long acts no more: it stops before another begins."""
    retry: timedelta = timedelta(seconds=2)
    """Between two tries to acquire or renew."""
    renewal: timedelta = timedelta(seconds=4)
    """For one try to renew. A connection whose other end is gone without a word costs this one, not the Lease."""


class LeaseLostError(Exception):
    """Somebody else holds the Lease, or it could not be renewed in time: this process must act no more."""


class LeaderElector:
    """One candidate for one Lease.

    Times in the Lease are ignored, because clocks differ. How long it stays unchanged is measured here.
    """

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
        """`identity` is this process's alone: one that starts anew has another."""
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
        self._to_release = False
        self._made_it = False

    def leads(self) -> bool:
        """Whether this process may act at this moment."""
        return self._left() > 0

    async def acquire(self) -> bool:
        """Return once the Lease is held: whether somebody may have held it before."""
        limit = self._timing.renew_within.total_seconds()
        while True:
            if await self._in_time(self._try_to_acquire, limit):
                break
            await asyncio.sleep(self._timing.retry.total_seconds())
        log.info("%s holds Lease %s", self._identity, self._title)
        return not self._made_it

    async def hold(self) -> None:
        """Renew until cancelled; raises LeaseLostError."""
        while True:
            await asyncio.sleep(min(self._timing.retry.total_seconds(), max(self._left(), 0.0)))
            left = self._left()
            if left <= 0:
                raise self._lost("was not renewed in time")
            await self._in_time(self._renew, min(left, self._timing.renewal.total_seconds()))

    async def release(self) -> None:
        """Let another begin at once; failing harms nobody."""
        if not self._to_release:
            return
        self._renewed_at = None
        try:
            async with asyncio.timeout(RELEASE_WITHIN):
                # The last renewal may have been cut off: which version it left is not known.
                lease = await self._kube.get(LEASES, self._namespace, self._name)
                if _holder(lease) == self._identity:
                    await self._patch(lease["metadata"]["resourceVersion"], {"holderIdentity": ""})
        except (KubeError, TimeoutError) as error:
            log.info("Lease %s was not released: %s", self._title, str(error) or type(error).__name__)

    @property
    def _title(self) -> str:
        return f"{self._namespace}/{self._name}"

    def _left(self) -> float:
        """Seconds for which the Lease may still be relied on."""
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self._timing.renew_within.total_seconds() - self._clock()

    def _lost(self, how: str) -> LeaseLostError:
        self._renewed_at = None
        self._to_release = False
        return LeaseLostError(f"Lease {self._title} {how}")

    async def _in_time(self, attempt: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        """Whether an attempt succeeded; one that takes too long is given up, for the next may be answered."""
        try:
            async with asyncio.timeout(seconds):
                return await attempt()
        except TimeoutError:
            log.warning("Lease %s: no answer within %.0f s", self._title, seconds)
        except KubeError as error:
            log.warning("Lease %s: %s", self._title, error)
        return False

    async def _try_to_acquire(self) -> bool:
        asked_at = self._clock()
        try:
            lease = await self._kube.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._create(asked_at)
        if not self._is_free(lease):
            return False
        transitions = int((lease.get("spec") or {}).get("leaseTransitions") or 0) + 1
        self._to_release = True
        try:
            return self._holds(
                await self._patch(lease["metadata"]["resourceVersion"], self._spec(transitions)), asked_at
            )
        except Conflict:
            # Another candidate was quicker.
            self._to_release = False
            return False

    async def _renew(self) -> bool:
        asked_at = self._clock()
        spec = {"renewTime": _micro_time()}
        try:
            return self._holds(await self._patch(self._version, spec), asked_at)
        except Conflict:
            pass
        except NotFound:
            return await self._create(asked_at)
        lease = await self._kube.get(LEASES, self._namespace, self._name)
        if _holder(lease) != self._identity:
            raise self._lost("is held by another replica")
        # Our own renewal that was not answered, or somebody's label.
        return self._holds(await self._patch(lease["metadata"]["resourceVersion"], spec), asked_at)

    async def _create(self, asked_at: float) -> bool:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(transitions=0),
        }
        self._to_release = True
        try:
            lease = await self._kube.create(LEASES, self._namespace, body)
        except AlreadyExists:
            # Perhaps our own that was not answered: the next look tells.
            return False
        # One that was seen before and is gone was deleted under its holder, who may still act.
        self._made_it = self._seen is None
        return self._holds(lease, asked_at)

    async def _patch(self, version: str, spec: Object) -> Object:
        """With the version that was looked at: of two candidates one succeeds."""
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        return await self._kube.patch(LEASES, self._namespace, self._name, body)

    def _holds(self, lease: Object, asked_at: float) -> bool:
        """The time counts from before the call: that is when others begin to count at the earliest."""
        self._version = lease["metadata"]["resourceVersion"]
        self._renewed_at = asked_at
        return True

    def _is_free(self, lease: Object) -> bool:
        """Whether nobody holds it, or whoever does has been silent for its whole duration, as far as we have seen."""
        spec = lease.get("spec") or {}
        record = (_holder(lease), str(spec.get("renewTime")))
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()
        silent_for = float(spec.get("leaseDurationSeconds") or self._timing.duration.total_seconds())
        return record[0] in ("", self._identity) or self._clock() - self._seen_at >= silent_for

    def _spec(self, transitions: int) -> Object:
        now = _micro_time()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._timing.duration.total_seconds()),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }


def _holder(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
