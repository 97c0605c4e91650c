"""What the emulated AWS evaluates and what not, and the fault proxy in front of it, seen through boto3."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox import faults
from sandbox.aws import Account, Aws, Identity, Policy, aws_cli, client, start_aws
from sandbox.faultproxy import FaultProxy
from sandbox.faults import Match, Rule
from sandbox.process import wait_until

pytestmark = pytest.mark.slow

OWN = "acme@team-a@web"
SENT = {
    "own": OWN,
    "none": None,
    "sibling": "acme@team-a-x-team-a@web",
    "other": "acme-x-acme@team-a@web",
    "upper": OWN.upper(),
}


def policy(*actions: str, effect: str = "Allow") -> Policy:
    return {"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": list(actions), "Resource": "*"}]}


def trust(principal: str, *actions: str, condition: dict[str, Any] | None = None) -> Policy:
    statement: dict[str, Any] = {"Effect": "Allow", "Principal": {"AWS": principal}}
    statement["Action"] = list(actions or ["sts:AssumeRole"])
    if condition:
        statement["Condition"] = condition
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with start_aws() as running:
        yield running


@pytest.fixture(scope="module")
def vendor(aws: Aws) -> Account:
    return aws.account("111111111111")


@pytest.fixture(scope="module")
def customer(aws: Aws) -> Account:
    return aws.account("222222222222")


@pytest.fixture(scope="module")
def operator(vendor: Account) -> Identity:
    identity = vendor.create_user("operator", "/spacelift/")
    vendor.put_user_policy("operator", policy("sts:AssumeRole"))
    return identity


@pytest.fixture
def role(request: pytest.FixtureRequest, customer: Account, operator: Identity) -> Iterator[str]:
    """A role that trusts the operator and may do everything; its name is `role_name`."""
    arn = customer.create_role("web", trust(operator.arn), "/team/a/")
    customer.put_role_policy("web", policy("*"))
    yield arn
    customer.delete_role("web")


@pytest.fixture
def proxy(aws: Aws) -> Iterator[FaultProxy]:
    with aws.faults() as running:
        yield running


def outcome(call: Callable[..., object], *arguments: object, **parameters: object) -> str:
    """`ok`, or the code of the error that came."""
    try:
        call(*arguments, **parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def refusal(call: Callable[..., object], *arguments: object, **parameters: object) -> tuple[str, str]:
    """(code, message) of the error that must come."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"StringEquals": {"sts:ExternalId": OWN}}, "own"),
        (None, "own none sibling other upper"),
        ({"StringEqualsIfExists": {"sts:ExternalId": OWN}}, "own none"),
        ({"StringLike": {"sts:ExternalId": "*"}}, "own sibling other upper"),
        ({"StringLike": {"sts:ExternalId": "?*"}}, "own sibling other upper"),
        ({"StringLike": {"sts:ExternalId": "acme@*"}}, "own sibling"),
        ({"StringLike": {"sts:ExternalId": "acme@team*@web"}}, "own sibling"),
        ({"StringLike": {"sts:ExternalId": "acme@team-a@*"}}, "own"),
        ({"StringLike": {"sts:ExternalId": "*@team-a@web"}}, "own other"),
        ({"StringLike": {"sts:ExternalId": "*@web"}}, "own sibling other"),
        ({"StringEqualsIgnoreCase": {"sts:ExternalId": OWN}}, "own upper"),
        ({"StringNotEquals": {"sts:ExternalId": "x"}}, "own none sibling other upper"),
        ({"Null": {"sts:ExternalId": "true"}}, "none"),
        ({"ForAnyValue:StringLike": {"sts:ExternalId": [OWN, "zz"]}}, "own"),
        ({"StringEquals": {"sts:ExternalId": "another"}}, ""),
    ],
)
def test_trust_on_external_ids(
    aws: Aws, customer: Account, operator: Identity, role: str, condition: dict[str, Any] | None, allowed: str
) -> None:
    customer.set_trust("web", trust(operator.arn, condition=condition))
    for sent, external_id in SENT.items():
        parameters = {} if external_id is None else {"ExternalId": external_id}
        got = outcome(aws.assume_role, operator, role, "run-1", **parameters)
        assert got == ("ok" if sent in allowed.split() else "AccessDenied"), sent


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ("arn:aws:iam::111111111111:user/spacelift/operator", True),
        ("arn:aws:iam::111111111111:root", True),
        ("111111111111", True),
        ("*", True),
        ("arn:aws:iam::111111111111:user/operator", False),
        ("arn:aws:iam::333333333333:root", False),
    ],
)
def test_principals(aws: Aws, customer: Account, operator: Identity, role: str, principal: str, allowed: bool) -> None:
    customer.set_trust("web", trust(principal))
    assert outcome(aws.assume_role, operator, role, "run-1") == ("ok" if allowed else "AccessDenied")


