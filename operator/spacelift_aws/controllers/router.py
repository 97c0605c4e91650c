"""What was seen goes into the stores, what it concerns into the queue: the only way into both.

Watches, lists and the answers to our own writes all come through here, in any order and any number of times.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Phase, Run
from spacelift_aws.controllers.job.view import Job, integration_of, owns
from spacelift_aws.controllers.run.ended import EndedRun
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.controllers.run.template_facts import TemplateFacts
from spacelift_aws.controllers.stores import Namespace, Stores
from spacelift_aws.names import child_name
from spacelift_aws.runtime.store import ObjectKey, version_of


@dataclass(frozen=True, slots=True)
class RunKey:
    """A Run to be looked at."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class IntegrationKey:
    """An AwsIntegration to be looked at."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class DepartedKey:
    """A Run that has ended or is gone: which of both has to be asked."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class JobKey:
    """A Job to be looked at."""

    namespace: str
    name: str


WOKEN_AT_ONCE = 50
"""Runs that are woken in one turn of the loop."""
WOKEN_A_SECOND = 2_000
"""Runs that are woken a second: fewer than can be decided on in that time."""

DEPARTED_A_SECOND = 100
"""Runs that have left the watch and are asked for a second when a replica begins to act."""

ENDED_A_SECOND = 100
"""Runs that have ended and may have something left to do, looked at a second when a replica begins to act."""

WorkKey = RunKey | IntegrationKey | OrphanKey | JobKey | DepartedKey

ANSWER_WITHIN = 0.5
"""Seconds for which the answer to a write of our own is awaited before the API server is asked."""


