import asyncio
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3.session
import pytest
from botocore import exceptions as boto
from moto import mock_aws

from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.fair_queue import QueueLimits
from spacelift_aws.aws.sts import AssumeRoleRequest, Credentials, Sts, StsSettings, silence_wire_logs

SECRET, TOKEN = "SECRET-KEY-OF-A-SESSION", "TOKEN-OF-A-SESSION"
ROLE = "arn:aws:iam::123456789012:role/team/deploy"
REQUEST = AssumeRoleRequest(ROLE, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "demo@team@deploy", 3600)
ONE_BY_ONE = StsSettings(issuing=QueueLimits(1, 1, 1, 1), probing=QueueLimits(1, 1, 1, 1))


class FakeClient:
    """A client of boto3 whose every call runs `behaviour`, and which keeps what it was asked."""

    def __init__(self, behaviour: Callable[..., Any]) -> None:
        self.behaviour = behaviour
        self.asked: list[dict[str, Any]] = []

    def assume_role(self, **parameters: Any) -> Any:
        self.asked.append(parameters)
        return self.behaviour(**parameters)

    def get_caller_identity(self) -> Any:
        return self.behaviour()

    def get_role(self, **parameters: Any) -> Any:
        return self.behaviour(**parameters)


class FakeSession:
    """A boto3 session with prepared clients by (service, region); notes the threads that made clients."""

    region_name = "eu-west-1"

    def __init__(self, clients: dict[tuple[str, str], FakeClient]) -> None:
        self.clients = clients
        self.made: list[tuple[str, str]] = []
        self.threads: set[int] = set()

    credentials: Any = None

    def get_credentials(self) -> Any:
        return self.credentials

    def client(self, service: str, region_name: str, config: Any) -> FakeClient:
        self.made.append((service, region_name))
        self.threads.add(threading.get_ident())
        return self.clients[(service, region_name)]


def session_answer(**_: Any) -> dict[str, Any]:
    return {
        "Credentials": {
            "AccessKeyId": "ASIAEXAMPLE",
            "SecretAccessKey": SECRET,
            "SessionToken": TOKEN,
            "Expiration": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        },
        "AssumedRoleUser": {"Arn": "arn:aws:sts::123456789012:assumed-role/deploy/x", "AssumedRoleId": "AROA:x"},
        "PackedPolicySize": 7,
        "ResponseMetadata": {"RequestId": "req-1"},
    }


def caller_answer(**_: Any) -> dict[str, Any]:
    return {"Arn": "arn:aws:sts::111122223333:assumed-role/op/pod", "Account": "111122223333", "UserId": "AROA:pod"}


def failing(code: str, message: str = "no", status: int = 403) -> Callable[..., Any]:
    def behaviour(**_: Any) -> Any:
        answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise boto.ClientError(answer, "AssumeRole")

    return behaviour


def sts_of(clients: dict[tuple[str, str], FakeClient], settings: StsSettings | None = None) -> Sts:
    session: Any = FakeSession(clients)
    return Sts(session=session, settings=settings)


@pytest.fixture
def wire_loggers() -> Iterator[None]:
    """Leave the process's loggers as they were."""
    names = ["", "boto3", "botocore", "botocore.parsers", "botocore.endpoint", "urllib3", "urllib3.connectionpool"]
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def moto_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.session.Session]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS", raising=False)
    with mock_aws():
        yield boto3.session.Session(region_name="eu-west-1")


async def test_a_session_comes_from_sts(moto_session: boto3.session.Session) -> None:
    sts = Sts(session=moto_session)
    try:
        session = await sts.assume_role(REQUEST, "team")
        caller = await sts.caller()
    finally:
        sts.close()
    assert session.assumed_role_arn == "arn:aws:sts::123456789012:assumed-role/deploy/01ARZ3NDEKTSV4RRFFQ69G5FAV"
    assert session.credentials.access_key_id.startswith("ASIA")
    assert session.credentials.expires_at.tzinfo is UTC
    assert (caller.account, caller.partition) == ("123456789012", "aws")