@pytest.mark.parametrize(
    ("condition", "parameters", "allowed"),
    [
        ({"StringLike": {"sts:RoleSessionName": "run-*"}}, {}, True),
        ({"StringLike": {"sts:RoleSessionName": "job-*"}}, {}, False),
        ({"StringEquals": {"aws:RequestTag/space": "team-a"}}, {"Tags": [{"Key": "space", "Value": "team-a"}]}, True),
        ({"StringEquals": {"aws:RequestTag/space": "team-a"}}, {"Tags": [{"Key": "space", "Value": "team-b"}]}, False),
        ({"StringEquals": {"aws:RequestTag/space": "team-a"}}, {}, False),
    ],
)
def test_trust_on_other_keys(
    aws: Aws,
    customer: Account,
    operator: Identity,
    role: str,
    condition: dict[str, Any],
    parameters: dict[str, Any],
    allowed: bool,
) -> None:
    customer.set_trust("web", trust(operator.arn, "sts:AssumeRole", "sts:TagSession", condition=condition))
    got = outcome(aws.assume_role, operator, role, "run-1", **parameters)
    assert got == ("ok" if allowed else "AccessDenied")


def test_a_deny_wins(aws: Aws, customer: Account, operator: Identity, role: str) -> None:
    allow = trust(operator.arn)
    deny = trust(operator.arn, condition={"StringNotEquals": {"sts:ExternalId": OWN}})["Statement"][0]
    customer.set_trust("web", {**allow, "Statement": [*allow["Statement"], {**deny, "Effect": "Deny"}]})
    assert outcome(aws.assume_role, operator, role, "run-1", ExternalId=OWN) == "ok"
    assert outcome(aws.assume_role, operator, role, "run-1", ExternalId=OWN + "x") == "AccessDenied"
    assert outcome(aws.assume_role, operator, role, "run-1") == "AccessDenied"


@pytest.mark.parametrize(
    "principal",
    [
        "arn:aws:iam::222222222222:role/team/a/web",
        "arn:aws:iam::222222222222:role/web",
        "arn:aws:sts::222222222222:assumed-role/web/run-1",
    ],
)
def test_a_session_as_principal(aws: Aws, customer: Account, operator: Identity, role: str, principal: str) -> None:
    session = aws.assume_role(operator, role, "run-1")
    customer.create_role("next", trust(principal))
    try:
        got = outcome(aws.assume_role, session, "arn:aws:iam::222222222222:role/next", "hop-1", DurationSeconds=7200)
        # AWS would refuse the duration: role chaining is limited to an hour.
        assert got == "ok"
    finally:
        customer.delete_role("next")


