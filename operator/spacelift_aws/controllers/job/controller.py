"""Executes Jobs through Runs: gathers what is known of a Job, asks `decide`, and does what it says."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.meta import parse_time
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.job import decide as decisions
from spacelift_aws.controllers.job.build import build_run
from spacelift_aws.controllers.job.decide import ObservedJob, decide
from spacelift_aws.controllers.job.rules import refusal
from spacelift_aws.controllers.job.view import Job, integration_of, owns, parse_job
from spacelift_aws.controllers.run.ended import EndedRun
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from spacelift_aws.kube.events import Recorder, Regarding
from spacelift_aws.kube.resources import JOBS, POLICY_BINDINGS, RUNS
from spacelift_aws.runtime.role import Role
from spacelift_aws.runtime.store import ObjectKey

log = logging.getLogger(__name__)


POLICY = "spacelift-aws-jobs"
"""The admission policy that asks what creators of Jobs may use, and its binding."""

STEPS = 8
"""Decisions in a row for one Job; more would mean that two of them contradict each other."""
FIRST_RETRY = 1.0
"""Seconds until a Job is looked at again whose Run's name is taken."""
HELD_RETRY = 30.0
"""Seconds until a Run that is to make way, and that a finalizer holds, is deleted again, which tells whether it is
gone: the watch does not show Runs that have ended."""
POLICY_KEPT = timedelta(minutes=1)
"""How long it is believed since when creators are checked."""


class JobView(Protocol):
    """The objects as last seen, and where the answers to our own writes go."""

    def job(self, key: ObjectKey) -> Job | None: ...
    def run(self, key: ObjectKey) -> Run | None: ...
    def ended(self, key: ObjectKey) -> EndedRun | None: ...
    def integration(self, key: ObjectKey) -> AwsIntegration | None: ...
    def saw_job(self, job: Job) -> None: ...
    def lost_job(self, job: Job) -> None: ...
    def saw_run(self, run: Run) -> None: ...
    def lost_run(self, run: Run) -> None: ...


