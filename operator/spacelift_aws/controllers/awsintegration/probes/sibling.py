"""The external ID of a namespace that does not exist. Allowed, it means a wildcard over namespaces."""

from typing import Final

from spacelift_aws.api.awsintegration import ProbeName
from spacelift_aws.controllers.awsintegration.probes.answers import ProbeRound
from spacelift_aws.controllers.awsintegration.probes.call import ProbeCall, in_all_forms
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan
from spacelift_aws.names import external_id

_NO_NAMESPACE: Final = "this-namespace-cannot-exist-because-its-name-is-longer-than-63-characters"


def namespace_of(plan: ProbePlan) -> str:
    """A name that a pattern matches whether it fixes the beginning or the end of this namespace's."""
    return f"{plan.namespace}-{_NO_NAMESPACE}-{plan.namespace}"


def calls(plan: ProbePlan) -> tuple[ProbeCall, ...]:
    """What is asked."""
    namespace = namespace_of(plan)
    return in_all_forms(plan, ProbeName.SIBLING, external_id(plan.installation, namespace, plan.name), namespace)


def accepted(round: ProbeRound) -> str | None:
    """Whose external ID was accepted, if it was."""
    sent = external_id(round.plan.installation, namespace_of(round.plan), round.plan.name)
    return f"another namespace ({sent})" if round.allowed(ProbeName.SIBLING) else None