def test_a_session_expires(aws: Aws, operator: Identity, role: str) -> None:
    def shorten(params: dict[str, Any], **_: object) -> None:
        params["body"]["DurationSeconds"] = 2

    # The emulator takes any duration; boto3 would not send so short a one.
    sts = aws.client("sts", operator)
    sts.meta.events.register("before-call.sts.AssumeRole", shorten)
    keys = sts.assume_role(RoleArn=role, RoleSessionName="run-1")["Credentials"]
    session = Identity("", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    identify = aws.client("sts", session).get_caller_identity
    assert outcome(identify) == "ok"
    wait_until(lambda: outcome(identify) == "ExpiredToken", timeout=30, what="the session's end")


def test_a_role_in_another_account_needs_both_sides(
    aws: Aws, vendor: Account, customer: Account, role: str, operator: Identity
) -> None:
    stranger = vendor.create_user("stranger")
    customer.set_trust("web", trust(stranger.arn))
    code, message = refusal(aws.assume_role, stranger, role, "run-1")
    assert code == "AccessDenied"
    assert message.startswith(f"User: {stranger.arn} is not authorized to perform: sts:AssumeRole")

    vendor.put_user_policy("stranger", policy("sts:AssumeRole"))
    assert outcome(aws.assume_role, stranger, role, "run-1") == "ok"

    code, message = refusal(aws.assume_role, operator, role, "run-1")
    expected = f"User: {operator.arn} is not authorized to perform: sts:AssumeRole on resource: {role}"
    assert (code, message) == ("AccessDenied", expected)

    vendor.delete_user("stranger")
    assert outcome(aws.assume_role, stranger, role, "run-1") == "InvalidClientTokenId"


def test_a_role_that_does_not_exist_is_denied(aws: Aws, operator: Identity) -> None:
    code, message = refusal(aws.assume_role, operator, "arn:aws:iam::222222222222:role/nobody", "run-1")
    assert code == "AccessDenied"
    assert "is not authorized to perform: sts:AssumeRole on resource" in message


def test_tags_need_tag_session_in_the_trust(aws: Aws, customer: Account, operator: Identity, role: str) -> None:
    def tagged() -> Identity:
        return aws.assume_role(operator, role, "run-1", Tags=[{"Key": "run", "Value": "run-1"}])

    expected = f"User: {operator.arn} is not authorized to perform: sts:TagSession on resource: {role}"
    assert refusal(tagged) == ("AccessDenied", expected)
    customer.set_trust("web", trust(operator.arn, "sts:AssumeRole", "sts:TagSession"))
    assert outcome(tagged) == "ok"


def test_a_session_says_who_it_is(aws: Aws, operator: Identity, role: str) -> None:
    session = aws.assume_role(operator, role, "run-1")
    assert session.arn == "arn:aws:sts::222222222222:assumed-role/web/run-1"
    answer = aws.client("sts", session).get_caller_identity()
    assert (answer["Arn"], answer["Account"], answer["UserId"]) == (session.arn, "222222222222", session.user_id)
    assert session.user_id.startswith("AROA")
    assert session.user_id.endswith(":run-1")
    described = aws.client("iam", session).get_role(RoleName="web")["Role"]
    assert (described["Arn"], described["Path"]) == (role, "/team/a/")

    answer = aws.client("sts", operator).get_caller_identity()
    assert (answer["Arn"], answer["UserId"]) == (operator.arn, operator.user_id)
    assert operator.user_id.startswith("AIDA")
    secrets = (operator.secret_access_key, session.secret_access_key, session.session_token)
    assert not [secret for secret in secrets if secret and secret in repr((operator, session))]


def test_a_session_without_permission_cannot_read_its_role(
    aws: Aws, customer: Account, operator: Identity, role: str
) -> None:
    customer.put_role_policy("web", policy("s3:*"))
    session = aws.assume_role(operator, role, "run-1")
    assert outcome(aws.client("iam", session).get_role, RoleName="web") == "AccessDenied"


DENY_ALL_ARN = "arn:aws:iam::aws:policy/AWSDenyAll"
READ_ONLY_ARN = "arn:aws:iam::aws:policy/ReadOnlyAccess"


@pytest.mark.parametrize(
    ("parameters", "may_read"),
    [
        ({}, True),
        ({"Policy": json.dumps(policy("*"))}, True),
        ({"Policy": json.dumps(policy("s3:*"))}, False),
        ({"Policy": json.dumps(policy("*", effect="Deny"))}, False),
        ({"PolicyArns": [{"arn": READ_ONLY_ARN}]}, True),
        ({"PolicyArns": [{"arn": DENY_ALL_ARN}]}, False),
        ({"PolicyArns": [{"arn": READ_ONLY_ARN}, {"arn": DENY_ALL_ARN}]}, False),
        ({"Policy": json.dumps(policy("*")), "PolicyArns": [{"arn": DENY_ALL_ARN}]}, False),
    ],
)
def test_session_policies_limit_the_session(
    aws: Aws, operator: Identity, role: str, parameters: dict[str, Any], may_read: bool
) -> None:
    session = aws.assume_role(operator, role, "run-1", **parameters)
    got = outcome(aws.client("iam", session).get_role, RoleName="web")
    assert got == ("ok" if may_read else "AccessDenied")
    # Nobody can be denied to ask who he is.
    assert aws.client("sts", session).get_caller_identity()["Arn"] == session.arn


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": '{"Version": "2012-10-17"}'}, "MalformedPolicyDocument"),
        ({"Policy": json.dumps(policy("*", effect="Perhaps"))}, "MalformedPolicyDocument"),
        ({"Policy": json.dumps(policy("s3:" + "x" * 2048))}, "ValidationError"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/NoSuchPolicy"}]}, "ValidationError"),
    ],
)
def test_session_policies_that_are_refused(
    aws: Aws, operator: Identity, role: str, parameters: dict[str, Any], code: str
) -> None:
    assert outcome(aws.assume_role, operator, role, "run-1", **parameters) == code


