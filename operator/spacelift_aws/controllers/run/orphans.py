"""What a Run that is gone has left: its pod, and the Secret that nobody may list."""

from collections.abc import Callable

from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.controller import Executor
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.ports import OrphanKey, RunView, run_id_of
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import NotFound
from spacelift_aws.kube.resources import RUNS


class OrphanCollector:
    """Removes it, once the API server has said that the Run is gone."""

    def __init__(
        self, executor: Executor, view: RunView, kube: Kube, pod_named: Callable[[str, str], Pod | None]
    ) -> None:
        """`pod_named` finds a pod by namespace and run ID."""
        self._executor = executor
        self._view = view
        self._kube = kube
        self._pod_named = pod_named

    async def look_for(self, namespace: str, name: str, uid: str) -> None:
        """A Run has left the watch: find out whether it has ended or is gone."""
        known = self._view.run((namespace, name))
        if known is None or known.metadata.uid != uid or known.status.phase.terminal:
            return
        try:
            run = Run.model_validate(await self._kube.get(RUNS, namespace, name))
        except NotFound:
            self._view.lost_run(known)
            return
        if run.metadata.uid != uid:
            self._view.lost_run(known)
        self._view.saw_run(run)

    async def reconcile(self, orphan: OrphanKey) -> float | None:
        """Clean up after one Run; answers the seconds after which to look again."""
        if orphan.run_name and await self._still_there(orphan):
            return None
        return await self._executor.clean(orphan, self._pod_named(orphan.namespace, orphan.run_id))

    async def _still_there(self, orphan: OrphanKey) -> bool:
        """A pod may be seen before its Run is: only the API server knows whether there is one."""
        try:
            run = Run.model_validate(await self._kube.get(RUNS, orphan.namespace, orphan.run_name))
        except NotFound:
            return False
        if run_id_of(run) != orphan.run_id:
            return False
        self._view.saw_run(run)
        return True
