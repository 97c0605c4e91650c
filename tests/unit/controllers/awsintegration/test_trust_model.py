"""Generated trust policies, judged by brute force over who could ask, and by the operator from what STS answers.

STS is played by `sandbox.iam`. Nobody who is not named in a policy may get in where the operator says Verified; it may
err the other way. A place that is named by an exact value, or by a pattern that does not match this integration's own
external ID, is what no caller can find out.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.iam import AssumeRole, denied_action
from spacelift_aws.aws.errors import Failure
from spacelift_aws.aws.identity import Identity
from spacelift_aws.aws.sts import AssumeRoleRequest
from spacelift_aws.controllers.awsintegration.probes.answers import ProbeRound
from spacelift_aws.controllers.awsintegration.probes.ask import Prober
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan, plan_of
from spacelift_aws.controllers.awsintegration.verdict import Verdict, judge

OPERATOR = "arn:aws:iam::111122223333:role/op"
RUN_ID = "01M8HV3T5R0123456789ABCDEF"
OWN = ("demo", "team", "deploy")
_KINDS = {"sts:TagSession": Failure.TAG_SESSION_DENIED, "sts:SetSourceIdentity": Failure.SOURCE_IDENTITY_DENIED}

Policy = dict[str, Any]


def call_of(request: AssumeRoleRequest) -> AssumeRole:
    return AssumeRole(OPERATOR, request.session_name, request.external_id, request.tags, request.source_identity)


def verdict_on(kit: Any, policy: Policy, plan: ProbePlan) -> Verdict:
    """What the operator says after one round and all spellings."""

    def trust(request: AssumeRoleRequest) -> Failure | None:
        action = denied_action(policy, call_of(request))
        return None if action is None else _KINDS.get(action, Failure.ACCESS_DENIED)

    prober = Prober(kit.sts(trust), plan, "team", lambda: False, kit.clock)
    return judge(ProbeRound(plan, Identity(OPERATOR, "AROAOP"), asyncio.run(prober.ask(plan.positions))))


def others() -> list[tuple[str, str, str]]:
    """Places that are not this one's: near it and far from it, in its own installation and in others."""
    installation, namespace, name = OWN
    near = {f"{namespace}x", f"x{namespace}", "mallory", "te", "tm", "te-am", "tteam", "teamm", "a", "te-x-am"}
    near |= {namespace[:at] + "x" + namespace[at + 1 :] for at in range(len(namespace))}
    clusters = {"demox", "xdemo", "other", "de-mo"} | {
        installation[:at] + "x" + installation[at + 1 :] for at in range(len(installation))
    }
    names = (name, "else", "deplox", "x")
    within = [(installation, other, any_name) for other in near for any_name in names]
    return within + [
        (other, space, any_name) for other in clusters for space in (namespace, "mallory") for any_name in names
    ]


OTHERS = others()


def gets_in(policy: Policy, plan: ProbePlan, place: tuple[str, str, str]) -> bool:
    """Whether a Run of an integration like this one, but in that place, would be given a session."""
    tags = (("run", RUN_ID), ("stack", plan.stack or ""), ("space", place[1])) if plan.tagged else ()
    identity = RUN_ID if plan.source_identity else None
    return denied_action(policy, AssumeRole(OPERATOR, RUN_ID, "@".join(place), tags, identity)) is None


def plan_for(kit: Any, **spec: Any) -> ProbePlan:
    plan = plan_of(kit.integration(**spec), "demo")
    assert plan is not None
    return plan


# Policies


@st.composite
def patterns_of(draw: st.DrawFn, text: str) -> str:
    """A pattern that matches the text: some characters become `?`, some stretches, also empty ones, become `*`."""
    characters = [draw(st.sampled_from([character] * 6 + ["?"])) for character in text]
    for _ in range(draw(st.integers(0, 2))):
        begin = draw(st.integers(0, len(characters)))
        end = draw(st.integers(begin, len(characters)))
        characters[begin:end] = ["*"]
    return "".join(characters)


def external_ids() -> st.SearchStrategy[Policy]:
    own = "@".join(OWN)
    exact = st.sampled_from([own, "somebody@else@entirely"])
    value = st.one_of(st.just(own), patterns_of(own), exact)
    values = st.lists(value, min_size=1, max_size=2)
    equals = st.sampled_from(
        ["StringEquals", "StringEqualsIgnoreCase", "StringEqualsIfExists", "ForAnyValue:StringEquals"]
    )
    like = st.sampled_from(
        ["StringLike", "StringLikeIfExists", "ForAllValues:StringLike", "ForAnyValue:StringLike", "ArnLike"]
    )
    return st.one_of(
        st.builds(lambda operator: {operator: {"sts:ExternalId": own}}, equals),
        st.builds(lambda operator, given: {operator: {"sts:ExternalId": given}}, like, values),
        st.sampled_from(["true", "false"]).map(lambda text: {"Null": {"sts:ExternalId": text}}),
        st.just({"StringNotEquals": {"sts:ExternalId": "somebody@else@entirely"}}),
        st.just({}),
        st.just({"StringLike": {"sts:ExternalId": "demo@${aws:RequestTag/space}@deploy"}}),
    )


