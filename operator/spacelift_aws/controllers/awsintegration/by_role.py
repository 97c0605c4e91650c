"""What of verifying an integration depends on whose process this is: the controller's, or a worker pool's. Pure.

The controller verifies controller-mode integrations with all probes and writes the conditions of all integrations. A
pool verifies worker-mode integrations under its own identity and writes its own entry of `status.workers`; there only
the positive probe decides, because between a tenant's identity and its own role no external ID is owed.
"""

from spacelift_aws.api.awsintegration import AwsIntegration, AwsIntegrationStatus
from spacelift_aws.controllers.awsintegration import pool, status
from spacelift_aws.controllers.awsintegration.history import History
from spacelift_aws.controllers.awsintegration.probes.answers import ProbeRound
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan, external_id_of, plan_of
from spacelift_aws.controllers.awsintegration.status import StatusInput
from spacelift_aws.controllers.awsintegration.verdict import Verdict, judge, judge_own
from spacelift_aws.runtime.role import Role


def writes_about(role: Role, integration: AwsIntegration) -> bool:
    """Whether anything of this integration's status is this process's to write."""
    return role.pool is None or role.judges(integration)


def plan_for(role: Role, integration: AwsIntegration, installation: str) -> ProbePlan | None:
    """What to ask STS; None where there is nothing for this process to ask."""
    return plan_of(integration, installation) if role.judges(integration) else None


def remembered(role: Role, integration: AwsIntegration, plan: ProbePlan, installation: str) -> History:
    """What an earlier process of this role left in the status."""
    if role.pool is not None:
        return pool.remembered(integration, plan, role.pool)
    return status.remembered(integration, plan, external_id_of(integration, installation))


def verdict_on(role: Role, round: ProbeRound) -> Verdict:
    """What a round means."""
    return judge(round) if role.pool is None else judge_own(round)


def desired_status(role: Role, given: StatusInput) -> AwsIntegrationStatus:
    """The whole status, with this process's part as it should be."""
    return status.desired_status(given) if role.pool is None else pool.desired_status(given, role.pool)


def displayed_verdict(role: Role, given: StatusInput) -> Verdict:
    """What this process's part of the status says."""
    return status.displayed_verdict(given) if role.pool is None else pool.displayed_verdict(given)
