"""All in which the controller and a worker differ."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.controllers.awsintegration.side import Side
from spacelift_aws.controllers.run.ports import Policy
from spacelift_aws.kube.client import Kube
from spacelift_aws.runtime.store import ObjectKey, Stores


class Trust(Protocol):
    """What this process knows of the integrations' trust."""

    def may_issue(self, integration: AwsIntegration) -> bool: ...
    def await_verdict(self, key: ObjectKey) -> None: ...
    def why_not(self, integration: AwsIntegration) -> str: ...
    def request(self, key: ObjectKey) -> None: ...


@dataclass(frozen=True, slots=True)
class RoleContext:
    """What a policy decides by."""

    stores: Stores
    trust: Trust
    installation: str
    home_region: str | None
    account: str
    """The user that the API server takes this process for; asked only where it acts in given namespaces."""
    namespaces: tuple[str, ...]
    """Where it watches; empty: everywhere, and only then namespaces' labels are known."""


@dataclass(frozen=True, slots=True)
class LeaseName:
    """The Lease that replicas of the same kind compete for."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Role:
    """What a process is there for."""

    component: str
    """Its name on Events and in logs."""
    executor: str
    """Its name on the pods that it makes."""
    namespaces: tuple[str, ...]
    """Where it watches, lists and acts; empty: everywhere."""
    side: Callable[[str], Side]
    """Which integrations it verifies and where it reports; made from the installation's name."""
    policy: Callable[[RoleContext], Policy]
    """Which Runs it executes."""
    lease: LeaseName | None = None
    """Without one it acts at once."""
    background: Callable[[Kube, Callable[[], None]], Coroutine[None, None, None]] | None = None
    """What else runs for as long as the process does; it is given the API and a way to have all Runs looked at."""
