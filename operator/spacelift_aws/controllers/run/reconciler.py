"""Brings one Run forward, and keeps little of one that has ended: enough for its time to live and a forger's hand."""

from datetime import datetime
from typing import Protocol

from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.controller import Executor
from spacelift_aws.controllers.run.ended import EndedRun, ended_of
from spacelift_aws.controllers.run.ports import Clock, RunView, run_id_of
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import NotFound
from spacelift_aws.kube.resources import RUNS
from spacelift_aws.runtime.store import ObjectKey


class EndedView(RunView, Protocol):
    """The view that knows ended Runs."""

    def ended(self, key: ObjectKey) -> EndedRun | None: ...
    def put_away(self, ended: EndedRun) -> None: ...
    def lost_run(self, run: Run | EndedRun) -> None: ...


class RunReconciler:
    """Stands before the executor, which sees a Run whole or not at all."""

    def __init__(self, executor: Executor, view: EndedView, kube: Kube, clock: Clock) -> None:
        self._executor = executor
        self._view = view
        self._kube = kube
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring one Run forward as far as it goes now; answers the seconds after which to look again."""
        ended = self._view.ended(key)
        if ended is not None:
            now = self._clock()
            if self._executor.is_done_with(ended) and not _is_over(ended, now):
                return (ended.expires_at - now).total_seconds() if ended.expires_at is not None else None
            await self._read_whole(ended)
        again = await self._executor.reconcile(key)
        run = self._view.run(key)
        if run is not None and run.status.phase.terminal:
            self._put_away(run)
        return again

    async def _read_whole(self, ended: EndedRun) -> None:
        try:
            run = Run.model_validate(await self._kube.get(RUNS, ended.namespace, ended.name))
        except NotFound:
            self._view.lost_run(ended)
            return
        self._view.saw_run(run)

    def _put_away(self, run: Run) -> None:
        ended = ended_of(run, run_id_of(run))
        if ended is None or _is_over(ended, self._clock()) or not self._executor.is_done_with(ended, decided=True):
            return
        self._executor.put_away(ended)
        self._view.put_away(ended)


def _is_over(ended: EndedRun, now: datetime) -> bool:
    return ended.expires_at is not None and ended.expires_at <= now
