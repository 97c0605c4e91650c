"""The controller: it verifies controller-mode integrations and executes their Runs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.kube.client import Kube
from spacelift_aws.runtime.role import LeaseName, MadePod
from spacelift_aws.settings import Settings

COMPONENT = "spacelift-aws-controller"
"""Its name on Events, and of the Lease that its replicas compete for."""

CONTROLLER = "controller"
"""The executor's name on the pods that the controller makes."""


@dataclass(frozen=True, slots=True)
class ControllerRole:
    """The controller executes the Runs of controller-mode integrations, and those without an integration."""

    namespaces: tuple[str, ...] = ()
    lease: LeaseName | None = None
    worker_first: timedelta = timedelta(minutes=1)
    """Grace that a worker has to end a Run of its own."""
    component: str = COMPONENT
    executor: str = CONTROLLER
    pool: None = None
    message_prefix: str = ""

    def judges(self, integration: AwsIntegration) -> bool:
        """Those in controller mode."""
        return not integration.spec.generate_credentials_in_worker

    def owns(self, run: Run, integration: AwsIntegration | None, pod: MadePod | None) -> bool:
        """Every Run, be it by `takeover_grace` only: its worker may be gone for good."""
        return True

    def is_foreign(self, run: Run, integration: AwsIntegration | None) -> bool:
        """Those that a worker of the Run's own namespace is to execute."""
        in_worker = integration is not None and integration.spec.generate_credentials_in_worker
        return in_worker and integration_key(run)[0] == run.metadata.namespace

    def takeover_grace(self, run: Run, integration: AwsIntegration | None, pod: MadePod | None) -> timedelta:
        """A worker ends first what it began or should begin."""
        foreign = pod.executor != self.executor if pod is not None else self.is_foreign(run, integration)
        return self.worker_first if foreign else timedelta(0)

    def background(self, kube: Kube, look_at_all_runs: Callable[[], None]) -> None:
        """Nothing."""
        return


def controller_role(settings: Settings) -> ControllerRole:
    """What the controller is there for."""
    return ControllerRole(
        namespaces=settings.namespaces,
        lease=LeaseName(settings.namespace, COMPONENT) if settings.namespace else None,
        worker_first=settings.worker_first,
    )
