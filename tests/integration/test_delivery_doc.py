"""The policies of docs/delivery.md do what it says, by an emulated AWS that evaluates policies."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws import Account, Aws, Identity, start_aws

DOC = Path(__file__).parents[2] / "docs" / "delivery.md"
POLICIES: list[str] = re.findall(r"```json\n(.*?)```", DOC.read_text(), re.DOTALL)
RUN = "01M85C85X87P992KB9A3MRQFZD"
ROLE = "deploy"


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with start_aws() as aws:
        yield aws


@pytest.fixture(scope="module")
def customer(aws: Aws) -> Account:
    return aws.account("222222222222")


@pytest.fixture(scope="module")
def operator(aws: Aws, customer: Account) -> Identity:
    """Who may assume the role, which may do anything."""
    anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    vendor = aws.account("111111111111")
    user = vendor.create_user("operator")
    vendor.put_user_policy("operator", anything)
    trust = {"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "sts:AssumeRole"}
    customer.create_role(ROLE, {"Version": "2012-10-17", "Statement": [trust]})
    customer.put_role_policy(ROLE, anything)
    return user


def session(aws: Aws, operator: Identity, name: str, **parameters: Any) -> Identity:
    return aws.assume_role(operator, f"arn:aws:iam::222222222222:role/{ROLE}", name, **parameters)


def may(aws: Aws, identity: Identity) -> bool:
    try:
        aws.client("iam", identity).list_roles()
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


def test_a_session_policy_makes_credentials_worthless_outside_the_network(aws: Aws, operator: Identity) -> None:
    _, network = POLICIES
    assert len(network) <= 2000, "what an AwsIntegration takes"
    assert not may(aws, session(aws, operator, RUN, Policy=network))
    at_home = network.replace("203.0.113.0/24", "127.0.0.0/8")
    assert may(aws, session(aws, operator, RUN, Policy=at_home))


def test_one_runs_sessions_are_revoked_and_nobody_elses(aws: Aws, customer: Account, operator: Identity) -> None:
    revoke, _ = POLICIES
    revoked, other = session(aws, operator, RUN), session(aws, operator, f"{RUN[:-1]}X")
    assert may(aws, revoked)
    customer.put_role_policy(ROLE, json.loads(revoke), f"revoke-{RUN}")
    assert not may(aws, revoked)
    assert not may(aws, session(aws, operator, RUN)), "nor what the run is issued later"
    assert may(aws, other)