async def test_no_log_of_any_library_holds_credentials_when_all_is_logged_at_debug(
    moto_session: boto3.session.Session, caplog: pytest.LogCaptureFixture, wire_loggers: None
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore.parsers").setLevel(logging.DEBUG)  # as boto3.set_stream_logger leaves it behind
    sts = Sts(session=moto_session)
    try:
        session = await sts.assume_role(REQUEST, "team")
    finally:
        sts.close()
    for value in (session.credentials.secret_access_key, session.credentials.session_token):
        assert value not in caplog.text
        assert value[:20] not in caplog.text
    assert not [record for record in caplog.records if record.name.split(".")[0] in ("botocore", "urllib3", "boto3")]


def test_quieter_loggers_stay_quieter(wire_loggers: None) -> None:
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    silence_wire_logs()
    assert logging.getLogger("urllib3").level == logging.ERROR
    assert logging.getLogger("botocore").level == logging.WARNING
    assert not logging.getLogger("botocore.endpoint").isEnabledFor(logging.DEBUG)


def test_credentials_hide_all_but_the_access_key_id() -> None:
    credentials = Credentials("ASIAEXAMPLE", SECRET, TOKEN, datetime(2026, 1, 2, tzinfo=UTC))
    for text in (str(credentials), repr(credentials), f"{credentials}", repr([credentials])):
        assert SECRET not in text
        assert TOKEN not in text
        assert "ASIAEXAMPLE" in text


async def test_only_what_is_asked_for_is_sent() -> None:
    client = FakeClient(session_answer)
    sts = sts_of({("sts", "eu-west-1"): client, ("sts", "us-east-2"): client})
    await sts.assume_role(AssumeRoleRequest(ROLE, "x-1", None, 900), "team")
    full = AssumeRoleRequest(
        ROLE,
        "x-2",
        "an-id",
        900,
        "us-east-2",
        (("run", "x-2"), ("space", "team")),
        "x-2",
        '{"Version":"2012-10-17"}',
        ("arn:aws:iam::aws:policy/ReadOnlyAccess",),
    )
    await sts.assume_role(full, "team")
    sts.close()
    assert client.asked == [
        {"RoleArn": ROLE, "RoleSessionName": "x-1", "DurationSeconds": 900},
        {
            "RoleArn": ROLE,
            "RoleSessionName": "x-2",
            "DurationSeconds": 900,
            "ExternalId": "an-id",
            "Tags": [{"Key": "run", "Value": "x-2"}, {"Key": "space", "Value": "team"}],
            "SourceIdentity": "x-2",
            "Policy": '{"Version":"2012-10-17"}',
            "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}],
        },
    ]


async def test_a_region_has_one_client_made_in_one_thread() -> None:
    client = FakeClient(session_answer)
    session: Any = FakeSession({("sts", region): client for region in ("eu-west-1", "us-east-2")})
    sts = Sts(session=session)
    requests = [AssumeRoleRequest(ROLE, f"x-{n}", None, 900, ("us-east-2", None)[n % 2]) for n in range(40)]
    await asyncio.gather(*[sts.assume_role(request, f"ns-{n}") for n, request in enumerate(requests)])
    sts.close()
    assert sorted(session.made) == [("sts", "eu-west-1"), ("sts", "us-east-2")]
    assert len(session.threads) == 1


async def test_a_failure_is_chained_to_nothing_that_boto_raised() -> None:
    sts = sts_of({("sts", "eu-west-1"): FakeClient(failing("AccessDenied"))})
    with pytest.raises(StsError) as caught:
        await sts.assume_role(REQUEST, "team")
    sts.close()
    assert caught.value.kind is Failure.ACCESS_DENIED
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_an_answer_that_lacks_a_part_is_no_verdict_and_shows_nothing() -> None:
    def half(**_: Any) -> dict[str, Any]:
        answer = session_answer()
        del answer["Credentials"]["Expiration"]
        return answer

    sts = sts_of({("sts", "eu-west-1"): FakeClient(half)})
    with pytest.raises(StsError) as caught:
        await sts.assume_role(REQUEST, "team")
    sts.close()
    assert caught.value.kind is Failure.RETRYING
    assert caught.value.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("home", "region", "kind"),
    [
        pytest.param(caller_answer, "ap-east-1", Failure.REGION_DISABLED, id="home answers: the region is off"),
        pytest.param(failing("InvalidClientTokenId"), "ap-east-1", Failure.NO_IDENTITY, id="home knows us neither"),
        pytest.param(failing("Throttling"), "ap-east-1", Failure.NO_IDENTITY, id="home could not be asked"),
        pytest.param(failing("InvalidClientTokenId"), None, Failure.NO_IDENTITY, id="it was home itself"),
    ],
)
async def test_an_unknown_key_is_checked_at_home(home: Callable[..., Any], region: str | None, kind: Failure) -> None:
    clients = {
        ("sts", "eu-west-1"): FakeClient(home),
        ("sts", "ap-east-1"): FakeClient(failing("InvalidClientTokenId")),
    }
    sts = sts_of(clients)
    with pytest.raises(StsError) as caught:
        await sts.probe(AssumeRoleRequest(ROLE, "x-1", None, 900, region), "team")
    sts.close()
    assert caught.value.kind is kind


