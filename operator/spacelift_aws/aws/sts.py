"""The calls of STS: one boto3 session, one client per region, threads of their own, fair turns in front of them.

Sessions of boto3 are not safe to use from several threads, clients are: all clients are made by one thread. A call that
its caller gave up goes on in its thread and keeps its turn until it ends; what it brings is dropped.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import boto3.session
from botocore.config import Config

from spacelift_aws import metrics
from spacelift_aws.aws.errors import UNKNOWN_KEY, Failure, StsError, classify, of_own_identity
from spacelift_aws.aws.fair_queue import FairQueue, QueueLimits, Turn
from spacelift_aws.aws.token_bucket import TokenBucket

T = TypeVar("T")

_WIRE_LOGGERS: Final = ("boto3", "botocore", "urllib3")
_MAX_CLIENTS: Final = 100
"""More than AWS has regions; the bound is for names that tenants make up."""

ISSUE: Final = "issue"
"""Purpose of a call that issues credentials to a Run."""
PROBE: Final = "probe"
"""Purpose of a call that verifies trust."""
OWN: Final = "own"
"""Purpose of a call that asks who the operator is."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """A session's credentials. Only the access key ID may ever be shown."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r}, expires_at={self.expires_at.isoformat()})"


@dataclass(frozen=True)
class AssumeRoleRequest:
    """What is asked of STS. `region` None is the operator's own; `tags` are (key, value) pairs."""

    role_arn: str
    session_name: str
    external_id: str | None
    duration_seconds: int
    region: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    source_identity: str | None = None
    session_policy: str | None = None
    session_policy_arns: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """As botocore takes them, without what is not asked for."""
        parameters: dict[str, Any] = {
            "RoleArn": self.role_arn,
            "RoleSessionName": self.session_name,
            "DurationSeconds": self.duration_seconds,
        }
        if self.external_id is not None:
            parameters["ExternalId"] = self.external_id
        if self.tags:
            parameters["Tags"] = [{"Key": key, "Value": value} for key, value in self.tags]
        if self.source_identity is not None:
            parameters["SourceIdentity"] = self.source_identity
        if self.session_policy is not None:
            parameters["Policy"] = self.session_policy
        if self.session_policy_arns:
            parameters["PolicyArns"] = [{"arn": arn} for arn in self.session_policy_arns]
        return parameters


@dataclass(frozen=True)
class Session:
    """What STS gave. `packed_policy_size` is a percentage of the limit for session policies and tags."""

    credentials: Credentials
    assumed_role_arn: str
    request_id: str | None
    packed_policy_size: int | None


@dataclass(frozen=True)
class Caller:
    """Who the operator is, as `GetCallerIdentity` says. `user_id` of an assumed role is `<unique ID>:<session>`."""

    arn: str
    account: str
    user_id: str
    partition: str


@dataclass(frozen=True)
class StsSettings:
    """How many calls run at once, and how fast probes may be."""

    issuing: QueueLimits = field(default=QueueLimits(total=16, per_role=8, per_region=12, per_tenant=10))
    """Calls that issue credentials to Runs."""
    probing: QueueLimits = field(default=QueueLimits(total=6, per_role=2, per_region=5, per_tenant=3))
    """Calls that verify trust; they never take a place of those that issue."""
    probes_per_second: float = 50.0
    """Far below the 600 calls a second that AWS grants an account in a region."""
    probe_burst: int = 10
    connect_timeout: float = 3.0
    read_timeout: float = 10.0
    """Seconds for one attempt; there are two."""


def silence_wire_logs() -> None:
    """Keep boto's and urllib3's loggers above DEBUG whatever the root logger's level is.

    At DEBUG botocore logs the bodies of answers, credentials included. Loggers that already exist below the three are
    pinned too, as a level of their own would win over their parent's.
    """
    names = [name for name in logging.root.manager.loggerDict if name.split(".", 1)[0] in _WIRE_LOGGERS]
    for name in {*names, *_WIRE_LOGGERS}:
        wire = logging.getLogger(name)
        if name in _WIRE_LOGGERS or wire.level != logging.NOTSET:
            wire.setLevel(max(wire.level, logging.WARNING))


