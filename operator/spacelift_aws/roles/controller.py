"""The controller: it verifies controller-mode integrations and executes their Runs."""

from datetime import timedelta

from spacelift_aws.api.reasons import CredentialsIssuedReason
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.awsintegration.side import ControllerSide
from spacelift_aws.controllers.run.authorization import integration_key
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.state import Authorized, Denied
from spacelift_aws.roles.trusting import TrustingRole
from spacelift_aws.runtime.role import LeaseName, Role, RoleContext
from spacelift_aws.settings import Settings

COMPONENT = "spacelift-aws-controller"
"""Its name on Events, and of the Lease that its replicas compete for."""

CONTROLLER = "controller"
"""The executor's name on the pods that the controller makes."""


class ControllerPolicy(TrustingRole):
    """The controller executes the Runs of controller-mode integrations, and those without an integration."""

    def __init__(self, around: RoleContext, worker_first: timedelta) -> None:
        """`worker_first`: how long the controller leaves the end of a waiting worker-mode Run to its worker."""
        super().__init__(around)
        self._worker_first = worker_first

    def owns(self, run: Run, pod: Pod | None) -> bool:
        """Whether the controller does anything about a Run: not while a worker's pod is there.

        It is the last to end a Run whose pod is gone, be it by `takeover_grace` only: its worker may be gone for good.
        """
        return pod is None or pod.gone or pod.executor == CONTROLLER

    def grant(self, run: Run, run_id: str) -> Authorized | Denied:
        """Whether the Run may be issued credentials now."""
        integration = self.integration(run)
        if integration is None:
            return self.no_integration(run)
        if integration.spec.generate_credentials_in_worker:
            return self._for_a_worker(run)
        return self.by_trust(run, run_id, integration)

    def takeover_grace(self, run: Run, pod: Pod | None) -> timedelta:
        """How much later the controller ends a Run that a worker of its namespace should end."""
        if pod is not None:
            return timedelta(0) if pod.executor == CONTROLLER else self._worker_first
        return self._worker_first if self.is_foreign(run) else timedelta(0)

    def is_foreign(self, run: Run) -> bool:
        """Whether a worker of the Run's namespace is to issue its credentials."""
        return self._worker_mode(run) and integration_key(run)[0] == run.metadata.namespace

    def own_account(self, run: Run) -> str | None:
        """The controller's own account has no AWS role of a tenant's to lend, and its namespace no Runs."""
        return None

    def _worker_mode(self, run: Run) -> bool:
        integration = self.integration(run)
        return integration is not None and integration.spec.generate_credentials_in_worker

    def _for_a_worker(self, run: Run) -> Denied:
        namespace, name = integration_key(run)
        if namespace != run.metadata.namespace:
            return Denied(
                CredentialsIssuedReason.WORKER_MODE_IS_NAMESPACED,
                f"AwsIntegration {namespace}/{name} issues credentials in workers, which serve Runs of its own "
                "namespace only; create the Run there.",
            )
        return Denied(
            CredentialsIssuedReason.NO_WORKER,
            f"No worker of pool `{run.spec.worker_pool}` has taken this Run; AwsIntegration {name} issues "
            "credentials in workers only.",
        )


def controller_role(settings: Settings) -> Role:
    """What the controller is there for."""
    return Role(
        component=COMPONENT,
        executor=CONTROLLER,
        namespaces=settings.namespaces,
        side=ControllerSide,
        policy=lambda around: ControllerPolicy(around, settings.worker_first),
        lease=LeaseName(settings.namespace, COMPONENT) if settings.namespace else None,
    )