async def test_a_denied_chain_of_our_own_profile_says_nothing_about_the_role() -> None:
    """botocore obtains the operator's credentials by an AssumeRole of its own, with the same code and words."""

    class Chained:
        def get_frozen_credentials(self) -> Any:
            failing("AccessDenied", "User: x is not authorized to perform: sts:AssumeRole on resource: own")()

    session: Any = FakeSession({("sts", "eu-west-1"): FakeClient(session_answer)})
    session.credentials = Chained()
    sts = Sts(session=session)
    for call in (sts.assume_role(REQUEST, "team"), sts.caller()):
        with pytest.raises(StsError) as caught:
            await call
        assert caught.value.kind is Failure.NO_IDENTITY
        assert "own AWS credentials could not be obtained" in caught.value.message
        assert caught.value.__context__ is None
    sts.close()


async def test_a_call_given_up_keeps_its_turn_until_it_ends() -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(**_: Any) -> Any:
        started.set()
        assert go_on.wait(10)
        raise ValueError("nobody waits for this any more")

    slow_client, quick_client = FakeClient(slow), FakeClient(session_answer)
    sts = sts_of({("sts", "eu-west-1"): slow_client, ("sts", "us-east-2"): quick_client}, ONE_BY_ONE)
    given_up = asyncio.create_task(sts.assume_role(REQUEST, "team"))
    assert await asyncio.to_thread(started.wait, 10)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    next_one = asyncio.create_task(sts.assume_role(AssumeRoleRequest(ROLE, "x-2", None, 900, "us-east-2"), "other"))
    await asyncio.sleep(0)
    assert not quick_client.asked
    # A probe has places of its own.
    await sts.probe(AssumeRoleRequest(ROLE, "x-3", None, 900, "us-east-2"), "other")
    go_on.set()
    await asyncio.wait_for(next_one, 10)
    sts.close()
    assert [asked["RoleSessionName"] for asked in quick_client.asked] == ["x-3", "x-2"]


@pytest.mark.parametrize(
    ("behaviour", "arn"),
    [
        (lambda **_: {"Role": {"Arn": "arn:aws:iam::1:role/path/op"}}, "arn:aws:iam::1:role/path/op"),
        (failing("AccessDenied"), None),
        (failing("NoSuchEntity", status=404), None),
        (lambda **_: {}, None),
    ],
)
async def test_the_path_of_our_own_role_is_asked_of_iam_where_that_is_allowed(
    behaviour: Callable[..., Any], arn: str | None
) -> None:
    sts = sts_of({("iam", "eu-west-1"): FakeClient(behaviour)})
    assert await sts.role_arn_with_path("op") == arn
    sts.close()


async def test_regions_that_tenants_make_up_do_not_fill_the_memory() -> None:
    regions = [f"xx-made-up-{n}" for n in range(150)]
    client = FakeClient(session_answer)
    session: Any = FakeSession({("sts", region): client for region in regions})
    sts = Sts(session=session)
    for region in regions:
        await sts.assume_role(AssumeRoleRequest(ROLE, "x-1", None, 900, region), "team")
    await sts.assume_role(AssumeRoleRequest(ROLE, "x-1", None, 900, regions[0]), "team")
    sts.close()
    assert len(session.made) == 151
