"""What the controller's and the workers' policies share."""

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.awsintegration.question import external_id_of
from spacelift_aws.controllers.run.authorization import (
    Circumstances,
    authorize,
    integration_key,
    not_found,
    not_watched,
)
from spacelift_aws.controllers.run.state import Authorized, Denied
from spacelift_aws.runtime.role import RoleContext


class TrustingRole:
    """Issues where this process itself has verified the trust."""

    message_prefix = ""

    def __init__(self, around: RoleContext) -> None:
        self._around = around

    def region(self, run: Run) -> str | None:
        """The region whose STS issues the Run's session."""
        integration = self.integration(run)
        return (integration.spec.region if integration else None) or self._around.home_region

    def denied(self, run: Run) -> None:
        """STS refused a Run though its integration is trusted: verify that anew."""
        self._around.trust.request(integration_key(run))

    def integration(self, run: Run) -> AwsIntegration | None:
        """The integration that a Run names."""
        return self._around.stores.integrations.get(integration_key(run))

    def no_integration(self, run: Run) -> Denied:
        """Why there is none: it does not exist, or nobody looks where it would be."""
        watched = not self._around.namespaces or integration_key(run)[0] in self._around.namespaces
        return not_found(run) if watched else not_watched(run)

    def by_trust(self, run: Run, run_id: str, integration: AwsIntegration) -> Authorized | Denied:
        """Whether the Run may be issued credentials, as this process knows its integration."""
        around = self._around
        around.trust.await_verdict(integration_key(run))
        circumstances = Circumstances(
            namespace_labels=None if around.namespaces else around.stores.labels_of(run.metadata.namespace),
            trusted=around.trust.may_issue(integration),
            why_not=around.trust.why_not(integration),
            external_id=external_id_of(integration, around.installation),
        )
        return authorize(run, run_id, integration, circumstances)
