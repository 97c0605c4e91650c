import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity, OwnIdentity
from spacelift_aws.aws.sts import Caller

PLAIN = "arn:aws:iam::111122223333:role/op"
WITH_PATH = "arn:aws:iam::111122223333:role/team/op"
EXPIRED = StsError(Failure.NO_IDENTITY, "ExpiredToken", "expired")


def session_of(role: str) -> Caller:
    return Caller(f"arn:aws:sts::111122223333:assumed-role/{role}/pod", "111122223333", "AROAOP:pod", "aws")


@dataclass
class FakeSource:
    answer: Caller | StsError = field(default_factory=lambda: session_of("op"))
    exact: str | None = None
    asked: int = 0
    asked_iam: int = 0

    async def caller(self, region: str | None = None) -> Caller:
        self.asked += 1
        if isinstance(self.answer, StsError):
            raise self.answer
        return self.answer

    async def role_arn_with_path(self, name: str) -> str | None:
        self.asked_iam += 1
        return self.exact


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("source", "environ", "configured", "principal", "principal_id"),
    [
        pytest.param(FakeSource(), {}, WITH_PATH, WITH_PATH, "AROAOP", id="what is configured wins"),
        pytest.param(
            FakeSource(),
            {},
            "arn:aws:iam::111122223333:root",
            "arn:aws:iam::111122223333:root",
            None,
            id="a configured principal that is not the caller has no unique ID of the caller's",
        ),
        pytest.param(
            FakeSource(), {"AWS_ROLE_ARN": WITH_PATH}, None, WITH_PATH, "AROAOP", id="the web identity's role"
        ),
        pytest.param(
            FakeSource(exact=WITH_PATH),
            {"AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/other"},
            None,
            WITH_PATH,
            "AROAOP",
            id="a variable that names another role is not the role in use",
        ),
        pytest.param(FakeSource(exact=WITH_PATH), {}, None, WITH_PATH, "AROAOP", id="IAM tells the path"),
        pytest.param(
            FakeSource(Caller("arn:aws:iam::111122223333:user/x/alice", "111122223333", "AIDAALICE", "aws")),
            {},
            None,
            "arn:aws:iam::111122223333:user/x/alice",
            "AIDAALICE",
            id="a user's ARN is exact",
        ),
    ],
)
async def test_the_principal_is_the_first_that_is_exact(
    source: FakeSource, environ: Mapping[str, str], configured: str | None, principal: str, principal_id: str | None
) -> None:
    own = OwnIdentity(source, environ, configured_principal=configured, clock=Clock())
    assert await own.current() == Identity(principal, principal_id)


async def test_a_path_that_nobody_tells_is_noted() -> None:
    identity = await OwnIdentity(FakeSource(), {}, clock=Clock()).current()
    assert identity.principal == PLAIN
    assert identity.note is not None
    assert "lacks the path" in identity.note


async def test_iam_is_not_asked_where_the_answer_is_known() -> None:
    source = FakeSource()
    await OwnIdentity(source, {"AWS_ROLE_ARN": WITH_PATH}, clock=Clock()).current()
    assert source.asked_iam == 0


async def test_an_identity_is_remembered_for_ten_minutes() -> None:
    source, clock = FakeSource(), Clock()
    own = OwnIdentity(source, {}, clock=clock)
    for clock.now in (0.0, 1.0, 599.0):
        await own.current()
    assert source.asked == 1
    clock.now = 601.0
    await own.current()
    await asyncio.sleep(0)  # the refresh goes on behind the caller's back
    assert source.asked == 2


async def test_nobody_waits_for_the_refresh_of_a_known_identity() -> None:
    source, clock = FakeSource(), Clock()
    own = OwnIdentity(source, {}, clock=clock)
    before = await own.current()
    source.answer, clock.now = StsError(Failure.RETRYING, "ReadTimeoutError", "slow"), 601.0
    assert await own.current() == before


async def test_many_who_ask_at_once_ask_sts_once() -> None:
    source = FakeSource()
    own = OwnIdentity(source, {}, clock=Clock())
    identities = await asyncio.gather(*[own.current() for _ in range(20)])
    assert source.asked == 1
    assert {identity.principal for identity in identities} == {PLAIN}


async def test_a_missing_identity_is_asked_for_again_soon_but_not_by_everyone() -> None:
    source, clock = FakeSource(EXPIRED), Clock()
    own = OwnIdentity(source, {}, clock=clock)
    for clock.now in (0.0, 1.0, 9.0):
        assert (await own.current()).is_missing
    assert source.asked == 1
    source.answer, clock.now = session_of("op"), 10.0
    assert await own.current() == Identity(PLAIN, "AROAOP", (await own.current()).note)


async def test_an_identity_that_was_lost_keeps_its_principal_for_the_status() -> None:
    source, clock = FakeSource(), Clock()
    own = OwnIdentity(source, {}, clock=clock)
    await own.current()
    source.answer, clock.now = EXPIRED, 20.0
    assert not (await own.current()).is_missing
    own.invalidate()
    identity = await own.current()
    assert (identity.principal, identity.principal_id, identity.is_missing) == (PLAIN, "AROAOP", True)


async def test_a_sts_out_of_reach_is_no_missing_identity() -> None:
    own = OwnIdentity(FakeSource(StsError(Failure.RETRYING, "Throttling", "slow")), {}, clock=Clock())
    identity = await own.current()
    assert identity.failure is not None
    assert not identity.is_missing