class JobController:
    """Begins, stops and tells of the Runs of Jobs. All that needs credentials is the Run's."""

    def __init__(
        self, *, role: Role, view: JobView, kube: Kube, recorder: Recorder, clock: Callable[[], datetime]
    ) -> None:
        self._role = role
        self._view = view
        self._kube = kube
        self._recorder = recorder
        self._clock = clock
        self._policy: tuple[datetime, datetime | None] | None = None
        """When the policy's binding was looked at, and its creation."""

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring one Job forward as far as it goes now; answers the seconds after which to look again."""
        missing = False
        for _ in range(STEPS):
            seen = await self._observe(key, run_missing=missing)
            if seen is None:
                self._forget_finished(key)
                return None
            decision = decide(seen)
            if not decision.actions:
                self._forget_finished(key)
                again = decision.again_at
                return max(0.0, (again - seen.now).total_seconds()) if again is not None else None
            for action in decision.actions:
                missing = await self._do(seen, action) or missing
            if any(isinstance(action, decisions.Tell) for action in decision.actions):
                return FIRST_RETRY
            deleted = any(isinstance(action, decisions.DeleteRunOfJob) for action in decision.actions)
            if deleted and self._view.run(key) is not None:
                return HELD_RETRY
        log.error("Job %s/%s: no end of decisions in sight; slowing down", *key)
        return FIRST_RETRY

    def _forget_finished(self, key: ObjectKey) -> None:
        """A Job that has finished changes no more. Its Run may still have to end."""
        job, run = self._view.job(key), self._view.run(key)
        if job is not None and job.finished and (run is None or run.status.phase.terminal):
            self._view.lost_job(job)

    async def _observe(self, key: ObjectKey, *, run_missing: bool) -> ObservedJob | None:
        job = self._view.job(key)
        if job is None or not self._is_ours(job):
            return None
        run = await self._run_of(job)
        checked_since = await self._checked_since() if run is None and not job.finished else None
        return ObservedJob(job, run, self._clock(), checked_since, run_missing)

    async def _run_of(self, job: Job) -> Run | None:
        """The Run of a Job's name. One that had ended when it was first seen is not kept whole, and is read."""
        key = (job.namespace, job.name)
        if self._view.run(key) is None and not job.finished and self._view.ended(key) is not None:
            await self._look_for_run(job)
        return self._view.run(key)

    def _is_ours(self, job: Job) -> bool:
        """Whether the Job's Run is this process's to execute, by the integration that it names."""
        run = self._view.run((job.namespace, job.name))
        if run is None or not owns(job, run):
            run = prospective_run(job)
        if run is None:
            # What cannot become a Run is told so by the controller, which is there in any case.
            return self._role.pool is None
        integration = self._view.integration(integration_of(job))
        return self._role.owns(run, integration, None) and not self._role.is_foreign(run, integration)

    async def _checked_since(self) -> datetime | None:
        """Since when the API server asks what creators of Jobs may use; None where it does not."""
        now = self._clock()
        if self._policy is None or now - self._policy[0] >= POLICY_KEPT:
            try:
                binding = await self._kube.get(POLICY_BINDINGS, None, POLICY)
                self._policy = (now, parse_time(binding["metadata"]["creationTimestamp"]))
            except NotFound:
                self._policy = (now, None)
        return self._policy[1]

    async def _do(self, seen: ObservedJob, action: decisions.JobAction) -> bool:
        """Whether the Run turned out not to be there."""
        job, run = seen.job, seen.run
        match action:
            case decisions.CreateRun():
                await self._create_run(seen)
            case decisions.LookForRun():
                return not await self._look_for_run(job)
            case decisions.StopRun() if run is not None:
                await self._stop(run)
            case decisions.DeleteRunOfJob(uid) if run is not None:
                if await self._kube.delete(RUNS, job.namespace, job.name, uid=uid) is None:
                    self._view.lost_run(run)
            case decisions.WriteJobStatus(patch, event):
                await self._write_status(job, patch, event)
            case decisions.Tell(type_, reason, message):
                self._recorder.event(_regarding(job), type_, reason, message)
        return False

    async def _create_run(self, seen: ObservedJob) -> None:
        job = seen.job
        try:
            body = await self._kube.create(RUNS, job.namespace, build_run(job))
        except AlreadyExists:
            await self._look_for_run(job)
        except Invalid as error:
            refused = decisions.fail(seen, decisions.REFUSED, f"The API server refuses the Job's Run: {error.message}")
            for action in refused.actions:
                await self._do(seen, action)
        except ApiError as error:
            self._recorder.event(_regarding(job), "Warning", "RunNotCreated", error.message)
            raise
        else:
            self._view.saw_run(Run.model_validate(body))
            self._recorder.event(_regarding(job), "Normal", "RunCreated", f"Created Run {job.name}")

    async def _look_for_run(self, job: Job) -> bool:
        """Whether there is a Run of the Job's name, its own or another's."""
        try:
            body = await self._kube.get(RUNS, job.namespace, job.name)
        except NotFound:
            return False
        self._view.saw_run(Run.model_validate(body))
        return True

    async def _stop(self, run: Run) -> None:
        metadata = run.metadata
        # With the UID, so that a Run that has taken the name meanwhile is not stopped.
        body = {"metadata": {"uid": metadata.uid}, "spec": {"stop": True}}
        try:
            answer = await self._kube.patch(RUNS, metadata.namespace, metadata.name, body)
        except (NotFound, Conflict):
            self._view.lost_run(run)
        else:
            self._view.saw_run(Run.model_validate(answer))

    async def _write_status(self, job: Job, patch: decisions.Patch, event: tuple[str, str, str] | None) -> None:
        try:
            body = await self._kube.patch_status(
                JOBS, job.namespace, job.name, patch, resource_version=job.resource_version
            )
        except Conflict:
            await self._look_at_job(job)
            return
        except NotFound:
            self._view.lost_job(job)
            return
        self._view.saw_job(parse_job(body))
        if event is not None:
            self._recorder.event(_regarding(job), *event)

    async def _look_at_job(self, job: Job) -> None:
        """Somebody wrote first: decide anew on what there is now."""
        try:
            current = parse_job(await self._kube.get(JOBS, job.namespace, job.name))
        except NotFound:
            current = None
        if current is None or current.uid != job.uid:
            self._view.lost_job(job)
        else:
            self._view.saw_job(current)


def prospective_run(job: Job) -> Run | None:
    """The Run that a Job would become, to ask whose it is; None where the Job is refused."""
    if refusal(job) is not None:
        return None
    body = build_run(job)
    nowhere = {"uid": "", "resourceVersion": "0", "creationTimestamp": job.created}
    return Run.model_validate({**body, "metadata": {**body["metadata"], **nowhere}})


def _regarding(job: Job) -> Regarding:
    return Regarding(JOBS, job.namespace, job.name, job.uid)