class Sts:
    """STS for the whole process. Make it and close it on the event loop's thread."""

    def __init__(
        self,
        *,
        home_region: str | None = None,
        settings: StsSettings | None = None,
        session: boto3.session.Session | None = None,
    ) -> None:
        """`home_region` None is the one of the environment, and without that AWS's global endpoint."""
        silence_wire_logs()
        self._settings = settings or StsSettings()
        self._session = session or boto3.session.Session()
        self._home = home_region or self._session.region_name
        self._clients: OrderedDict[tuple[str, str | None], Any] = OrderedDict()
        self._issuing = FairQueue(self._settings.issuing)
        self._probing = FairQueue(
            self._settings.probing, TokenBucket(self._settings.probes_per_second, self._settings.probe_burst)
        )
        self._threads = self._settings.issuing.total + self._settings.probing.total + 2
        self._executor = ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="sts")
        self._maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sts-clients")
        self._own_calls = asyncio.Semaphore(2)
        self._config = Config(
            connect_timeout=self._settings.connect_timeout,
            read_timeout=self._settings.read_timeout,
            max_pool_connections=self._threads,
            retries={"mode": "standard", "total_max_attempts": 2},
        )

    @property
    def home_region(self) -> str | None:
        """The region that is called unless another is asked for."""
        return self._home

    async def assume_role(self, request: AssumeRoleRequest, tenant: str) -> Session:
        """Issue a session for a Run; `tenant` is the Run's namespace. Raises StsError."""
        turn = await self._issuing.take(tenant, request.role_arn, request.region or self._home)
        return await self._assume(request, turn, ISSUE)

    async def probe(self, request: AssumeRoleRequest, tenant: str, *, urgent: bool = False) -> Session:
        """The same with a turn of the probes; `urgent` goes first. Raises StsError."""
        turn = await self._probing.take(tenant, request.role_arn, request.region or self._home, urgent=urgent)
        return await self._assume(request, turn, PROBE)

    async def probe_if_idle(self, request: AssumeRoleRequest, tenant: str) -> Session | None:
        """The same where nobody else wants to probe now; None where somebody does. Raises StsError."""
        turn = self._probing.take_spare(tenant, request.role_arn, request.region or self._home)
        return None if turn is None else await self._assume(request, turn, PROBE)

    def prioritize_probes(self, tenant: str, role_arn: str) -> None:
        """Let the probes of a role that already wait for their turn go first: a Run waits for them by now."""
        self._probing.prioritize(tenant, role_arn)

    async def caller(self, region: str | None = None) -> Caller:
        """Who the operator is, asked of the home region unless another is given. Raises StsError."""
        async with self._own_calls:
            client = await self._client("sts", region)
            return _caller_of(await self._call(client.get_caller_identity, ("GetCallerIdentity", OWN)))

    async def role_arn_with_path(self, name: str) -> str | None:
        """The ARN of a role of the operator's own account, None if `iam:GetRole` is not allowed or finds nothing."""
        async with self._own_calls:
            try:
                client = await self._client("iam", None)
                answer = await self._call(lambda: client.get_role(RoleName=name), ("GetRole", OWN))
            except StsError as error:
                logger.debug("iam:GetRole on the operator's own role gave nothing: %s", error)
                return None
            arn = answer.get("Role", {}).get("Arn")
            return arn if isinstance(arn, str) else None

    def close(self) -> None:
        """Take no more calls; those under way end by themselves."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._maker.shutdown(wait=False, cancel_futures=True)

    def turns(self) -> Mapping[str, FairQueue]:
        """The turns of calls, by what the calls are for."""
        return {ISSUE: self._issuing, PROBE: self._probing}

    async def _assume(self, request: AssumeRoleRequest, turn: Turn, purpose: str) -> Session:
        try:
            client = await self._client("sts", request.region)
        except BaseException:
            turn.release()
            raise
        try:
            call = self._call(lambda: client.assume_role(**request.parameters()), ("AssumeRole", purpose), turn)
            return _session_of(await call)
        except StsError as error:
            if error.code in UNKNOWN_KEY and await self._home_answers(request.region):
                raise _region_disabled(error, request.region) from None
            raise

    async def _home_answers(self, region: str | None) -> bool:
        """Whether credentials that another region does not know are good at home: then that region is off."""
        if region is None or region == self._home:
            return False
        try:
            await self.caller()
        except StsError:
            return False
        return True

    async def _client(self, service: str, region: str | None) -> Any:
        key = (service, region or self._home)
        if (client := self._clients.get(key)) is not None:
            self._clients.move_to_end(key)
            return client
        loop = asyncio.get_running_loop()
        return await asyncio.shield(_watched(loop.run_in_executor(self._maker, self._make_client, key)))

    def _make_client(self, key: tuple[str, str | None]) -> Any:
        """Runs in the makers' only thread."""
        if (client := self._clients.get(key)) is not None:
            return client
        service, region = key
        failure: StsError
        try:
            client = self._session.client(service, region_name=region or "aws-global", config=self._config)
        except Exception as error:
            failure = classify(error)
        else:
            self._clients[key] = client
            while len(self._clients) > _MAX_CLIENTS:
                self._clients.popitem(last=False)
            return client
        raise failure

    async def _call(self, function: Callable[[], T], counted_as: tuple[str, str], turn: Turn | None = None) -> T:
        """Run a call of boto3 in a thread; `turn` is released when it has ended, also if nobody waits any more.

        `counted_as`: operation and purpose, as the metrics have them.
        """
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, self._classified, function, counted_as)
        except BaseException:
            if turn is not None:
                turn.release()
            raise
        if turn is not None:
            future.add_done_callback(lambda _: turn.release())
        return await asyncio.shield(_watched(future))

    def _classified(self, function: Callable[[], T], counted_as: tuple[str, str]) -> T:
        """Call boto3 and turn what it raises into an StsError that is chained to nothing.

        The operator's own credentials are resolved first: a profile that assumes a role to obtain them is denied in the
        same words as the role that is asked for.
        """
        began, code, own = time.monotonic(), "OK", True
        try:
            if (credentials := self._session.get_credentials()) is not None:
                credentials.get_frozen_credentials()
            own = False
            return function()
        except Exception as error:
            failure = of_own_identity(classify(error)) if own else classify(error)
            code = failure.code
        finally:
            metrics.STS_CALLS.labels(*counted_as, code).inc()
            metrics.STS_SECONDS.labels(*counted_as).observe(time.monotonic() - began)
        # Outside of the handler there is no context: boto's exception, its frames and what they hold are let go.
        raise failure


