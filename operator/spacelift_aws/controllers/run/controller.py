"""The executor: carries out what `decide` decides, for the Runs it is given."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.patch import status_patch
from spacelift_aws.api.run import Phase, Run, RunStatus
from spacelift_aws.controllers.awsintegration.probes.plan import external_id_of
from spacelift_aws.controllers.run import actions, status
from spacelift_aws.controllers.run.authorization import Circumstances, authorize, integration_key
from spacelift_aws.controllers.run.credentials.issue import Issuing
from spacelift_aws.controllers.run.decide import decide
from spacelift_aws.controllers.run.delivery import DELIVERIES
from spacelift_aws.controllers.run.ended import EndedRun
from spacelift_aws.controllers.run.helper_choice import HelperChoice
from spacelift_aws.controllers.run.journal import Journal
from spacelift_aws.controllers.run.pod.calls import PodCalls
from spacelift_aws.controllers.run.pod.helper import Helper
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.ports import (
    Clock,
    Issuer,
    OrphanKey,
    RunView,
    Trust,
    key_of,
    own_pod,
    regarding,
    run_id_of,
)
from spacelift_aws.controllers.run.progress import FIRST_RETRY, LAST_RETRY, SECRET_GONE, ProgressStore
from spacelift_aws.controllers.run.requester import requested_by, stopped_by
from spacelift_aws.controllers.run.state import (
    Limits,
    Observed,
    SecretState,
)
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import ApiError, Conflict, Invalid, KubeError, NotFound
from spacelift_aws.kube.events import Recorder
from spacelift_aws.kube.resources import RUNS
from spacelift_aws.names import child_name
from spacelift_aws.runtime.role import Role
from spacelift_aws.runtime.store import ObjectKey

log = logging.getLogger(__name__)

STEPS = 30
"""Decisions in a row for one Run; more would mean that two of them contradict each other. A dozen may come if answers
take longer than the first retries wait."""


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """What is configured, and what was found out at the start."""

    installation: str
    namespaces: tuple[str, ...] = ()
    """Where this process looks; empty: everywhere, and only then namespaces' labels are known."""
    home_region: str | None = None
    """The region whose STS issues, for integrations that name none."""
    account: str = ""
    """A worker's own user, as the API server names it."""
    limits: Limits = field(default_factory=Limits)
    helper: Helper | None = None
    trust_requester: bool = False
    """Whether the annotations that say who created and who stopped a Run are believed."""


