"""Who acts, as time goes by."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes import client

from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.connection import Connection, connect
from spacelift_aws.kube.errors import Forbidden, NotNow, Unanswered
from spacelift_aws.kube.leader_election import LeaseLostError
from spacelift_aws.kube.resources import LEASES, PODS

from .one_lease import DURATION, LIMIT, RETRY, OneLease, candidate, failing, hang, hang_once, now, play


def test_the_timing_is_client_gos() -> None:
    assert (DURATION, LIMIT, RETRY) == (15, 10, 2)


def test_the_first_candidate_makes_the_lease_and_leads() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        assert not one.leads()
        assert not await one.acquire()
        assert one.leads()
        assert api.calls == ["get", "create"]
        assert api.lease is not None
        spec = api.lease["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("one", 15, 0)

    play(scene())


@pytest.mark.parametrize("forged", ["2000-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z", None])
def test_a_silent_holder_is_waited_for_as_long_as_its_record_says_whatever_its_clock_said(forged: str | None) -> None:
    async def scene() -> None:
        api = OneLease()
        api.seize("dead")
        assert api.lease is not None
        api.lease["spec"]["renewTime"] = forged
        two = candidate(api, "two")
        assert await two.acquire()
        assert DURATION <= now() <= DURATION + RETRY
        assert api.holder == "two"
        assert api.lease["spec"]["leaseTransitions"] == 1

    play(scene())


def test_a_holder_that_goes_on_renewing_keeps_it() -> None:
    async def scene() -> None:
        api = OneLease()
        one, two = candidate(api), candidate(api, "two")
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(600)
        assert one.leads()
        assert not two.leads()
        assert not holding.done()
        assert not waiting.done()
        for task in (holding, waiting):
            task.cancel()

    play(scene())


def test_a_renewal_is_one_call() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        await asyncio.sleep(10 * RETRY + 1)
        assert api.calls[2:] == ["patch"] * 10
        holding.cancel()

    play(scene())


def test_of_two_candidates_at_once_one_leads() -> None:
    async def scene() -> None:
        api = OneLease()

        async def slowly(_: str) -> None:
            await asyncio.sleep(0.1)

        api.before = slowly
        tasks = {name: asyncio.create_task(candidate(api, name).acquire()) for name in ("one", "two", "three")}
        await asyncio.sleep(DURATION - RETRY)
        assert [name for name, task in tasks.items() if task.done()] == [api.holder]
        for task in tasks.values():
            task.cancel()

    play(scene())


@pytest.mark.parametrize(
    "trouble",
    [
        failing(Unanswered("cut")),
        failing(NotNow("no connection")),
        failing(Forbidden(403, "Forbidden", "the Role is gone")),
        hang,
    ],
)
def test_who_cannot_renew_in_time_stops_before_another_begins(trouble: Callable[[str], Awaitable[None]]) -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        began = now()
        api.before = trouble
        with pytest.raises(LeaseLostError, match="not renewed in time"):
            await one.hold()
        assert now() - began == pytest.approx(LIMIT)
        assert not one.leads()

    play(scene())


def test_a_renewal_that_hangs_is_given_up_for_the_next() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        hang_once(api)
        await asyncio.sleep(LIMIT * 3)
        assert one.leads()
        holding.cancel()

    play(scene())


def test_who_finds_that_the_lease_was_deleted_under_its_holder_doubts_what_that_did() -> None:
    async def scene() -> None:
        api = OneLease()
        one, two = candidate(api), candidate(api, "two")
        assert not await one.acquire(), "nobody has ever held it"
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(1)
        api.lease = None
        assert await waiting, "somebody may have held it"

    play(scene())


def test_one_renewal_that_fails_is_tried_again() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        api.before = failing(Unanswered("cut"))
        await asyncio.sleep(LIMIT - RETRY / 2 - RETRY)
        api.before = None
        await asyncio.sleep(60)
        assert one.leads()
        assert not holding.done()
        holding.cancel()

    play(scene())


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_renewal_that_was_never_answered_does_no_harm(carried_out: bool) -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        holding = asyncio.create_task(one.hold())

        async def once(verb: str) -> None:
            if verb == "patch":
                api.before = api.after = None
                raise Unanswered("cut")

        if carried_out:
            api.after = once
        else:
            api.before = once
        await asyncio.sleep(60)
        assert one.leads()
        assert api.holder == "one"
        assert not holding.done()
        holding.cancel()

    play(scene())


def test_a_creation_that_was_never_answered_is_found_to_be_its_own() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)

        async def once(verb: str) -> None:
            if verb == "create":
                api.after = None
                raise Unanswered("cut")

        api.after = once
        await one.acquire()
        assert now() == pytest.approx(RETRY)
        assert one.leads()

    play(scene())


def test_a_lease_that_somebody_labels_is_still_held() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        for _ in range(20):
            await asyncio.sleep(3)
            api.touch()
        assert one.leads()
        assert not holding.done()
        holding.cancel()

    play(scene())


def test_a_lease_that_somebody_deletes_is_made_again() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        api.lease = None
        await asyncio.sleep(RETRY + 1)
        assert one.leads()
        assert api.holder == "one"
        holding.cancel()

    play(scene())


def test_who_sees_another_hold_it_acts_no_more_at_once() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        api.seize("two")
        with pytest.raises(LeaseLostError, match="held by another"):
            await one.hold()
        assert now() == pytest.approx(RETRY)
        assert not one.leads()
        await one.release()
        assert api.holder == "two"

    play(scene())


def test_who_slept_through_its_time_does_not_act_on_waking() -> None:
    """A suspended machine: its event loop's time stands still, the clock that counts goes on."""

    async def scene() -> None:
        api = OneLease()
        slept = 0.0
        one = candidate(api, clock=lambda: now() + slept)
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        await asyncio.sleep(1)
        calls = len(api.calls)
        slept = LIMIT
        assert not one.leads()
        with pytest.raises(LeaseLostError):
            await holding
        assert len(api.calls) == calls

    play(scene())