def _watched(future: "asyncio.Future[T]") -> "asyncio.Future[T]":
    """Mark a failure as seen: a future that nobody awaits any more would have asyncio log it."""
    future.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    return future


def _session_of(answer: dict[str, Any]) -> Session:
    try:
        given = answer["Credentials"]
        return Session(
            credentials=Credentials(
                access_key_id=given["AccessKeyId"],
                secret_access_key=given["SecretAccessKey"],
                session_token=given["SessionToken"],
                expires_at=_utc(given["Expiration"]),
            ),
            assumed_role_arn=answer["AssumedRoleUser"]["Arn"],
            request_id=_request_id(answer),
            packed_policy_size=answer.get("PackedPolicySize"),
        )
    except (KeyError, TypeError, AttributeError):
        request_id = _request_id(answer)
    raise StsError(Failure.RETRYING, "MalformedAnswer", "STS's answer lacks a part of the session", request_id)


def _caller_of(answer: dict[str, Any]) -> Caller:
    arn = str(answer.get("Arn", ""))
    parts = arn.split(":", 5)
    if len(parts) < 6:
        raise StsError(Failure.RETRYING, "MalformedAnswer", "STS's answer lacks the caller's ARN", _request_id(answer))
    return Caller(arn, str(answer.get("Account", parts[4])), str(answer.get("UserId", "")), parts[1])


def _request_id(answer: dict[str, Any]) -> str | None:
    request_id = answer.get("ResponseMetadata", {}).get("RequestId")
    return str(request_id) if request_id else None


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


def _region_disabled(error: StsError, region: str | None) -> StsError:
    return StsError(
        Failure.REGION_DISABLED,
        error.code,
        f"the STS endpoint of {region} does not accept the operator's credentials, but that of its home region does: "
        f"{region} is not enabled in the operator's own account",
        error.request_id,
    )
