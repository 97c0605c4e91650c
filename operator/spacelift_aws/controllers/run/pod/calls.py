"""What the executor asks of the API server about the pods of Runs: to make one, to find one, to end one."""

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from spacelift_aws.api.reasons import CredentialsIssuedReason, SucceededReason
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.answers import AnswerClass, Call, Meaning, class_of, meaning_of
from spacelift_aws.controllers.run.helper_choice import HelperChoice
from spacelift_aws.controllers.run.journal import Journal
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.pod.helper import Helper
from spacelift_aws.controllers.run.pod.view import Pod, parse_pod
from spacelift_aws.controllers.run.ports import Clock, RunView, key_of, regarding
from spacelift_aws.controllers.run.progress import ProgressStore, next_try
from spacelift_aws.controllers.run.state import (
    Authorized,
    Limits,
    Observed,
    PodSearch,
    RetryableFailure,
    SecretState,
    TerminalFailure,
)
from spacelift_aws.controllers.run.template_facts import with_template
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import AlreadyExists, ApiError, KubeError, NotFound
from spacelift_aws.kube.events import Recorder
from spacelift_aws.kube.resources import PODS, RUNS
from spacelift_aws.names import child_name


class PodCalls:
    """Makes, finds and ends pods, and remembers what came of it."""

    def __init__(
        self,
        *,
        view: RunView,
        kube: Kube,
        recorder: Recorder,
        progress: ProgressStore,
        limits: Limits,
        clock: Clock,
        journal: Journal,
        executor: str,
        helper: HelperChoice,
    ) -> None:
        """`executor`: the name on the pods that are made here."""
        self._view = view
        self._kube = kube
        self._recorder = recorder
        self._progress = progress
        self._limits = limits
        self._clock = clock
        self._journal = journal
        self._executor = executor
        self._helper = helper

    async def create(self, seen: Observed) -> None:
        """Create the Run's pod; what the API server says about it is remembered."""
        if not isinstance(seen.grant, Authorized):
            return
        run = await self._with_template(seen)
        if run is None:
            return
        build = partial(
            build_pod,
            run,
            seen.run_id,
            role_arn=seen.grant.request.role_arn,
            executor=self._executor,
            expires_at=seen.expires_at if seen.progress.secret is SecretState.PRESENT else None,
            variables=self._journal.variables(seen.run, seen.run_id),
        )
        namespace, refused = seen.run.metadata.namespace, seen.progress.refused_pod is not None

        def try_out(helper: Helper) -> Awaitable[Mapping[str, Any]]:
            return self._kube.create(PODS, namespace, build(helper=helper), strict=True, dry_run=True)

        body = build(helper=await self._helper.choose(run, try_out, refused=refused))
        try:
            answer = await self._kube.create(PODS, namespace, body, strict=True)
        except AlreadyExists:
            await self._meet(seen)
        except KubeError as error:
            self._refused(seen, error)
        else:
            known = replace(self._progress.of(seen.run_id), pod_search=PodSearch.NOT_LOOKED)
            self._progress.put(seen.run_id, replace(known, failures=0, retryable_failure=None, pod_denied_since=None))
            self._journal.pod_created(seen, self._clock())
            self._view.saw_pod(parse_pod(answer))

    async def delete(self, seen: Observed) -> None:
        """End the Run's pod gently, and tell if that is refused."""
        if seen.pod is None:
            return
        try:
            await self.end(seen.pod)
        except KubeError as error:
            message = f"The API server does not delete the pod: {error.message}"
            now, known = self._clock(), self._progress.of(seen.run_id)
            retry_at = next_try(known.failures, now, error.retry_after)
            kept = RetryableFailure(CredentialsIssuedReason.RETRYING, message, retry_at)
            self._progress.put(seen.run_id, replace(known, failures=known.failures + 1, pod_kept=kept))
            self._recorder.event(regarding(seen.run), "Warning", "PodNotDeleted", message)
        else:
            self._progress.put(seen.run_id, replace(self._progress.of(seen.run_id), pod_kept=None))

    async def end(self, pod: Pod) -> None:
        """End a pod gently. Raises KubeError."""
        left = await self._kube.delete(PODS, pod.namespace, pod.name, uid=pod.uid)
        if left is None:
            self._view.lost_pod(pod)
        else:
            self._view.saw_pod(parse_pod(left))

    async def look_for(self, seen: Observed) -> None:
        """Ask for the pod, and if there is none, for what became of it."""
        try:
            pod = parse_pod(await self._kube.get(PODS, seen.run.metadata.namespace, child_name(seen.run_id)))
        except NotFound:
            await self._look_back(seen)
            return
        if pod.owner_uid == seen.run.metadata.uid:
            self._view.saw_pod(pod)
        else:
            await self._look_back(seen)

    async def _look_back(self, seen: Observed) -> None:
        """The API server remembers the changes of some minutes: a pod that went has its true end among them."""
        made_after, run = seen.run.status.pod_created_after, seen.run
        for since in (made_after, run.metadata.resource_version):
            if since is None:
                continue
            try:
                changes = await self._kube.changes(PODS, run.metadata.namespace, child_name(seen.run_id), since)
            except ApiError as error:
                if error.status not in (400, 410):
                    raise
                continue
            pods = [(kind, parse_pod(body)) for kind, body in changes]
            refused = self._progress.of(seen.run_id).refused_pod
            own = [(kind, pod) for kind, pod in pods if pod.owner_uid == run.metadata.uid and pod.uid != refused]
            if own:
                kind, pod = own[-1]
                (self._view.lost_pod if kind == "DELETED" else self._view.saw_pod)(pod)
                return
            if since == made_after:
                self._found(seen, PodSearch.NEVER_MADE)
                return
        self._found(seen, PodSearch.LOST)

    async def _with_template(self, seen: Observed) -> Run | None:
        """The Run with its template, of which only what is decided by is kept; None where the Run is gone."""
        if seen.template.raw is not None:
            return with_template(seen.run, seen.template.raw)
        try:
            run = Run.model_validate(await self._kube.get(RUNS, *key_of(seen.run)))
        except NotFound:
            run = None
        if run is not None and run.metadata.uid == seen.run.metadata.uid:
            return run
        self._view.lost_run(seen.run)
        return None

    async def _meet(self, seen: Observed) -> None:
        """A pod with the Run's name is the Run's only if the Run is its controller."""
        try:
            pod = parse_pod(await self._kube.get(PODS, seen.run.metadata.namespace, child_name(seen.run_id)))
        except NotFound:
            # Gone in between. It may have been this Run's own.
            self._found(seen, PodSearch.NOT_LOOKED)
            return
        if pod.owner_uid == seen.run.metadata.uid and pod.executor == self._executor:
            self._view.saw_pod(pod)
            return
        message = f"A pod named `{pod.name}` exists that does not belong to this Run; delete it."
        self._progress.failed(seen.run_id, self._clock(), CredentialsIssuedReason.RETRYING, message)

    def _refused(self, seen: Observed, error: KubeError) -> None:
        """Tried again, but what is invalid and what goes on to be denied fails the Run."""
        now, known, meaning = self._clock(), self._progress.of(seen.run_id), meaning_of(Call.CREATE_POD, error)
        words = "refuses" if isinstance(error, ApiError) else "did not create"
        message = f"The API server {words} the pod: {error.message}"
        since = (known.pod_denied_since or now) if meaning is Meaning.FOR_A_WHILE else None
        known = replace(known, pod_first=True, pod_denied_since=since)
        if class_of(error) is AnswerClass.UNANSWERED:
            known = replace(known, pod_search=PodSearch.NOT_LOOKED)
        if meaning is Meaning.FINAL or (since is not None and now - since >= self._limits.denied):
            known = replace(known, terminal_failure=TerminalFailure(SucceededReason.TEMPLATE_REFUSED, message))
        self._progress.put(seen.run_id, known)
        self._progress.failed(seen.run_id, now, CredentialsIssuedReason.RETRYING, message, error.retry_after)

    def _found(self, seen: Observed, search: PodSearch) -> None:
        self._progress.put(seen.run_id, replace(self._progress.of(seen.run_id), pod_search=search))