def besides() -> st.SearchStrategy[Policy]:
    space = st.one_of(st.just("team"), patterns_of("team"))
    return st.one_of(
        st.just({}),
        space.map(lambda text: {"StringLike": {"aws:RequestTag/space": text}}),
        space.map(lambda text: {"StringLikeIfExists": {"aws:RequestTag/space": text}}),
        st.sampled_from(["true", "false"]).map(lambda text: {"Null": {"aws:RequestTag/run": text}}),
        st.sampled_from(["true", "false"]).map(lambda text: {"Null": {"sts:SourceIdentity": text}}),
        st.just({"StringNotEquals": {"aws:RequestTag/space": "team"}}),
        st.just({"ForAllValues:StringEquals": {"aws:TagKeys": ["run", "stack", "space"]}}),
        st.sampled_from(["0*", "?" * 26, "trust-probe-*", "*"]).map(
            lambda text: {"StringLike": {"sts:RoleSessionName": text}}
        ),
        st.just({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
        st.just({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}),
        st.just({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/*"}}),
    )


def together(*conditions: Policy) -> Policy:
    """All of these conditions at once; of the same operator and key the last counts."""
    result: dict[str, dict[str, Any]] = {}
    for condition in conditions:
        for operator, keys in condition.items():
            result.setdefault(operator, {}).update(keys)
    return result


def statements() -> st.SearchStrategy[Policy]:
    principals = st.sampled_from([OPERATOR, "111122223333", "arn:aws:iam::111122223333:root", "*"])
    every = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    actions = st.sampled_from([every, every, "sts:*", "sts:AssumeRole", every[1:]])
    return st.builds(
        lambda effect, principal, action, *conditions: {
            "Effect": effect,
            "Principal": {"AWS": principal},
            "Action": action,
            "Condition": together(*conditions),
        },
        st.sampled_from(["Allow"] * 5 + ["Deny"]),
        principals,
        actions,
        external_ids(),
        besides(),
        besides(),
    )


POLICIES = st.lists(statements(), min_size=1, max_size=3).map(lambda made: {"Statement": made})
SPECS = st.sampled_from(
    [{}, {"tagAssumeRole": True}, {"sourceIdentity": True}, {"tagAssumeRole": True, "sourceIdentity": True}]
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(policy=POLICIES, spec=SPECS)
def test_nobody_else_gets_in_where_the_operator_says_verified(kit: Any, policy: Policy, spec: dict[str, Any]) -> None:
    plan = plan_for(kit, **spec)
    if verdict_on(kit, policy, plan).is_good:
        assert gets_in(policy, plan, OWN)
        assert [place for place in OTHERS if gets_in(policy, plan, place)] == []


def statement(**condition: Any) -> Policy:
    return {
        "Effect": "Allow",
        "Principal": {"AWS": OPERATOR},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": condition,
    }


RIGHT = {"StringEquals": {"sts:ExternalId": "demo@team@deploy"}}


@pytest.mark.parametrize(
    ("spec", "conditions"),
    [
        pytest.param({}, [RIGHT], id="the statement of the status"),
        pytest.param({"tagAssumeRole": True}, [RIGHT], id="with tags"),
        pytest.param({}, [{"StringLike": {"sts:ExternalId": "demo@team@*"}}], id="names of one's own namespace"),
        pytest.param({}, [{**RIGHT, "StringLike": {"sts:RoleSessionName": "0*"}}], id="session names of Runs"),
        pytest.param({}, [{"StringEqualsIgnoreCase": {"sts:ExternalId": "Demo@Team@Deploy"}}], id="in any case"),
    ],
)
def test_roles_that_let_nobody_else_in_are_verified(kit: Any, spec: dict[str, Any], conditions: list[Policy]) -> None:
    policy = {"Statement": [statement(**condition) for condition in conditions]}
    plan = plan_for(kit, **spec)
    assert not any(gets_in(policy, plan, place) for place in OTHERS)
    assert verdict_on(kit, policy, plan).is_good


@pytest.mark.parametrize(
    ("conditions", "who"),
    [
        pytest.param(
            [RIGHT, {"StringEquals": {"sts:ExternalId": "demo@mallory@x"}}],
            ("demo", "mallory", "x"),
            id="a second value",
        ),
        pytest.param(
            [RIGHT, {"StringLike": {"sts:ExternalId": "demo@mal*@x"}}],
            ("demo", "mallory", "x"),
            id="a pattern that does not match this integration's own ID",
        ),
    ],
)
def test_what_no_caller_can_find_out(kit: Any, conditions: list[Policy], who: tuple[str, str, str]) -> None:
    """The limits in docs/trust.md. If a probe can see one of these, it goes from that page."""
    policy = {"Statement": [statement(**condition) for condition in conditions]}
    plan = plan_for(kit)
    assert gets_in(policy, plan, who)
    assert verdict_on(kit, policy, plan).is_good


def test_an_integration_that_sends_tags_sees_what_one_without_does_not(kit: Any) -> None:
    """Each is judged by what it sends itself: who could use the hole is not verified, and gets no session from here."""
    policy = {
        "Statement": [
            statement(**RIGHT),
            statement(StringLike={"sts:ExternalId": "demo@*", "aws:RequestTag/space": "*"}),
        ]
    }
    assert verdict_on(kit, policy, plan_for(kit)).is_good
    elsewhere = replace(plan_for(kit, tagAssumeRole=True), namespace="mallory", external_id="demo@mallory@deploy")
    assert gets_in(policy, elsewhere, ("demo", "mallory", "deploy"))
    assert verdict_on(kit, policy, elsewhere).reason == "OtherExternalIdAccepted"


def test_a_wildcard_that_the_namespaces_tag_makes_narrow_is_refused_though_nobody_else_gets_in(kit: Any) -> None:
    """It errs towards not verified: a `*` over a separator looks like a `?` in its place."""
    policy = {"Statement": [statement(StringLike={"sts:ExternalId": "demo@*", "aws:RequestTag/space": "team"})]}
    plan = plan_for(kit, tagAssumeRole=True)
    assert not any(gets_in(policy, plan, place) for place in OTHERS)
    assert verdict_on(kit, policy, plan).reason == "OtherExternalIdAccepted"
