"""Probes over HTTP: `/healthz`, whether the process lives, and `/readyz`, whether it has seen all there is.

They are answered by a thread of their own, from the first moment on: a loop that is blocked could not say so, and one
that is only busy would not answer within a kubelet's second. 200 or 503, with a short text that says why.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import ClientResponse, web

from spacelift_aws.runtime.http_server import Handler

BEAT = 1.0
"""Seconds between two beats of the process's loop."""
BLOCKED_AFTER = 20.0
"""Seconds without a beat after which the process counts as dead: no step of any task takes so long."""
UNWATCHED_AFTER = 300.0
"""Seconds after which a watch that ended and was not begun anew counts as dead; it is tried again every few seconds."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What Kopf did last about one collection: a list or a watch."""

    asked_at: float
    answer: ClientResponse | None
    """None while the answer is awaited, or where none came."""


@dataclass
class Health:
    """What the probes answer from: written by the process's loop, read by the thread that answers."""

    clock: Callable[[], float] = time.monotonic
    waits_for: str | None = "a connection to the API server"
    """What is missing before all there is has been seen; None when nothing is."""
    part_ended: bool = False
    """Something has ended that never should; the process is about to."""
    late: float = 0.0
    """Seconds by which the last beat came late."""
    watches: dict[str, Watch] = field(default_factory=dict)
    """By the collection's path; those that have begun."""

    def __post_init__(self) -> None:
        self._beat_at = self.clock()

    async def beat(self) -> None:
        """Show that the loop turns, until cancelled."""
        while True:
            await asyncio.sleep(BEAT)
            now = self.clock()
            self.late = max(0.0, now - self._beat_at - BEAT)
            self._beat_at = now

    def asked(self, path: str, answer: ClientResponse | None) -> None:
        """Kopf asks for a collection or watches it; called again when the answer begins."""
        self.watches[path] = Watch(self.clock(), answer)

    def why_dead(self) -> str | None:
        """What a new process would put right; None while it lives. What the API server does is no reason."""
        if self.part_ended:
            return "a part of it has ended"
        now = self.clock()
        if now - self._beat_at >= BLOCKED_AFTER:
            return f"the event loop has not turned for {now - self._beat_at:.0f} s"
        for path, watch in tuple(self.watches.items()):
            over = watch.answer is None or watch.answer.closed
            if over and now - watch.asked_at >= UNWATCHED_AFTER:
                return f"nothing has watched {path} for {now - watch.asked_at:.0f} s"
        return None

    def why_not_ready(self) -> str | None:
        """What is missing before Runs can be executed, be it by this replica or by another one."""
        return None if self.waits_for is None else f"waiting for {self.waits_for}"


class HealthProbes:
    """Answers the probes over HTTP."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def routes(self) -> dict[str, Handler]:
        """The paths, each with what answers there."""
        return {"/healthz": self._healthz, "/readyz": self._readyz}

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self._health.why_dead(), f"alive; its event loop was last {self._health.late:.3f} s late")

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._health.why_not_ready(), "ready")


def _answer(wrong: str | None, good: str) -> web.Response:
    return web.Response(status=503 if wrong else 200, text=f"{wrong or good}\n")
