"""`/metrics`: who may read it, and what is read.

Without a certificate everybody who reaches the port may. With one, whoever asks shows a token that the API server knows
(TokenReview), and must be allowed `get` of the path `/metrics` (SubjectAccessReview), as of every component of
Kubernetes: a ClusterRole with `nonResourceURLs: [/metrics]`.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from spacelift_aws.kube.errors import KubeError

log = logging.getLogger(__name__)

PATH = "/metrics"

REMEMBERED_FOR = 60.0
"""Seconds for which an answer of the API server about a token stands."""
REMEMBERED = 256
"""Tokens whose answers are remembered; whoever sends more costs the API server calls, not us memory."""

Review = Callable[[str], Awaitable[bool]]
"""Whether the bearer of a token may read; raises KubeError."""


class Gatekeeper:
    """Asks about each token once a minute."""

    def __init__(self, review: Review, clock: Callable[[], float] = time.monotonic) -> None:
        self._review = review
        self._clock = clock
        self._answers: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()

    async def lets_in(self, token: str) -> bool:
        """Whether the bearer may read. Raises KubeError where nobody can tell."""
        # The token itself is kept nowhere.
        key = hashlib.sha256(token.encode()).digest()
        known = self._answers.get(key)
        if known is not None and self._clock() - known[1] < REMEMBERED_FOR:
            return known[0]
        answer = await self._review(token)
        self._answers[key] = (answer, self._clock())
        self._answers.move_to_end(key)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return answer


def in_loop(review: Review, loop: asyncio.AbstractEventLoop) -> Review:
    """The same review, carried out in the process's own loop and awaited in another one."""

    async def elsewhere(token: str) -> bool:
        future = asyncio.run_coroutine_threadsafe(_as_coroutine(review, token), loop)
        return await asyncio.wait_for(asyncio.wrap_future(future), timeout=10)

    return elsewhere


async def _as_coroutine(review: Review, token: str) -> bool:
    return await review(token)


class MetricsEndpoint:
    """Answers scrapes."""

    def __init__(self, *, guarded: bool) -> None:
        """Not guarded, everybody may read; guarded, nobody before there is a gatekeeper."""
        self._guarded = guarded
        self._gatekeeper: Gatekeeper | None = None
        self._registry = CollectorRegistry(auto_describe=False)

    def guard(self, gatekeeper: Gatekeeper) -> None:
        """Let this gatekeeper decide who may read, where that is guarded."""
        self._gatekeeper = gatekeeper

    def show(self, collector: Collector) -> None:
        """Answer with what this collects too."""
        self._registry.register(collector)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One scrape."""
        refused = await self._refused(request)
        if refused is not None:
            return refused
        body = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _refused(self, request: web.Request) -> web.Response | None:
        if not self._guarded:
            return None
        if self._gatekeeper is None:
            return web.Response(status=503, text="not connected to the API server yet\n")
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            return web.Response(status=401, text="show a bearer token\n", headers={"WWW-Authenticate": "Bearer"})
        try:
            allowed = await self._gatekeeper.lets_in(token)
        except (KubeError, TimeoutError) as error:
            log.warning("who asks for metrics cannot be found out: %s", error or type(error).__name__)
            return web.Response(status=503, text="the API server cannot be asked who you are\n")
        return None if allowed else web.Response(status=403, text=f"you may not get {PATH}\n")
