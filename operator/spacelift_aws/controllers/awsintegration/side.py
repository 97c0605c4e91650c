"""Whose view of an integration's trust it is: the controller's, or a worker pool's."""

from typing import Protocol

from spacelift_aws.api.awsintegration import AwsIntegration, AwsIntegrationStatus
from spacelift_aws.controllers.awsintegration import pool, status
from spacelift_aws.controllers.awsintegration.history import History
from spacelift_aws.controllers.awsintegration.question import TrustQuestion, external_id_of, question_of
from spacelift_aws.controllers.awsintegration.status import Knowledge
from spacelift_aws.controllers.awsintegration.verdict import Evidence, Verdict, judge, judge_own


class Side(Protocol):
    """What differs between those who verify."""

    def concerns(self, integration: AwsIntegration) -> bool:
        """Whether anything of this integration's status is this side's to write."""
        ...

    def question(self, integration: AwsIntegration) -> TrustQuestion | None:
        """What to ask STS; None where there is nothing for this side to ask."""
        ...

    def remembered(self, integration: AwsIntegration, question: TrustQuestion) -> History:
        """What an earlier process of this side left in the status."""
        ...

    def judge(self, evidence: Evidence) -> Verdict:
        """What a round means."""
        ...

    def desired_status(self, known: Knowledge) -> AwsIntegrationStatus:
        """The whole status, with this side's part as it should be."""
        ...

    def displayed_verdict(self, known: Knowledge) -> Verdict:
        """What this side's part of the status says."""
        ...


class ControllerSide:
    """The controller verifies controller-mode integrations, and writes the conditions of all."""

    def __init__(self, installation: str) -> None:
        self._installation = installation

    def concerns(self, integration: AwsIntegration) -> bool:
        return True

    def question(self, integration: AwsIntegration) -> TrustQuestion | None:
        in_worker = integration.spec.generate_credentials_in_worker
        return None if in_worker else question_of(integration, self._installation)

    def remembered(self, integration: AwsIntegration, question: TrustQuestion) -> History:
        return status.remembered(integration, question, external_id_of(integration, self._installation))

    def judge(self, evidence: Evidence) -> Verdict:
        return judge(evidence)

    def desired_status(self, known: Knowledge) -> AwsIntegrationStatus:
        return status.desired_status(known)

    def displayed_verdict(self, known: Knowledge) -> Verdict:
        return status.displayed_verdict(known)


class PoolSide:
    """A pool verifies worker-mode integrations under its own identity, and writes its own entry of `workers`.

    Only the positive probe decides: between a tenant's identity and its own role no external ID is owed.
    """

    def __init__(self, installation: str, pool_name: str) -> None:
        self._installation = installation
        self._pool = pool_name

    def concerns(self, integration: AwsIntegration) -> bool:
        return integration.spec.generate_credentials_in_worker

    def question(self, integration: AwsIntegration) -> TrustQuestion | None:
        in_worker = integration.spec.generate_credentials_in_worker
        return question_of(integration, self._installation) if in_worker else None

    def remembered(self, integration: AwsIntegration, question: TrustQuestion) -> History:
        return pool.remembered(integration, question, self._pool)

    def judge(self, evidence: Evidence) -> Verdict:
        return judge_own(evidence)

    def desired_status(self, known: Knowledge) -> AwsIntegrationStatus:
        return pool.desired_status(known, self._pool)

    def displayed_verdict(self, known: Knowledge) -> Verdict:
        return pool.displayed_verdict(known)