def test_keys_that_are_wrong(aws: Aws, operator: Identity, role: str) -> None:
    session = aws.assume_role(operator, role, "run-1")
    wrong = {
        "SignatureDoesNotMatch": Identity(operator.arn, operator.access_key_id, "wrong"),
        "InvalidClientTokenId": Identity(session.arn, session.access_key_id, session.secret_access_key, "wrong"),
    }
    unknown = Identity(operator.arn, "AKIAZZZZZZZZZZZZZZZZ", "wrong")
    for code, identity in [*wrong.items(), ("InvalidClientTokenId", unknown)]:
        assert outcome(aws.client("sts", identity).get_caller_identity) == code
        assert outcome(aws.assume_role, identity, role, "run-2") == code


def test_what_the_emulator_lets_pass(
    aws: Aws, vendor: Account, customer: Account, operator: Identity, role: str
) -> None:
    """Reasons for the fault proxy: AWS would refuse each of these."""
    passes: list[dict[str, Any]] = [
        {"DurationSeconds": 43200},
        {"SourceIdentity": "run-1"},
        {"Policy": json.dumps({**policy("nonsense"), "Version": "2032-10-17"})},
    ]
    for parameters in passes:
        assert outcome(aws.assume_role, operator, role, "run-1", **parameters) == "ok"
    assert outcome(aws.assume_role, operator, "arn:aws:iam::222222222222:role/web", "run-1") == "ok"
    assert outcome(aws.assume_role, operator, role, "a name") == "ok"


