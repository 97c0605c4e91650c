"""An event loop whose time passes only when everybody waits, and an API of one Lease."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from spacelift_aws.kube.client import Kube, Object
from spacelift_aws.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from spacelift_aws.kube.leader_election import LeaderElector, Timing
from spacelift_aws.kube.resources import LEASES, Resource

TIMING = Timing()


DURATION, LIMIT, RETRY = (each.total_seconds() for each in (TIMING.duration, TIMING.renew_within, TIMING.retry))


class PatientSelector(selectors.SelectSelector):
    """Waits in no time, and says how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class PatientLoop(asyncio.SelectorEventLoop):
    """An event loop on invented time."""

    def __init__(self) -> None:
        self._patient = PatientSelector()
        super().__init__(self._patient)

    def time(self) -> float:
        return self._patient.now


def play(scene: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(scene)


def now() -> float:
    return asyncio.get_running_loop().time()


class OneLease(Kube):
    """The API server's side of one Lease. `trouble` is asked for each call, before and after it is carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.lease: Object | None = None
        self.version = 0
        self.calls: list[str] = []
        self.before: Callable[[str], Awaitable[None]] | None = None
        self.after: Callable[[str], Awaitable[None]] | None = None

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        return await self._answer("get", resource, lambda: self._there())

    async def create(
        self,
        resource: Resource,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        strict: bool = False,
        dry_run: bool = False,
    ) -> Object:
        def create() -> Object:
            if self.lease is not None:
                raise AlreadyExists(409, "AlreadyExists", "it exists")
            return self._store({"metadata": {}, "spec": dict(body["spec"])})

        return await self._answer("create", resource, create)

    async def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Object:
        def patch() -> Object:
            lease = self._there()
            if body["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
                raise Conflict(409, "Conflict", "it has changed")
            return self._store({"metadata": {}, "spec": {**lease["spec"], **body["spec"]}})

        return await self._answer("patch", resource, patch)

    def touch(self) -> None:
        """Somebody sets a label."""
        assert self.lease is not None
        self._store(self.lease)

    def seize(self, holder: str) -> None:
        """Somebody else holds it now."""
        self._store({"metadata": {}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "x"}})

    def _there(self) -> Object:
        if self.lease is None:
            raise NotFound(404, "NotFound", "no such Lease")
        return self.lease

    def _store(self, lease: Object) -> Object:
        self.version += 1
        self.lease = {**lease, "metadata": {"resourceVersion": str(self.version)}}
        return self.lease

    async def _answer(self, verb: str, resource: Resource, do: Callable[[], Object]) -> Object:
        assert resource is LEASES
        self.calls.append(verb)
        if self.before is not None:
            await self.before(verb)
        answer = do()
        if self.after is not None:
            await self.after(verb)
        return answer


def candidate(api: OneLease, name: str = "one", clock: Callable[[], float] = now) -> LeaderElector:
    return LeaderElector(api, "team", "spacelift-aws-worker-build", name, timing=TIMING, clock=clock)


def failing(error: KubeError) -> Callable[[str], Awaitable[None]]:
    async def fail(_: str) -> None:
        raise error

    return fail


def hang_once(api: OneLease) -> None:
    """The next call hangs, as on a connection whose other end is gone without a word."""

    async def once(verb: str) -> None:
        api.before = None
        await hang(verb)

    api.before = once


async def hang(_: str) -> None:
    await asyncio.sleep(3600)
