"""Which requests a rule takes, and what a boto3 client makes of each answer of the fault proxy."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp import web
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from sandbox import faults
from sandbox.aws import Identity, client
from sandbox.faultproxy import FaultProxy
from sandbox.faults import Drop, Match, Pass, Plain, Refusal, Request, Rule, read_request

CALLER = Identity("arn:aws:iam::111111111111:user/operator", "AKIAOPERATOR00000000", "not-a-secret")
ROLE = "arn:aws:iam::222222222222:role/team/web"

IDENTITY_XML = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Arn>{CALLER.arn}</Arn><UserId>AIDA</UserId><Account>111111111111</Account>
</GetCallerIdentityResult><ResponseMetadata><RequestId>upstream-1</RequestId></ResponseMetadata>
</GetCallerIdentityResponse>"""
SESSION_XML = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>ASIASESSION000000000</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>
<SessionToken>hush-hush</SessionToken><Expiration>2036-01-02T03:04:05Z</Expiration></Credentials>
<AssumedRoleUser><AssumedRoleId>AROA:run-1</AssumedRoleId>
<Arn>arn:aws:sts::222222222222:assumed-role/web/run-1</Arn></AssumedRoleUser></AssumeRoleResult>
<ResponseMetadata><RequestId>upstream-2</RequestId></ResponseMetadata></AssumeRoleResponse>"""


class Upstream:
    """A service of two answers, in a thread; remembers the headers that came."""

    def __init__(self) -> None:
        self.served: list[dict[str, str]] = []
        self.endpoint = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def __enter__(self) -> "Upstream":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.endpoint = "http://{}:{}".format(*runner.addresses[0][:2])
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.text()
        self.served.append(dict(request.headers))
        text = SESSION_XML if "Action=AssumeRole" in body else IDENTITY_XML
        return web.Response(text=text, content_type="text/xml")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    names = {CALLER.access_key_id: CALLER.arn}
    with FaultProxy(upstream.endpoint, names.get) as running:
        yield running


def assume(proxy: FaultProxy, identity: Identity = CALLER, **parameters: Any) -> dict[str, Any]:
    sts = client("sts", identity, endpoint=proxy.endpoint)
    answer: dict[str, Any] = sts.assume_role(**{"RoleArn": ROLE, "RoleSessionName": "run-1", **parameters})
    return answer


def request(**parameters: str) -> Request:
    return Request(
        "AssumeRole",
        {"RoleArn": ROLE, "RoleSessionName": "trust-probe-7", **parameters},
        "eu-west-1",
        "AKIAOPERATOR00000000",
    )


@pytest.mark.parametrize(
    ("match", "parameters", "taken"),
    [
        (Match(), {}, True),
        (Match(action=None), {}, True),
        (Match(action="GetCallerIdentity"), {}, False),
        (Match(role_arn=ROLE), {}, True),
        (Match(role_arn=ROLE + "x"), {}, False),
        (Match(region="eu-west-1"), {}, True),
        (Match(region="us-east-1"), {}, False),
        (Match(access_key_id="AKIAOPERATOR00000000"), {}, True),
        (Match(access_key_id="AKIASOMEBODY00000000"), {}, False),
        (Match(session_name_prefix="trust-probe-"), {}, True),
        (Match(session_name_prefix="run-"), {}, False),
        (Match(session_name_unlike="trust-probe-*"), {}, False),
        (Match(session_name_unlike="run-*"), {}, True),
        (Match(), {"RoleSessionName": ""}, True),  # as of a call that makes no session
        (Match(present=["ExternalId"]), {"ExternalId": "a@b@c"}, True),
        (Match(present=["ExternalId"]), {}, False),
        (Match(absent=["ExternalId"]), {}, True),
        (Match(absent=["ExternalId"]), {"ExternalId": "a@b@c"}, False),
        (Match(present=["Tags"]), {"Tags.member.1.Key": "run", "Tags.member.1.Value": "1"}, True),
        (Match(present=["Tags"]), {"TagsOfAnotherKind": "1"}, False),
        (Match(absent=["Tags"]), {"Tags.member.1.Key": "run"}, False),
        (Match(values={"ExternalId": "a@b@c"}), {"ExternalId": "a@b@c"}, True),
        (Match(values={"ExternalId": "a@b@c"}), {"ExternalId": "A@b@c"}, False),
        (Match(values={"ExternalId": "a@b@c"}), {}, False),
        (Match(duration_above=900), {"DurationSeconds": "900"}, False),
        (Match(duration_above=900), {"DurationSeconds": "901"}, True),
        (Match(duration_above=3599), {}, True),  # no duration asks for an hour
        (Match(duration_above=3600), {}, False),
        (Match(role_arn=ROLE, present=["ExternalId"]), {}, False),  # all must hold
    ],
)
def test_a_match_takes_what_it_describes(match: Match, parameters: dict[str, str], taken: bool) -> None:
    assert match(request(**parameters)) is taken


def test_a_rule_ends_after_its_times() -> None:
    rule = Rule(Match(), times=2)
    for used in range(3):
        rule.used = used
        assert rule.takes(request()) is (used < 2)


def test_a_request_is_read_without_what_proves_who_sent_it() -> None:
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIAOPERATOR00000000/20260102/eu-west-1/sts/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=abcdef"
    )
    body = (
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws&ExternalId=a%40b%40c&TokenCode=123456"
        "&Tags.member.1.Key=run&Tags.member.1.Value=r+1&Tags.member.2.Key=space&Tags.member.2.Value="
    )
    read = read_request("", body, authorization)
    assert (read.action, read.region, read.access_key_id) == ("AssumeRole", "eu-west-1", "AKIAOPERATOR00000000")
    assert (read.role_arn, read.external_id, read.duration_seconds) == ("arn:aws", "a@b@c", 3600)
    assert read.tags == {"run": "r 1", "space": ""}
    assert not read.has("TokenCode")

    query = (
        "Action=GetCallerIdentity&X-Amz-Credential=AKIA%2F20260102%2Fus-east-1%2Fsts%2Faws4_request"
        "&X-Amz-Security-Token=hush&X-Amz-Signature=abcdef"
    )
    assert read_request(query, "", "") == Request("GetCallerIdentity", {}, "us-east-1", "AKIA")
    assert read_request("", "", "Basic abc") == Request("", {}, None, None)


@pytest.mark.parametrize(
    ("answer", "status", "code", "message"),
    [
        (
            faults.region_disabled("222222222222"),
            403,
            "RegionDisabledException",
            "STS is not activated in this region for account:222222222222. Your account administrator can activate "
            "STS in this region using the IAM Console.",
        ),
        (
            faults.packed_policy_too_large(101),
            400,
            "PackedPolicyTooLarge",
            "Packed size of session tags consumes 101% of allotted space.",
        ),
        (faults.malformed_policy(), 400, "MalformedPolicyDocument", "Syntax errors in policy."),
        (faults.expired_token(), 403, "ExpiredToken", "The security token included in the request is expired"),
        (
            faults.expired_token(sdk_name=True),
            400,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ),
        (
            faults.invalid_client_token(),
            403,
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        ),
        (faults.signature_mismatch(), 403, "SignatureDoesNotMatch", faults.signature_mismatch().message),
        (faults.clock_skew(), 403, "SignatureDoesNotMatch", faults.clock_skew().message),
        (faults.throttled(), 400, "Throttling", "Rate exceeded"),
        (faults.throttled("RequestLimitExceeded"), 400, "RequestLimitExceeded", "Rate exceeded"),
        (
            faults.denied(),
            403,
            "AccessDenied",
            f"User: {CALLER.arn} is not authorized to perform: sts:AssumeRole on resource: {ROLE}",
        ),
        (faults.internal_failure(), 500, "InternalFailure", faults.internal_failure().message),
        (faults.unavailable(), 503, "ServiceUnavailable", faults.unavailable().message),
        (Refusal("Odd", "a < b & c > d"), 400, "Odd", "a < b & c > d"),
    ],
)
def test_boto3_understands_each_refusal(
    proxy: FaultProxy, answer: Refusal, status: int, code: str, message: str
) -> None:
    with proxy.rule(Rule(Match(), answer)) as rule, pytest.raises(ClientError) as caught:
        assume(proxy)
    response = caught.value.response
    assert (response["Error"]["Code"], response["Error"]["Message"]) == (code, message)
    metadata = response["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == status
    assert metadata["RequestId"] == metadata["HTTPHeaders"]["x-amzn-requestid"]
    (call,) = proxy.calls
    assert (call.status, call.code, call.request_id, call.rule) == (status, code, metadata["RequestId"], rule)


@pytest.mark.parametrize(
    ("rule", "harmless", "refused", "message"),
    [
        (
            faults.max_session_duration(ROLE, 3600),
            {},
            {"DurationSeconds": 3601},
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ),
        (
            faults.role_chaining(CALLER.access_key_id),
            {"DurationSeconds": 3600},
            {"DurationSeconds": 43200},
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        ),
        (
            faults.source_identity_denied(),
            {"Tags": [{"Key": "run", "Value": "1"}]},
            {"SourceIdentity": "run-1"},
            f"User: {CALLER.arn} is not authorized to perform: sts:SetSourceIdentity on resource: {ROLE}",
        ),
        (
            faults.tag_session_denied(ROLE),
            {"SourceIdentity": "run-1"},
            {"Tags": [{"Key": "run", "Value": "1"}]},
            f"User: {CALLER.arn} is not authorized to perform: sts:TagSession on resource: {ROLE}",
        ),
    ],
)
def test_ready_made_rules(
    proxy: FaultProxy, rule: Rule, harmless: dict[str, Any], refused: dict[str, Any], message: str
) -> None:
    with proxy.rule(rule):
        assume(proxy, **harmless)
        with pytest.raises(ClientError) as caught:
            assume(proxy, **refused)
    assert caught.value.response["Error"]["Message"] == message
    assert (rule.used, [call.status == 200 for call in proxy.calls]) == (1, [True, False])


def test_what_passes_is_served_and_signed_as_the_client_signed_it(proxy: FaultProxy, upstream: Upstream) -> None:
    assert assume(proxy)["Credentials"]["AccessKeyId"] == "ASIASESSION000000000"
    headers = upstream.served[-1]
    assert headers["Host"] == proxy.endpoint.removeprefix("http://")
    assert headers["User-Agent"].startswith("Boto3/")
    assert "Signature=" in headers["Authorization"]
    (call,) = proxy.calls
    assert (call.status, call.code, call.request_id) == (200, None, "upstream-2")
    assert call.started <= call.finished
    assert "Signature=" not in repr(call)
    assert "hush" not in repr(call)


def test_a_denial_names_the_session_that_was_made_before(proxy: FaultProxy) -> None:
    session = Identity("", "ASIASESSION000000000", "hush", "hush-hush")
    with proxy.rule(Rule(Match(access_key_id=session.access_key_id), faults.denied())):
        assume(proxy)
        with pytest.raises(ClientError, match=r"User: arn:aws:sts::222222222222:assumed-role/web/run-1 is not"):
            assume(proxy, session)


def test_the_newest_rule_is_asked_first(proxy: FaultProxy) -> None:
    older = proxy.add(Rule(Match(), faults.throttled()))
    with proxy.rule(Rule(Match(), faults.unavailable(), times=1)):
        codes = []
        for _ in range(2):
            with pytest.raises(ClientError) as caught:
                assume(proxy)
            codes.append(caught.value.response["Error"]["Code"])
    assert codes == ["ServiceUnavailable", "Throttling"]
    proxy.remove(older)
    assume(proxy)


@pytest.mark.parametrize(("drop", "served"), [(Drop(), 0), (Drop(after_serving=True), 1)])
def test_a_dropped_connection(proxy: FaultProxy, upstream: Upstream, drop: Drop, served: int) -> None:
    before = len(upstream.served)
    with proxy.rule(Rule(Match(), drop)), pytest.raises(ConnectionClosedError):
        assume(proxy)
    (call,) = proxy.calls
    assert (call.status, len(upstream.served) - before) == (None, served)
    assume(proxy)


def test_an_answer_that_is_not_of_sts(proxy: FaultProxy) -> None:
    with proxy.rule(Rule(Match(), Plain())), pytest.raises(ClientError) as caught:
        assume(proxy)
    assert caught.value.response["Error"] == {"Code": "503", "Message": "Service Unavailable"}
    with proxy.rule(Rule(Match(), Plain(502, "no healthy upstream"))), pytest.raises(ResponseParserError):
        assume(proxy)


def test_a_delayed_call_waits_until_its_rule_is_removed(proxy: FaultProxy) -> None:
    rule = proxy.add(Rule(Match(), Pass(), delay=60))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(assume, proxy)
        sts = client("sts", CALLER, endpoint=proxy.endpoint)
        # Others are served meanwhile.
        assert sts.get_caller_identity()["Account"] == "111111111111"
        deadline = time.monotonic() + 10
        while rule.used == 0 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert not waiting.done()
        proxy.clear()
        assert waiting.result(10)["AssumedRoleUser"]["AssumedRoleId"] == "AROA:run-1"
    assert len(proxy.wait_for(Match())) == 1


def test_a_delay_is_as_long_as_it_says(proxy: FaultProxy) -> None:
    with proxy.rule(Rule(Match(), faults.throttled(), delay=0.1)), pytest.raises(ClientError):
        assume(proxy)
    (call,) = proxy.calls
    assert call.finished - call.started >= 0.09


def test_a_client_that_gives_up_leaves_the_proxy_alive(proxy: FaultProxy) -> None:
    sts = client("sts", CALLER, endpoint=proxy.endpoint, read_timeout=0.1)
    with proxy.rule(Rule(Match(), delay=60)), pytest.raises(ReadTimeoutError):
        sts.assume_role(RoleArn=ROLE, RoleSessionName="run-1")
    assume(proxy)


def test_waiting_for_calls(proxy: FaultProxy) -> None:
    assume(proxy)
    assert [call.session_name for call in proxy.wait_for(Match(session_name_prefix="run-"))] == ["run-1"]
    with pytest.raises(TimeoutError, match="1 of 2 calls"):
        proxy.wait_for(Match(), count=2, timeout=0.05)
    proxy.forget_calls()
    assert proxy.calls == []


def test_an_upstream_that_is_away(proxy: FaultProxy) -> None:
    proxy.upstream = "http://127.0.0.1:1"
    with pytest.raises(ClientError) as caught:
        assume(proxy)
    response = caught.value.response
    assert (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]) == (502, "BadGateway")
