"""The emulated STS and the model of IAM's evaluation, asked the same about the same trust policies."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.aws import Account, Aws, Identity, start_aws
from sandbox.iam import AssumeRole, Policy, denied_action

pytestmark = pytest.mark.slow

OWN = "acme@team-a@web"
TAGS = (("run", "01M8HV3T5R0123456789ABCDEF"), ("stack", ""), ("space", "team-a"))
ASKED = [
    (external_id, tags)
    for external_id in (OWN, None, "acme@team-b@web", "acm+@team-a@web", "acme@team-a-x-team-a@web")
    for tags in ((), TAGS)
]


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with start_aws() as running:
        yield running


@pytest.fixture(scope="module")
def operator(aws: Aws) -> Identity:
    account = aws.account("111111111111")
    identity = account.create_user("operator", "/spacelift/")
    statement = {"Effect": "Allow", "Action": "sts:*", "Resource": "*"}
    account.put_user_policy("operator", {"Version": "2012-10-17", "Statement": [statement]})
    return identity


@pytest.fixture(scope="module")
def customer(aws: Aws, operator: Identity) -> Account:
    account = aws.account("222222222222")
    account.create_role("web", {"Version": "2012-10-17", "Statement": []})
    return account


IDS = st.sampled_from([OWN, "acme@*", "*@web", "acme@team-?@web", "????@team-a@web", "acme@team-b@web", "*"])
CONDITIONS = st.one_of(
    st.builds(
        lambda operator, given: {operator: {"sts:ExternalId": given}},
        st.sampled_from(
            [
                "StringEquals",
                "StringLike",
                "StringNotEquals",
                "StringNotLike",
                "StringEqualsIfExists",
                "StringLikeIfExists",
                "ForAnyValue:StringLike",
                "ForAllValues:StringLike",
                "StringEqualsIgnoreCase",
            ]
        ),
        st.lists(IDS, min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, text: {"Null": {key: text}},
        st.sampled_from(["sts:ExternalId", "aws:RequestTag/run"]),
        st.sampled_from(["true", "false"]),
    ),
    st.builds(
        lambda operator, text: {operator: {"aws:RequestTag/space": text}},
        st.sampled_from(["StringEquals", "StringLike", "StringLikeIfExists", "StringNotEquals"]),
        st.sampled_from(["team-a", "team-?", "*"]),
    ),
    st.sampled_from(["0*", "run-*"]).map(lambda text: {"StringLike": {"sts:RoleSessionName": text}}),
)
STATEMENTS = st.builds(
    lambda effect, principal, action, first, second: {
        "Effect": effect,
        "Principal": {"AWS": principal},
        "Action": action,
        "Condition": first if first.keys() & second.keys() else {**first, **second},
    },
    st.sampled_from(["Allow", "Allow", "Allow", "Deny"]),
    st.sampled_from(
        ["arn:aws:iam::111111111111:user/spacelift/operator", "111111111111", "arn:aws:iam::111111111111:root", "*"]
    ),
    st.sampled_from([["sts:AssumeRole", "sts:TagSession"], "sts:AssumeRole", "sts:*"]),
    CONDITIONS,
    CONDITIONS,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statements=st.lists(STATEMENTS, min_size=1, max_size=3))
def test_both_let_in_and_deny_the_same(
    aws: Aws, operator: Identity, customer: Account, statements: list[Policy]
) -> None:
    trust = {"Version": "2012-10-17", "Statement": statements}
    customer.set_trust("web", trust)
    for external_id, tags in ASKED:
        asked = {"ExternalId": external_id} if external_id is not None else {}
        more = {"Tags": [{"Key": key, "Value": value} for key, value in tags]} if tags else {}
        try:
            aws.assume_role(operator, "arn:aws:iam::222222222222:role/web", TAGS[0][1], **asked, **more)
            denied = None
        except ClientError as error:
            denied = str(error.response["Error"]["Message"]).split("perform: ")[1].split()[0]
        expected = denied_action(trust, AssumeRole(operator.arn, TAGS[0][1], external_id, tags))
        assert denied == expected, (external_id, tags)
