"""The external ID of an installation that does not exist. Allowed, it means a wildcard over installations."""

from typing import Final

from spacelift_aws.api.awsintegration import ProbeName
from spacelift_aws.controllers.awsintegration.probes.answers import ProbeRound
from spacelift_aws.controllers.awsintegration.probes.call import ProbeCall, in_all_forms
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan
from spacelift_aws.names import external_id

_NO_INSTALLATION: Final = "this-installation-cannot-exist-because-its-name-is-longer-than-63-characters"


def calls(plan: ProbePlan) -> tuple[ProbeCall, ...]:
    """What is asked. The namespace is this one's: it may well exist in another cluster."""
    return in_all_forms(plan, ProbeName.OTHER_INSTALLATION, _sent(plan), plan.namespace)


def accepted(round: ProbeRound) -> str | None:
    """Whose external ID was accepted, if it was."""
    return f"another installation ({_sent(round.plan)})" if round.allowed(ProbeName.OTHER_INSTALLATION) else None


def _sent(plan: ProbePlan) -> str:
    installation = f"{plan.installation}-{_NO_INSTALLATION}-{plan.installation}"
    return external_id(installation, plan.namespace, plan.name)