def test_the_command_line_tool_knows_a_session_by_its_variables(aws: Aws, operator: Identity, role: str) -> None:
    session = aws.assume_role(operator, role, "run-1")
    environment = {"PATH": f"{aws_cli()}:/usr/bin:/bin", **aws.environment(session)}
    command = ["aws", "sts", "get-caller-identity", "--query", "Arn", "--output", "text"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (session.arn, "")


def test_the_proxy_changes_nothing_without_a_rule(operator: Identity, role: str, proxy: FaultProxy) -> None:
    sts = client("sts", operator, "eu-central-1", proxy.endpoint)
    answer = sts.assume_role(RoleArn=role, RoleSessionName="run-1", ExternalId=OWN, DurationSeconds=900)
    session = Identity(
        answer["AssumedRoleUser"]["Arn"],
        answer["Credentials"]["AccessKeyId"],
        answer["Credentials"]["SecretAccessKey"],
        answer["Credentials"]["SessionToken"],
    )
    assert client("sts", session, endpoint=proxy.endpoint).get_caller_identity()["Arn"] == session.arn
    wrong = Identity(operator.arn, operator.access_key_id, "wrong")
    assert outcome(client("sts", wrong, endpoint=proxy.endpoint).get_caller_identity) == "SignatureDoesNotMatch"

    first, second, third = proxy.calls
    assert (first.action, first.region, first.access_key_id) == ("AssumeRole", "eu-central-1", operator.access_key_id)
    assert (first.role_arn, first.external_id, first.duration_seconds) == (role, OWN, 900)
    assert (first.status, first.code, first.request_id) == (200, None, answer["ResponseMetadata"]["RequestId"])
    assert second.access_key_id == session.access_key_id
    assert (third.status, third.code) == (403, "SignatureDoesNotMatch")
    text = repr(proxy.calls)
    assert "Signature=" not in text
    assert session.secret_access_key not in text
    assert session.session_token
    assert session.session_token not in text


def test_faults_are_for_those_they_are_meant_for(
    customer: Account, operator: Identity, role: str, proxy: FaultProxy
) -> None:
    def assume(region: str = "eu-west-1", **parameters: Any) -> Callable[[], object]:
        sts = client("sts", operator, region, proxy.endpoint)
        return lambda: sts.assume_role(**{"RoleArn": role, "RoleSessionName": "run-1", **parameters})

    proxy.add(faults.max_session_duration(role, 7200))
    assert outcome(assume(DurationSeconds=7200)) == "ok"
    code, message = refusal(assume(DurationSeconds=7201))
    assert (code, message) == (
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )

    proxy.add(faults.source_identity_denied(role))
    assert outcome(assume()) == "ok"
    expected = f"User: {operator.arn} is not authorized to perform: sts:SetSourceIdentity on resource: {role}"
    assert refusal(assume(SourceIdentity="run-1")) == ("AccessDenied", expected)

    proxy.add(Rule(Match(region="eu-south-1"), faults.region_disabled(customer.account_id)))
    assert outcome(assume()) == "ok"
    assert outcome(assume("eu-south-1")) == "RegionDisabledException"

    with proxy.rule(Rule(Match(session_name_prefix="trust-probe-"), faults.throttled(), times=1)):
        assert outcome(assume(RoleSessionName="trust-probe-1")) == "Throttling"
        assert outcome(assume(RoleSessionName="trust-probe-2")) == "ok"
    proxy.clear()
    assert outcome(assume("eu-south-1", DurationSeconds=43200)) == "ok"


def test_a_session_is_denied_by_its_own_name(
    aws: Aws, customer: Account, operator: Identity, role: str, proxy: FaultProxy
) -> None:
    """A session made through the proxy is known to it, so a denial can name it."""
    answer = client("sts", operator, endpoint=proxy.endpoint).assume_role(RoleArn=role, RoleSessionName="hop-1")
    keys = answer["Credentials"]
    session = Identity("", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    proxy.add(faults.role_chaining(session.access_key_id))
    proxy.add(faults.tag_session_denied())
    customer.set_trust("web", trust(role))
    sts = client("sts", session, endpoint=proxy.endpoint)
    hop = {"RoleArn": role, "RoleSessionName": "hop-2"}
    assert outcome(sts.assume_role, **hop) == "ok"
    _, message = refusal(sts.assume_role, **hop, DurationSeconds=3601)
    assert (
        message == "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
    )
    _, message = refusal(sts.assume_role, **hop, Tags=[{"Key": "run", "Value": "1"}])
    assert message.startswith(
        "User: arn:aws:sts::222222222222:assumed-role/web/hop-1 is not authorized to perform: sts:Tag"
    )
