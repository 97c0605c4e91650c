"""What the executor needs from around it: the objects as last seen, what is known of trust, STS and a clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.aws.sts import AssumeRoleRequest, Session
from spacelift_aws.controllers.run.ended import EndedRun
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.template_facts import TemplateFacts
from spacelift_aws.kube.events import Regarding
from spacelift_aws.kube.resources import RUNS
from spacelift_aws.names import run_id
from spacelift_aws.runtime.store import ObjectKey

Clock = Callable[[], datetime]


class RunView(Protocol):
    """The objects as last seen, and where what our own calls show goes."""

    def run(self, key: ObjectKey) -> Run | None: ...
    def template_of(self, run: Run) -> TemplateFacts: ...
    def pod_of(self, run: Run) -> Pod | None: ...
    def pod_named(self, namespace: str, run_id: str) -> Pod | None: ...
    def integration(self, key: ObjectKey) -> AwsIntegration | None: ...
    def labels_of(self, namespace: str) -> Mapping[str, str]: ...
    def saw_run(self, run: Run) -> None: ...
    def lost_run(self, run: Run) -> None: ...
    def saw_pod(self, pod: Pod) -> None: ...
    def lost_pod(self, pod: Pod) -> None: ...
    def orphaned(self, orphan: "OrphanKey") -> None: ...
    def look_at_all_runs(self) -> None: ...


class Trust(Protocol):
    """What this process knows of the integrations' trust."""

    def may_issue(self, integration: AwsIntegration) -> bool: ...
    def await_verdict(self, integration: AwsIntegration) -> None: ...
    def why_not(self, integration: AwsIntegration) -> str: ...
    def is_unasked(self, integration: AwsIntegration) -> bool: ...
    def request(self, key: ObjectKey) -> None:
        """STS refused a Run whose integration is trusted: verify that anew."""
        ...


class Issuer(Protocol):
    """STS, as far as a Run needs it."""

    async def assume_role(self, request: AssumeRoleRequest, tenant: str) -> Session: ...


@dataclass(frozen=True, slots=True)
class OrphanKey:
    """What may remain of a Run that is gone: found by its ID alone."""

    namespace: str
    run_id: str
    run_name: str

    @classmethod
    def of(cls, run: Run | EndedRun) -> "OrphanKey":
        """What a Run that is there may leave."""
        if isinstance(run, EndedRun):
            return cls(run.namespace, run.run_id, run.name)
        return cls(run.metadata.namespace, run_id_of(run), run.metadata.name)


def key_of(run: Run) -> ObjectKey:
    """The key of a Run."""
    return run.metadata.namespace, run.metadata.name


def run_id_of(run: Run) -> str:
    """The ID of a Run."""
    return run_id(run.metadata.creation_timestamp, run.metadata.uid)


def own_pod(view: RunView, run: Run) -> Pod | None:
    """The Run's pod. Somebody else's is never adopted; that it has the name shows when ours is created."""
    pod = view.pod_of(run)
    return pod if pod is not None and pod.owner_uid == run.metadata.uid else None


def regarding(run: Run) -> Regarding:
    """Whom an Event about a Run is about."""
    return Regarding(RUNS, run.metadata.namespace, run.metadata.name, run.metadata.uid)
