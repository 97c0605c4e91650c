"""Integrations whose roles trust as a test says, and what is found out about them."""

import json
from collections.abc import Callable
from typing import Any

from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.aws.sts import AssumeRoleRequest
from spacelift_aws.controllers.awsintegration.probes.answers import Answers, ProbeRound
from spacelift_aws.controllers.awsintegration.probes.ask import Prober
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan, plan_of
from spacelift_aws.controllers.awsintegration.verdict import Verdict, judge

OWN = "demo@team@deploy"
PRINCIPAL = "arn:aws:iam::111122223333:role/op"
IDENTITY = Identity(PRINCIPAL, "AROAOP")
POLICY = '{"Version":"2012-10-17","Statement":[]}'

Denied = Failure | StsError | None
Trust = Callable[[AssumeRoleRequest], Denied]


def is_own(request: AssumeRoleRequest) -> bool:
    return request.external_id == OWN


def own_fails(refusal: Denied, others: Denied = Failure.ACCESS_DENIED) -> Trust:
    return lambda request: refusal if is_own(request) else others


def accepts(*accepted: Callable[[str | None], bool]) -> Trust:
    """Open to the integration itself and to whatever else matches."""
    return lambda request: (
        None if is_own(request) or any(match(request.external_id) for match in accepted) else Failure.ACCESS_DENIED
    )


def nothing_sent(external_id: str | None) -> bool:
    return external_id is None


def other_namespace(external_id: str | None) -> bool:
    return external_id is not None and external_id.startswith("demo@") and not external_id.startswith("demo@team@")


def other_installation(external_id: str | None) -> bool:
    return external_id is not None and external_id.endswith("@team@deploy") and external_id != OWN


async def asked_of(kit: Any, trust: Trust, **spec: Any) -> tuple[ProbePlan, Answers, list[AssumeRoleRequest]]:
    plan = plan_of(kit.integration(**spec), "demo")
    assert plan is not None
    sts = kit.sts(trust)
    return plan, await Prober(sts, plan, "team", lambda: False, kit.clock).ask(plan.positions), sts.asked


async def verdict_of(kit: Any, trust: Trust, identity: Identity = IDENTITY, earlier: str = "", **spec: Any) -> Verdict:
    plan, answers, _ = await asked_of(kit, trust, **spec)
    return judge(ProbeRound(plan, identity, answers, earlier))


def statement_in(message: str) -> dict[str, Any]:
    """The first JSON object in a message."""
    document, _ = json.JSONDecoder().raw_decode(message[message.index('{"Effect"') :])
    assert isinstance(document, dict)
    return document


ALLOW = own_fails(None)
