"""No external ID at all. Allowed, it means that whoever knows the role's ARN can use it: the confused deputy."""

from spacelift_aws.api.awsintegration import ProbeName
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.controllers.awsintegration.messages import as_asked, with_trust
from spacelift_aws.controllers.awsintegration.probes.answers import Finding, ProbeRound
from spacelift_aws.controllers.awsintegration.probes.call import ProbeCall, in_all_forms
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan


def calls(plan: ProbePlan) -> tuple[ProbeCall, ...]:
    """What is asked."""
    return in_all_forms(plan, ProbeName.NONE, None, plan.namespace)


def finding(round: ProbeRound) -> Finding | None:
    """What an allowed one means."""
    allowed = round.allowed(ProbeName.NONE)
    if allowed is None:
        return None
    text = (
        f"STS gave a session without any external ID{as_asked(allowed)}: everybody who may use this operator and knows "
        "the role's ARN could use the role. Every statement of the trust policy that allows `sts:AssumeRole` to this "
        "principal, its account or everyone needs the condition `StringEquals` on `sts:ExternalId` (not "
        "`StringEqualsIfExists`), like this:"
    )
    return "False", Reason.EXTERNAL_ID_NOT_REQUIRED, with_trust(text, round.plan, round.identity)
