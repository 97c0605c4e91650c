"""What the controller, and only it, says of Runs: which are its own, and when they may be issued credentials."""

from datetime import timedelta
from typing import Protocol

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.reasons import CredentialsIssuedReason
from spacelift_aws.api.run import Phase, Run
from spacelift_aws.controller.cache import Cache, ObjectKey
from spacelift_aws.names import external_id
from spacelift_aws.run.grant import Circumstances, grant_for, integration_key
from spacelift_aws.run.observed import Grant, Refusal
from spacelift_aws.run.pods import Pod

CONTROLLER = "controller"
"""The executor's name on the pods that the controller makes."""

WORKER_FIRST = timedelta(minutes=1)
"""How long the controller leaves the end of a waiting worker-mode Run to its worker."""


class Trust(Protocol):
    """What this process knows of the integrations' trust."""

    def may_issue(self, integration: AwsIntegration) -> bool: ...
    def await_verdict(self, key: ObjectKey) -> None: ...
    def why_not(self, integration: AwsIntegration) -> str: ...
    def request(self, key: ObjectKey) -> None: ...


class ControllerPolicy:
    """The controller executes the Runs of controller-mode integrations, and those without an integration."""

    def __init__(self, cache: Cache, trust: Trust, installation: str, home_region: str | None) -> None:
        self._cache = cache
        self._trust = trust
        self._installation = installation
        self._home_region = home_region

    def serves(self, run: Run, pod: Pod | None) -> bool:
        """Whether the controller does anything about a Run: its pods stay its own, waiting Runs get an answer."""
        if pod is not None:
            return pod.executor == CONTROLLER
        return not self._worker_mode(run) or run.status.phase is Phase.QUEUED or run.status.phase.terminal

    def grant(self, run: Run, run_id: str) -> Grant | Refusal:
        """Whether the Run may be issued credentials now."""
        key = integration_key(run)
        integration = self._cache.integrations.get(key)
        if integration is None:
            return grant_for(run, run_id, None, Circumstances({}, False, "", ""))
        if integration.spec.generate_credentials_in_worker:
            return self._for_a_worker(run, key)
        self._trust.await_verdict(key)
        circumstances = Circumstances(
            namespace_labels=self._cache.labels_of(run.metadata.namespace),
            trusted=self._trust.may_issue(integration),
            why_not=self._trust.why_not(integration),
            external_id=external_id(self._installation, *key),
        )
        return grant_for(run, run_id, integration, circumstances)

    def region(self, run: Run) -> str | None:
        """The region whose STS issues the Run's session."""
        integration = self._cache.integrations.get(integration_key(run))
        return (integration.spec.region if integration else None) or self._home_region

    def patience(self, run: Run) -> timedelta:
        """How much later the controller ends a waiting Run that a worker of its namespace should end."""
        ours = not self._worker_mode(run) or integration_key(run)[0] != run.metadata.namespace
        return timedelta(0) if ours else WORKER_FIRST

    def denied(self, run: Run) -> None:
        """STS refused a Run though its integration is trusted: verify that anew."""
        self._trust.request(integration_key(run))

    def _worker_mode(self, run: Run) -> bool:
        integration = self._cache.integrations.get(integration_key(run))
        return integration is not None and integration.spec.generate_credentials_in_worker

    def _for_a_worker(self, run: Run, key: ObjectKey) -> Refusal:
        if key[0] != run.metadata.namespace:
            return Refusal(
                CredentialsIssuedReason.WORKER_MODE_IS_NAMESPACED,
                f"AwsIntegration {key[0]}/{key[1]} issues credentials in workers, which serve Runs of its own "
                "namespace only; create the Run there.",
            )
        return Refusal(
            CredentialsIssuedReason.NO_WORKER,
            f"No worker of pool `{run.spec.worker_pool}` has taken this Run; AwsIntegration {key[1]} issues "
            "credentials in workers only.",
        )
