"""All objects that matter to Runs and integrations, as last seen, and the ways from one to another."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.job.view import Job
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.controllers.run.ended import EndedRun
from spacelift_aws.controllers.run.pod.view import Pod, with_first_deletion
from spacelift_aws.controllers.run.template_facts import TemplateFacts, facts_of, trimmed
from spacelift_aws.names import child_name, run_id
from spacelift_aws.runtime.store import ObjectKey, Store, version_of


@dataclass(frozen=True, slots=True)
class Namespace:
    """What matters of a namespace."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str]

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> "Namespace":
        """Read a namespace object of the API."""
        metadata = body["metadata"]
        return cls(metadata["name"], metadata["uid"], metadata["resourceVersion"], dict(metadata.get("labels") or {}))


_NO_TEMPLATE = TemplateFacts()


class Stores:
    """What the controller has seen of each kind, and the ways from one object to another."""

    def __init__(self, helper_image: str | None = None) -> None:
        """`helper_image` is the image with the helper that masks logs, if there is one."""
        self._helper_image = helper_image
        self._templates: dict[str, TemplateFacts] = {}
        self.runs: Store[Run | EndedRun] = Store()
        """Of those that have ended, and for which nothing is left to do, only what that takes."""
        self.integrations: Store[AwsIntegration] = Store()
        self.pods: Store[Pod] = Store()
        self.namespaces: Store[Namespace] = Store()
        self.jobs: Store[Job] = Store()
        """Those that are ours and have not ended."""
        self._departed: dict[ObjectKey, Pod] = {}
        self._run_names: dict[ObjectKey, str] = {}
        self._runs_of: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)

    def put_run(self, run: Run) -> bool:
        """Keep a view of a Run, without its template but for what is decided by."""
        metadata = run.metadata
        key = (metadata.namespace, metadata.name)
        version, was_ended = version_of(metadata.resource_version), self.ended(key) is not None
        if not self.runs.put(key, metadata.uid, version, trimmed(run), other_form=was_ended):
            return False
        self._templates[metadata.uid] = facts_of(run, self._helper_image, self._templates.get(metadata.uid))
        self._run_names[metadata.namespace, self.run_id(run)] = metadata.name
        self._runs_of[integration_key(run)].add(key)
        return True

    def put_ended(self, ended: EndedRun, *, instead: bool = False) -> bool:
        """Keep a view of a Run that has ended; `instead`: also of the same view."""
        key = (ended.namespace, ended.name)
        if not self.runs.put(key, ended.uid, version_of(ended.resource_version), ended, other_form=instead):
            return False
        self._templates.pop(ended.uid, None)
        self._run_names[ended.namespace, ended.run_id] = ended.name
        self._no_run_of(ended.integration, key)
        return True

    def run(self, key: ObjectKey) -> Run | None:
        """A Run as last seen, while it is kept whole."""
        run = self.runs.get(key)
        return run if isinstance(run, Run) else None

    def ended(self, key: ObjectKey) -> EndedRun | None:
        """What is kept of a Run that has ended."""
        run = self.runs.get(key)
        return run if isinstance(run, EndedRun) else None

    def whole_runs(self) -> Iterator[tuple[ObjectKey, Run]]:
        """All Runs that are kept whole."""
        return ((key, run) for key, run in self.runs.items() if isinstance(run, Run))

    def remove_run(self, key: ObjectKey, uid: str) -> Run | EndedRun | None:
        """Forget a Run that was deleted; the answer is its last view."""
        run = self.runs.remove(key, uid)
        if run is None:
            return None
        identifier = run.run_id if isinstance(run, EndedRun) else self.run_id(run)
        self._templates.pop(uid, None)
        self._run_names.pop((key[0], identifier), None)
        self._departed.pop((key[0], child_name(identifier)), None)
        self._no_run_of(run.integration if isinstance(run, EndedRun) else integration_key(run), key)
        return run

    def _no_run_of(self, integration: ObjectKey, key: ObjectKey) -> None:
        runs = self._runs_of.get(integration, set())
        runs.discard(key)
        if not runs:
            self._runs_of.pop(integration, None)

    def template_of(self, run: Run) -> TemplateFacts:
        """What is kept of a Run's template."""
        return self._templates.get(run.metadata.uid, _NO_TEMPLATE)

    def put_pod(self, pod: Pod) -> bool:
        """Keep a view of a run's pod. Pods that merely carry a run's label are none of ours."""
        if pod.name != child_name(pod.run_id):
            return False
        key = (pod.namespace, pod.name)
        pod = with_first_deletion(pod, self.pods.get(key))
        return self.pods.put(key, pod.uid, version_of(pod.resource_version), pod)

    def remove_pod(self, key: ObjectKey, uid: str, last: Pod | None = None) -> Pod | None:
        """Forget a pod that was deleted; its last view stays while its Run is there, because it tells how it ended."""
        known = self.pods.remove(key, uid)
        pod = with_first_deletion(last, known) if last is not None else known
        if pod is not None and pod.name == child_name(pod.run_id) and self.run_of(pod) is not None:
            self._departed[key] = replace(pod, gone=True)
        return pod

    def run_of(self, pod: Pod) -> ObjectKey | None:
        """The key of the Run whose ID a pod carries."""
        name = self._run_names.get((pod.namespace, pod.run_id))
        return (pod.namespace, name) if name is not None else None

    def pod_of(self, run: Run) -> Pod | None:
        """A Run's pod, or its last view."""
        return self.pod_named(run.metadata.namespace, self.run_id(run))

    def pod_named(self, namespace: str, identifier: str) -> Pod | None:
        """The pod of the Run with this ID, or its last view."""
        key = (namespace, child_name(identifier))
        return self.pods.get(key) or self._departed.get(key)

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        """A namespace's labels; none where it is not known."""
        known = self.namespaces.get(("", namespace))
        return known.labels if known is not None else {}

    def runs_of(self, integration: ObjectKey) -> tuple[ObjectKey, ...]:
        """The keys of all Runs that name an integration and are kept whole."""
        return tuple(self._runs_of.get(integration, ()))

    @staticmethod
    def run_id(run: Run) -> str:
        """The Run's ID, from its creation time and UID alone."""
        return run_id(run.metadata.creation_timestamp, run.metadata.uid)