class Executor:
    """Executes the Runs that are its role's, under one identity."""

    def __init__(
        self,
        *,
        role: Role,
        view: RunView,
        trust: Trust,
        kube: Kube,
        sts: Issuer,
        recorder: Recorder,
        settings: ExecutorSettings,
        clock: Clock,
        has_clock_jumped: Callable[[], bool],
        journal: Journal | None = None,
    ) -> None:
        self._role = role
        self._view = view
        self._trust = trust
        self._kube = kube
        self._recorder = recorder
        self._settings = settings
        self._limits = limits = settings.limits
        self._clock = clock
        self._has_clock_jumped = has_clock_jumped
        self._progress = ProgressStore()
        self._helper = HelperChoice(settings.helper)
        self._journal = journal or Journal()
        self._issuing = Issuing(
            view=view,
            trust=trust,
            kube=kube,
            sts=sts,
            progress=self._progress,
            limits=limits,
            clock=clock,
            journal=self._journal,
        )
        self._pods = PodCalls(
            view=view,
            kube=kube,
            recorder=recorder,
            progress=self._progress,
            limits=limits,
            clock=clock,
            journal=self._journal,
            executor=role.executor,
            helper=self._helper,
        )
        self._others: set[str] = set()
        """Waiting Runs that are another's to execute: it may have issued credentials when they become ours."""

    def adopt(self, runs: Iterable[Run]) -> None:
        """Take over Runs that an earlier process may have worked on: it may have died between sending and hearing.

        To be called before the first of them is executed.
        """
        now = self._clock()
        for run in runs:
            pod = own_pod(self._view, run)
            # The Secret of another's Run is not ours to doubt, not even where we tell that it waits.
            if not self._is_ours(run, pod):
                continue
            # Variables are issued before anything runs, a file is renewed for as long as something does.
            settled = pod is not None and pod.running and not DELIVERIES[run.spec.delivery].is_renewed
            if run.status.phase.terminal or settled:
                continue
            self._progress.put(run_id_of(run), replace(self._progress.of(run_id_of(run)), unanswered_at=now))

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Bring one Run forward as far as it goes now; answers the seconds after which to look again."""
        for _ in range(STEPS):
            self._heed_clock()
            self._notice_handover(key)
            seen = self._observe(key)
            if seen is None:
                return await self._let_go(key)
            decision = decide(seen)
            integration = self._integration(seen.run)
            if decision.awaits_verdict and integration is not None:
                self._trust.await_verdict(integration)
            if decision.progress is not None:
                self._progress.put(seen.run_id, decision.progress)
            elif not decision.actions:
                return _seconds(seen.now, decision.again_at)
            for action in decision.actions:
                await self._do(seen, action)
        log.error("Run %s/%s: no end of decisions in sight; slowing down", *key)
        return FIRST_RETRY.total_seconds()

    async def _let_go(self, key: ObjectKey) -> float | None:
        """A Run that is gone or not ours (any more, if its integration's mode has changed) keeps no Secret of ours."""
        run = self._view.run(key)
        if run is None:
            return None
        # Whoever made the pod has put a Secret of its own in the place of ours.
        if own_pod(self._view, run) is None and self._may_have_secret(run_id_of(run)):
            return await self.clean(OrphanKey.of(run), None)
        self._progress.forget(run_id_of(run))
        return None

    def is_done_with(self, ended: EndedRun, *, decided: bool = False) -> bool:
        """Whether nothing is left to do for a Run that has ended, but for its time to live.

        `decided`: it was looked at whole just now, and nothing was.
        """
        progress, pod = self._progress.of(ended.run_id), self._view.pod_named(ended.namespace, ended.run_id)
        own = pod if pod is not None and pod.owner_uid == ended.uid else None
        if own is not None and not own.finished and own.deletion is None:
            return False
        if progress.secret is SecretState.UNKNOWN and progress.unanswered_at is None:
            # Another hand may have written the end, while the pod's Secret is still there.
            return decided or own is None or own.has_dead_credentials(self._clock())
        if progress.secret is not SecretState.GONE or progress.deleted_at is None:
            return False
        sent = progress.unanswered_at
        return sent is None or progress.deleted_at >= sent + self._limits.creation_in_doubt

    def put_away(self, ended: EndedRun) -> None:
        """Remember of a Run that is done with no more than that, and not even that where it has no pod."""
        self._progress.forget(ended.run_id)
        self._others.discard(ended.run_id)
        self._journal.forget(ended.run_id)
        if self._view.pod_named(ended.namespace, ended.run_id) is not None:
            self._progress.put(ended.run_id, SECRET_GONE)

    def orphan_of(self, run: Run | EndedRun) -> OrphanKey | None:
        """What a Run that was just deleted may leave behind; None where its end saw to that."""
        orphan = OrphanKey.of(run)
        if isinstance(run, EndedRun):
            uid, ended = run.uid, True
        else:
            uid = run.metadata.uid
            ended = run.status.phase.terminal or not self._is_ours(run, own_pod(self._view, run))
        self._others.discard(orphan.run_id)
        self._journal.forget(orphan.run_id)
        if not ended or self._may_have_secret(orphan.run_id) or self._is_end_in_doubt(orphan, uid):
            return orphan
        self._progress.forget(orphan.run_id)
        return None

    def _is_end_in_doubt(self, orphan: OrphanKey, uid: str) -> bool:
        """Whether another hand may have written the end of a Run of ours, while the pod's Secret is still there."""
        pod = self._view.pod_named(orphan.namespace, orphan.run_id)
        # Who deletes a Run and keeps what it owns has the garbage collector take the owner off first.
        if pod is None or pod.executor != self._role.executor or pod.owner_uid not in (uid, None):
            return False
        known = self._progress.of(orphan.run_id).secret is not SecretState.UNKNOWN
        return not known and not pod.has_dead_credentials(self._clock())

    def _is_ours(self, run: Run, pod: Pod | None) -> bool:
        integration = self._integration(run)
        return self._role.owns(run, integration, pod) and not self._role.takeover_grace(run, integration, pod)

    def _integration(self, run: Run) -> AwsIntegration | None:
        return self._view.integration(integration_key(run))

    def _may_have_secret(self, identifier: str) -> bool:
        """Whether a Secret of this process's may be there."""
        progress = self._progress.of(identifier)
        return progress.secret in (SecretState.PRESENT, SecretState.HELD) or progress.unanswered_at is not None

    async def clean(self, orphan: OrphanKey, pod: Pod | None) -> float | None:
        """Remove pod and Secret of a Run that is gone, also where nobody else would: `--cascade=orphan`."""
        name = child_name(orphan.run_id)
        try:
            held_because = await self._issuing.delete_secret(orphan.namespace, name)
        except KubeError:
            await self._end_orphans_pod(pod, is_secret_gone=False)
            raise
        await self._end_orphans_pod(pod, is_secret_gone=not held_because)
        self._heed_clock()
        progress = self._progress.of(orphan.run_id)
        if held_because:
            log.warning("Secret %s/%s, whose Run is gone, is still there: %s", orphan.namespace, name, held_because)
            return LAST_RETRY.total_seconds()
        in_doubt = progress.unanswered_at is not None and (
            self._clock() < progress.unanswered_at + self._limits.creation_in_doubt
        )
        if in_doubt:
            return self._limits.deletion_repeat.total_seconds()
        self._progress.forget(orphan.run_id)
        return None

    async def _end_orphans_pod(self, pod: Pod | None, *, is_secret_gone: bool) -> None:
        """Last, and where it has finished only once the Secret is gone: a pod is all that leads there."""
        if pod is None or pod.executor != self._role.executor or pod.gone or pod.deletion is not None:
            return
        if is_secret_gone or not pod.finished:
            await self._pods.end(pod)

    def _heed_clock(self) -> None:
        """Moments of before the clock was set mean nothing any more, and what waits for one waits for the wrong one."""
        if self._has_clock_jumped():
            log.warning("the clock was set: no moment that this process remembers counts, and all Runs are looked at")
            self._progress.distrust_moments(self._clock())
            self._view.look_at_all_runs()

    def _notice_handover(self, key: ObjectKey) -> None:
        """A waiting Run that was another's and is ours now may have a Secret under way."""
        run = self._view.run(key)
        if run is None:
            return
        identifier, pod = run_id_of(run), own_pod(self._view, run)
        if pod is None and run.status.phase is Phase.QUEUED and self._role.is_foreign(run, self._integration(run)):
            self._others.add(identifier)
        elif identifier in self._others and self._is_ours(run, pod):
            self._others.remove(identifier)
            self._progress.put(identifier, replace(self._progress.of(identifier), unanswered_at=self._clock()))

    def _observe(self, key: ObjectKey) -> Observed | None:
        """All that is known of a Run; None where there is none, or none of this role's."""
        run = self._view.run(key)
        if run is None:
            return None
        pod, integration = own_pod(self._view, run), self._integration(run)
        if not self._role.owns(run, integration, pod):
            return None
        identifier, grace = run_id_of(run), self._role.takeover_grace(run, integration, pod)
        return Observed(
            run=run,
            run_id=identifier,
            pod=pod,
            grant=authorize(run, identifier, integration, self._circumstances(run, integration)),
            region=(integration.spec.region if integration else None) or self._settings.home_region,
            now=self._clock(),
            template=self._view.template_of(run),
            progress=self._progress.of(identifier),
            limits=self._limits,
            takeover_grace=grace,
            executor=self._role.executor,
            message_prefix=self._role.message_prefix,
            helper_falls_back=self._helper.falls_back and not grace,
            own_account=self._own_account(run),
            requested_by=requested_by(run) if self._settings.trust_requester else None,
            stopped_by=stopped_by(run) if self._settings.trust_requester else None,
        )

    def _circumstances(self, run: Run, integration: AwsIntegration | None) -> Circumstances:
        watched = self._settings.namespaces
        labels = None if watched else self._view.labels_of(run.metadata.namespace)
        if integration is None:
            return Circumstances(self._role.pool, watched, labels)
        trusted = self._trust.may_issue(integration)
        return Circumstances(
            self._role.pool,
            watched,
            labels,
            trusted=trusted,
            why_not="" if trusted else self._trust.why_not(integration),
            is_unasked=not trusted and self._trust.is_unasked(integration),
            external_id=external_id_of(integration, self._settings.installation),
            requested_by=requested_by(run) if self._settings.trust_requester else None,
        )

    def _own_account(self, run: Run) -> str | None:
        """The worker's own service account: a pod under it could assume every role of the pool."""
        namespace, _, name = self._settings.account.removeprefix("system:serviceaccount:").partition(":")
        return name if name and namespace == run.metadata.namespace else None

    async def _do(self, seen: Observed, action: actions.Action) -> None:
        match action:
            case actions.IssueCredentials(grant):
                await self._issuing.issue(seen, grant)
            case actions.CreatePod():
                await self._pods.create(seen)
            case actions.LookForPod():
                await self._pods.look_for(seen)
            case actions.DeletePod():
                await self._pods.delete(seen)
            case actions.DeleteSecret():
                await self._issuing.be_rid_of_secret(seen)
            case actions.WriteStatus(wanted, warning):
                await self._write_status(seen, wanted, warning)
            case actions.Advise(message):
                self._recorder.event(regarding(seen.run), "Warning", "SessionTooShort", message)
            case actions.DeleteRun():
                await self._delete_run(seen.run)
            case actions.MarkEnded(change):
                await self._mark_ended(seen, change)

    async def _mark_ended(self, seen: Observed, change: dict[str, Any]) -> None:
        """A Run without its mark has ended all the same: a refusal is not repeated."""
        try:
            self._view.saw_run(Run.model_validate(await self._kube.patch(RUNS, *key_of(seen.run), change)))
        except NotFound:
            self._view.lost_run(seen.run)
        except ApiError as error:
            self._progress.put(seen.run_id, replace(self._progress.of(seen.run_id), unmarkable=True))
            log.warning("Run %s/%s cannot be marked as ended: %s", *key_of(seen.run), error.message)

    async def _delete_run(self, run: Run) -> None:
        """Its time to live is over. One that a finalizer holds is still there."""
        try:
            left = await self._kube.delete(RUNS, *key_of(run), uid=run.metadata.uid)
        except ApiError as error:
            message = f"The Run's time to live is over, and it cannot be deleted: {error.message}"
            self._recorder.event(regarding(run), "Warning", "RunNotDeleted", message)
            raise
        if left is None:
            self._view.lost_run(run)
        else:
            self._view.saw_run(Run.model_validate(left))

    async def _write_status(self, seen: Observed, wanted: RunStatus, warning: str | None) -> None:
        run = seen.run
        self._journal.writes(seen, wanted)
        try:
            body = await self._kube.patch_status(
                RUNS,
                *key_of(run),
                status_patch(run.status, wanted),
                resource_version=run.metadata.resource_version,
            )
        except Conflict:
            await self._look_at_run(run)
            return
        except Invalid as error:
            # A terminal phase that was written meanwhile is not left again; anything else is worth a complaint.
            if not await self._look_at_run(run):
                words = f"The Run's status cannot be written: {error.message}. It would say: {wanted.message}"
                self._recorder.event(regarding(run), "Warning", "StatusRefused", words)
                raise
            return
        except NotFound:
            self._view.lost_run(run)
            return
        self._journal.wrote(seen, wanted)
        self._view.saw_run(Run.model_validate(body))
        for event in status.events(run.status, wanted, warning):
            self._recorder.event(regarding(run), event.type, event.reason, event.message, is_end=event.is_end)

    async def _look_at_run(self, run: Run) -> bool:
        """Somebody wrote first, perhaps the Run's end: decide anew on what there is now; False if it is the same."""
        try:
            current = Run.model_validate(await self._kube.get(RUNS, *key_of(run)))
        except NotFound:
            current = None
        if current is None or current.metadata.uid != run.metadata.uid:
            self._view.lost_run(run)
            return True
        self._view.saw_run(current)
        return current.metadata.resource_version != run.metadata.resource_version


def _seconds(now: datetime, moment: datetime | None) -> float | None:
    return max(0.0, (moment - now).total_seconds()) if moment is not None else None
