"""What a process is there for: all in which the controller and a worker differ, in one object.

A role knows only what is configured. It is asked about objects and answers from them alone, so that whoever asks
can be tested with a role of a few lines.
"""

from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.events import Recorder
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.workqueue import WorkQueue
from spacelift_aws.settings import Settings


@dataclass(frozen=True, slots=True)
class LeaseName:
    """The Lease that replicas of the same kind compete for."""

    namespace: str
    name: str


class MadePod(Protocol):
    """A Run's pod, as far as ownership depends on it."""

    @property
    def executor(self) -> str:
        """Who made it."""
        ...


class Role(Protocol):
    """The controller, or the worker of one pool."""

    @property
    def component(self) -> str:
        """Its name on Events and in logs."""
        ...

    @property
    def executor(self) -> str:
        """Its name on the pods that it makes."""
        ...

    @property
    def pool(self) -> str | None:
        """The pool whose worker this is: its verdicts go into that entry of `status.workers`. None: the controller."""
        ...

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where it watches, lists and acts; empty: everywhere."""
        ...

    @property
    def lease(self) -> LeaseName | None:
        """Without one it acts at once."""
        ...

    @property
    def message_prefix(self) -> str:
        """Begins every reason for waiting that it gives, so that a reader knows whose word it is."""
        ...

    def judges(self, integration: AwsIntegration) -> bool:
        """Whether it asks STS about an integration, and issues on what it was answered."""
        ...

    def owns(self, run: Run, integration: AwsIntegration | None, pod: MadePod | None) -> bool:
        """Whether it does anything about a Run. `integration` is the one that the Run names, None where there is none.

        The pod is the Run's own: a pod belongs for good to the executor that made it.
        """
        ...

    def is_foreign(self, run: Run, integration: AwsIntegration | None) -> bool:
        """Whether it is for another executor to issue credentials to a Run without a pod."""
        ...

    def takeover_grace(self, run: Run, integration: AwsIntegration | None, pod: MadePod | None) -> timedelta:
        """Grace before it ends a Run that another executor should end. Zero for its own Runs."""
        ...

    def background(self, kube: Kube, look_at_all_runs: Callable[[], None]) -> Coroutine[None, None, None] | None:
        """What else runs for as long as the process does."""
        ...


@dataclass(frozen=True, slots=True)
class RoleContext:
    """What a role's controllers are made of: found out at the start, beside what is configured."""

    role: Role
    settings: Settings
    kube: Kube
    recorder: Recorder
    queue: WorkQueue[Hashable]
    health: Health
    installation: str
    account: str
    """A worker's own user, as the API server names it; empty for the controller."""
    namespaces: tuple[str, ...]
    """Where this process watches; empty: everywhere, and only then namespaces' labels are known."""