def test_an_answer_counts_from_when_it_was_asked_for() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)

        async def late(_: str) -> None:
            await asyncio.sleep(LIMIT - 1)

        api.after = late
        await one.acquire()
        assert one.leads()
        await asyncio.sleep(1.1)
        assert not one.leads()

    play(scene())


def test_a_candidate_gives_up_a_call_that_hangs_and_asks_again() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        hang_once(api)
        await one.acquire()
        assert now() == pytest.approx(LIMIT + RETRY)

    play(scene())


def test_who_ends_in_order_lets_another_begin_at_once() -> None:
    async def scene() -> None:
        api = OneLease()
        one, two = candidate(api), candidate(api, "two")
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(30)
        holding.cancel()
        began = now()
        await one.release()
        assert not one.leads()
        await waiting
        assert now() - began <= RETRY
        assert two.leads()

    play(scene())


def test_it_is_released_also_where_the_last_renewal_was_cut_off() -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        holding = asyncio.create_task(one.hold())
        api.after = hang
        await asyncio.sleep(RETRY + 1)
        holding.cancel()
        api.after = None
        await one.release()
        assert api.holder == ""

    play(scene())


def test_a_candidate_that_never_held_it_releases_nothing() -> None:
    async def scene() -> None:
        api = OneLease()
        api.seize("one")
        two = candidate(api, "two")
        waiting = asyncio.create_task(two.acquire())
        await asyncio.sleep(1)
        waiting.cancel()
        calls = len(api.calls)
        await two.release()
        assert (api.holder, len(api.calls)) == ("one", calls)

    play(scene())


@pytest.mark.parametrize("trouble", [failing(NotNow("no connection")), hang])
def test_an_end_without_an_api_server_is_no_long_one(trouble: Callable[[str], Awaitable[None]]) -> None:
    async def scene() -> None:
        api = OneLease()
        one = candidate(api)
        await one.acquire()
        api.before = trouble
        await one.release()
        assert now() <= 3.0
        assert not one.leads()

    play(scene())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("create", (PODS, "team", {})),
        ("create_secret", ("team", {})),
        ("patch", (LEASES, "team", "x", {})),
        ("delete_secret", ("team", "x")),
    ],
)
def test_who_does_not_lead_writes_nothing(name: str, arguments: tuple[Any, ...]) -> None:
    async def scene() -> None:
        asked = 0

        def may_write() -> bool:
            nonlocal asked
            asked += 1
            return False

        kube = Kube(may_write)
        kube.use(Connection("http://unreachable.invalid", Unreachable()))  # type: ignore[arg-type]
        with pytest.raises(NotNow, match="another replica acts"):
            await getattr(kube, name)(*arguments)
        assert asked == 1

    asyncio.run(scene())


class Unreachable:
    """A session that must not be used."""

    closed = False

    def request(self, *_: object, **__: object) -> None:
        raise AssertionError("something was sent")


def test_the_right_to_write_is_asked_for_when_a_turn_comes_and_not_before() -> None:
    async def scene() -> None:
        leading = True
        kube = Kube(lambda: leading)
        kube.use(Connection("http://unreachable.invalid", Unreachable()))  # type: ignore[arg-type]
        turns = kube._turns
        while not turns.locked():
            await turns.acquire()
        call = asyncio.create_task(kube.create(PODS, "team", {}))
        await asyncio.sleep(0)
        leading = False
        turns.release()
        with pytest.raises(NotNow, match="another replica acts"):
            await call

    asyncio.run(scene())


@asynccontextmanager
async def answered(kube: Kube) -> AsyncIterator[list[str]]:
    """An API server that says yes to everything; the methods that it has received."""
    received: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        received.append(request.method)
        return web.json_response({})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    connection = connect(client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    kube.use(connection)
    yield received
    await connection.http.close()
    await runner.cleanup()


@pytest.mark.parametrize("before", [0, 1], ids=["with a new connection", "with one that is there"])
async def test_who_loses_the_right_while_a_connection_is_made_sends_nothing(before: int) -> None:
    answers = iter([True, True] * before + [True, False])
    kube = Kube(lambda: next(answers))
    async with answered(kube) as received:
        for _ in range(before):
            await kube.create(PODS, "team", {})
        with pytest.raises(NotNow, match="another replica acts"):
            await kube.create(PODS, "team", {})
        assert received == ["POST"] * before


@pytest.mark.parametrize("turns", range(30))
async def test_nothing_is_sent_once_the_right_is_lost_in_whichever_turn_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    leading, sent = True, []
    send = aiohttp.BytesPayload.write_with_length

    async def note(body: aiohttp.BytesPayload, *arguments: Any) -> None:
        sent.append(leading)
        await send(body, *arguments)

    kube = Kube(lambda: leading)
    async with answered(kube):
        await kube.create(PODS, "team", {})
        monkeypatch.setattr(aiohttp.BytesPayload, "write_with_length", note)
        call = asyncio.create_task(kube.create(PODS, "team", {}))
        for _ in range(turns):
            await asyncio.sleep(0)
        leading = False
        with suppress(NotNow):
            await call
    assert False not in sent
