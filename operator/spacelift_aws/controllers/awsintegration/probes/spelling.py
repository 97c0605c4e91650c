"""This integration's external ID with one character replaced by one that no name contains.

Only a `?` at that place lets it in, and with it every name of the same length. A pattern that matches the whole ID and
has a `*` is found by the probes Sibling and OtherInstallation, unless the `*` stands for names within the namespace:
`<installation>@<namespace>@*` lets nobody else in. So where a place in the name is let in, a longer name is tried too.
"""

from typing import Final

from spacelift_aws.api.awsintegration import ProbeName
from spacelift_aws.controllers.awsintegration.probes.answers import ProbeRound
from spacelift_aws.controllers.awsintegration.probes.call import ProbeCall, in_all_forms
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan
from spacelift_aws.names import external_id

_IN_NO_NAME: Final = "+"
"""STS takes it in an external ID and in a tag; names of Kubernetes and of installations never contain it."""
_NEITHER: Final = "="
"""Where an ID that the spec chose has a plus sign."""
_NAMESPACE, _NAME = 1, 2


def calls(plan: ProbePlan, position: int) -> tuple[ProbeCall, ...]:
    """What is asked about one place."""
    sent = _replaced(plan, position)
    space = sent.split("@")[_NAMESPACE] if _is_in_namespace(plan, position) else plan.namespace
    return in_all_forms(plan, ProbeName.SPELLING, sent, space, position)


def any_name_calls(plan: ProbePlan) -> tuple[ProbeCall, ...]:
    """A name of another length in the same namespace. Allowed, it means a `*` there, which is harmless."""
    sent = external_id(plan.installation, plan.namespace, f"{plan.name}{_IN_NO_NAME}{plan.name}")
    return in_all_forms(plan, ProbeName.SPELLING, sent, plan.namespace, len(plan.external_id))


def is_in_name(plan: ProbePlan, position: int) -> bool:
    """Whether a place lies in the integration's name."""
    return plan.part_at(position) == _NAME


def accepted(round: ProbeRound) -> str | None:
    """Whose external ID was accepted, if it was."""
    allowed = round.allowed(ProbeName.SPELLING)
    if allowed is None or allowed.position is None:
        return None
    plan, position = round.plan, allowed.position
    return (
        f"any name of the same length ({_replaced(plan, position)}: the trust policy has a `?` instead of character "
        f"{position + 1}, `{plan.external_id[position]}`)"
    )


def _replaced(plan: ProbePlan, position: int) -> str:
    own = plan.external_id
    instead = _NEITHER if own[position] == _IN_NO_NAME else _IN_NO_NAME
    return own[:position] + instead + own[position + 1 :]


def _is_in_namespace(plan: ProbePlan, position: int) -> bool:
    return plan.part_at(position) == _NAMESPACE and plan.external_id[position] != "@"