class EventRouter:
    """The executor's view and the watches' sink."""

    def __init__(
        self,
        stores: Stores,
        executor_name: str,
        enqueue: Callable[[WorkKey], None],
        enqueue_after: Callable[[WorkKey, float], None],
    ) -> None:
        self._stores = stores
        self._executor_name = executor_name
        self._enqueue = enqueue
        self._enqueue_after = enqueue_after
        self._left: dict[ObjectKey, str] = {}
        """The UIDs of Runs that have left the watch, and of which nobody has asked since whether they are there."""
        self._ended_are_seen = False
        """Whether also Runs that ended before this process began are known; until then a pod of theirs has no Run."""
        self._left_nothing: dict[ObjectKey, str] = {}
        """The owners' UIDs of pods whose Run is gone, and which lead to nothing that would have to be cleared away."""
        self._orphan_of: Callable[[Run | EndedRun], OrphanKey | None] = lambda _: None

    def on_lost_run(self, orphan_of: Callable[[Run | EndedRun], OrphanKey | None]) -> None:
        """Who knows what a Run that is gone may leave behind."""
        self._orphan_of = orphan_of

    def run(self, key: ObjectKey) -> Run | None:
        """A Run as last seen, while it is kept whole."""
        return self._stores.run(key)

    def ended(self, key: ObjectKey) -> EndedRun | None:
        """What is kept of a Run that has ended."""
        return self._stores.ended(key)

    def template_of(self, run: Run) -> TemplateFacts:
        """What is kept of a Run's template."""
        return self._stores.template_of(run)

    def pod_of(self, run: Run) -> Pod | None:
        """A Run's pod as last seen, `gone` if it is."""
        return self._stores.pod_of(run)

    def pod_named(self, namespace: str, run_id: str) -> Pod | None:
        """The pod of a Run that is gone, or has ended."""
        return self._stores.pods.get((namespace, child_name(run_id)))

    def integration(self, key: ObjectKey) -> AwsIntegration | None:
        """An AwsIntegration as last seen."""
        return self._stores.integrations.get(key)

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        """A namespace's labels as last seen."""
        return self._stores.labels_of(namespace)

    def saw_run(self, run: Run) -> None:
        """A Run is there, and this is how it looks."""
        key = (run.metadata.namespace, run.metadata.name)
        self._lose_earlier(key, run.metadata.uid, run.metadata.resource_version)
        if self._stores.put_run(run):
            self._changed(key)

    def saw_listed_run(self, run: Run | EndedRun) -> None:
        """The same from a list or a watch, where a Run that has ended need not be looked at whole."""
        if isinstance(run, Run):
            self.saw_run(run)
            return
        key = (run.namespace, run.name)
        self._lose_earlier(key, run.uid, run.resource_version)
        known = self._stores.runs.get(key)
        if not self._stores.put_ended(run):
            return
        if known is not None or self._may_have_work(run):
            self._changed(key)
        else:
            self._wake_job(key)

    def _changed(self, key: ObjectKey) -> None:
        self._left.pop(key, None)
        self._enqueue(RunKey(*key))
        self._wake_job(key)

    def _lose_earlier(self, key: ObjectKey, uid: str, resource_version: str) -> None:
        """A Run was deleted and made anew while nobody looked: what the first one left is still to be cleared away."""
        known, version = self._stores.runs.get(key), self._stores.runs.version(key)
        if known is not None and _uid_of(known) != uid and (version or 0) < version_of(resource_version):
            self.lost_run(known)

    def put_away(self, ended: EndedRun) -> None:
        """Keep no more of a Run that has ended, unless a Job of ours still has to hear of its end."""
        if self._stores.jobs.get((ended.namespace, ended.name)) is None:
            self._stores.put_ended(ended, instead=True)

    def lost_run(self, run: Run | EndedRun) -> None:
        """A Run is not there any more."""
        key = (run.namespace, run.name) if isinstance(run, EndedRun) else (run.metadata.namespace, run.metadata.name)
        last = self._stores.remove_run(key, _uid_of(run))
        if last is not None:
            self._left.pop(key, None)
            self._clean_up_after(last)
        self._wake_job(key)

    def _clean_up_after(self, run: Run | EndedRun) -> None:
        orphan = self._orphan_of(run)
        if orphan is not None:
            self._enqueue(orphan)
            return
        # The garbage collector deletes the pod next. Where it takes its owner off instead, the pod is looked at anew.
        gone, uid = OrphanKey.of(run), _uid_of(run)
        pod = self._stores.pod_named(gone.namespace, gone.run_id)
        if pod is not None and pod.owner_uid == uid:
            self._left_nothing[pod.namespace, pod.name] = uid

    def job(self, key: ObjectKey) -> Job | None:
        """A Job of ours as last seen, while it or its Run goes on."""
        return self._stores.jobs.get(key)

    def saw_job(self, job: Job) -> None:
        """A Job is there. Those of others are nothing to us, and neither are ours once they have ended."""
        if not job.ours:
            return
        if job.finished and not self._goes_on(job):
            self.lost_job(job)
        elif self._stores.jobs.put((job.namespace, job.name), job.uid, version_of(job.resource_version), job):
            self._enqueue(JobKey(job.namespace, job.name))

    def _goes_on(self, job: Job) -> bool:
        run = self._stores.run((job.namespace, job.name))
        return run is not None and owns(job, run) and not run.status.phase.terminal

    def lost_job(self, job: Job) -> None:
        """A Job is not there any more, or has ended: its Run need not be kept whole for it."""
        if self._stores.jobs.remove((job.namespace, job.name), job.uid) is not None:
            self._enqueue(RunKey(job.namespace, job.name))

    def _wake_job(self, key: ObjectKey) -> None:
        """A Job has the name of its Run."""
        if self._stores.jobs.get(key) is not None:
            self._enqueue(JobKey(*key))

    def run_left_watch(self, run: Run | EndedRun) -> None:
        """A Run has ended, or is not there any more; `run` is its last view before that, with the version of the event.

        An end of our own making is known by the answer to the write, which may be about to come.
        """
        if isinstance(run, EndedRun):
            return
        metadata = run.metadata
        key = (metadata.namespace, metadata.name)
        known = self._stores.run(key)
        if known is not None and known.metadata.uid == metadata.uid and not known.status.phase.terminal:
            self._left[key] = metadata.uid
            self._enqueue_after(DepartedKey(metadata.namespace, metadata.name, metadata.uid), ANSWER_WITHIN)

    def orphaned(self, orphan: OrphanKey) -> None:
        """Something of a Run that is gone may have come into being after it went."""
        self._enqueue(orphan)

    def saw_pod(self, pod: Pod) -> None:
        """A run's pod is there. Where its Run is not, the pod leads to what is left of it."""
        if not self._stores.put_pod(pod):
            return
        key = self._stores.run_of(pod)
        if key is not None:
            self._enqueue(RunKey(*key))
        elif self._may_be_orphan(pod):
            self._enqueue(_orphan(pod))

    def _may_be_orphan(self, pod: Pod) -> bool:
        """Whether a pod, whose Run is not known, may need somebody to clear it away."""
        if not self._ended_are_seen or pod.executor != self._executor_name:
            return False
        if not pod.finished:
            return True
        if self._left_nothing.get((pod.namespace, pod.name), "") == pod.owner_uid:
            return False
        return not pod.has_dead_credentials(datetime.now(UTC))

    def saw_everything(self) -> None:
        """Also Runs that had ended before were listed: pods whose Run is still not known have none."""
        self._ended_are_seen = True
        self._wake(list(self._orphans()))

    def _orphans(self) -> Iterator[OrphanKey]:
        for pod in self._stores.pods.values():
            if self._stores.run_of(pod) is None and self._may_be_orphan(pod):
                yield _orphan(pod)

    def lost_pod(self, pod: Pod) -> None:
        """A run's pod is not there any more; `pod` is its last view."""
        self._stores.remove_pod((pod.namespace, pod.name), pod.uid, pod)
        self._left_nothing.pop((pod.namespace, pod.name), None)
        key = self._stores.run_of(pod)
        if key is not None:
            self._enqueue(RunKey(*key))

    def saw_integration(self, integration: AwsIntegration) -> None:
        """An AwsIntegration is there; Runs that wait for it may go on."""
        metadata = integration.metadata
        key = (metadata.namespace, metadata.name)
        version, known = version_of(metadata.resource_version), self._stores.integrations.get(key)
        if self._stores.integrations.put(key, metadata.uid, version, integration):
            self._enqueue(IntegrationKey(*key))
            # Runs go by its spec and by what is found out about its trust, which tells of itself: never by its status.
            if known is None or known.metadata.uid != metadata.uid or known.spec != integration.spec:
                self.wake_runs_of(key)

    def lost_integration(self, integration: AwsIntegration) -> None:
        """An AwsIntegration is not there any more."""
        key = (integration.metadata.namespace, integration.metadata.name)
        if self._stores.integrations.remove(key, integration.metadata.uid) is not None:
            self._enqueue(IntegrationKey(*key))
            self.wake_runs_of(key)

    def saw_namespace(self, namespace: Namespace) -> None:
        """A namespace is there; integrations may select it by its labels."""
        changed = self._stores.labels_of(namespace.name) != namespace.labels
        version = version_of(namespace.resource_version)
        if self._stores.namespaces.put(("", namespace.name), namespace.uid, version, namespace) and changed:
            waiting = ((key, run) for key, run in self._stores.whole_runs() if run.status.phase is Phase.QUEUED)
            self._wake([RunKey(*key) for key, _ in waiting if key[0] == namespace.name])

    def lost_namespace(self, namespace: Namespace) -> None:
        """A namespace is not there any more."""
        self._stores.namespaces.remove(("", namespace.name), namespace.uid)

    def wake_runs_of(self, integration: ObjectKey) -> None:
        """Something about an integration changed that its Runs may have waited for."""
        runs = ((key, self._stores.run(key)) for key in self._stores.runs_of(integration))
        self._wake([RunKey(*key) for key, run in runs if run is not None and not run.status.phase.terminal])
        # Whose a Job is depends on its integration.
        jobs = (job for job in self._stores.jobs.values() if integration_of(job) == integration)
        self._wake([JobKey(job.namespace, job.name) for job in jobs])

    def _wake(self, keys: Sequence[WorkKey]) -> None:
        """A few at once and the others in turn: whoever else waits is not to wait for thousands of decisions."""
        for index, key in enumerate(keys):
            if index < WOKEN_AT_ONCE:
                self._enqueue(key)
            else:
                self._enqueue_after(key, index / WOKEN_A_SECOND)

    def all_keys(self) -> Iterator[WorkKey]:
        """All that a process which begins to act has to look at, the most urgent first."""
        for key in self._stores.integrations:
            yield IntegrationKey(*key)
        # While a replica waits to act, ends of Runs are not looked at one by one; now no other work waits for them.
        for index, (key, uid) in enumerate(self._left.items()):
            self._enqueue_after(DepartedKey(*key, uid), index / DEPARTED_A_SECOND)
        runs = sorted(self._stores.whole_runs(), key=lambda item: item[1].status.phase.terminal)
        yield from (RunKey(*key) for key, _ in runs if key not in self._left)
        yield from (JobKey(*key) for key in self._stores.jobs)
        # Of each of these all is read again where its pod's credentials may live.
        known = self._stores.runs.items()
        ended = [key for key, run in known if isinstance(run, EndedRun) and self._may_have_work(run)]
        for index, key in enumerate(ended):
            self._enqueue_after(RunKey(*key), index / ENDED_A_SECOND)
        yield from self._orphans()

    def _may_have_work(self, ended: EndedRun) -> bool:
        """Whether something may be left to do for a Run that has ended: for its time to live, or for its pod."""
        return bool(ended.expires_at or self._stores.pod_named(ended.namespace, ended.run_id))

    def look_at_all_runs(self) -> None:
        """Something about all Runs may have changed."""
        for key, _ in self._stores.whole_runs():
            self._enqueue(RunKey(*key))

    def awaited(self, integration: ObjectKey) -> bool:
        """Whether a Run waits for this integration."""
        runs = (self._stores.run(key) for key in self._stores.runs_of(integration))
        return any(run is not None and run.status.phase is Phase.QUEUED for run in runs)


def _orphan(pod: Pod) -> OrphanKey:
    return OrphanKey(pod.namespace, pod.run_id, pod.run_name)


def _uid_of(run: Run | EndedRun) -> str:
    return run.uid if isinstance(run, EndedRun) else run.metadata.uid
