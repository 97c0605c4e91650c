"""One Event for a repeated message."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from spacelift_aws.kube import events as module
from spacelift_aws.kube.errors import AlreadyExists, Forbidden, NotFound, NotNow, Unanswered
from spacelift_aws.kube.events import Recorder, Regarding
from spacelift_aws.kube.resources import RUNS, Resource

RUN = Regarding(RUNS, "team", "plan", "uid-1")


class FakeKube:
    def __init__(self) -> None:
        self.created: list[Mapping[str, Any]] = []
        self.patched: list[Mapping[str, Any]] = []
        self.fails: list[Exception] = []
        self.holds = asyncio.Event()
        """Until it is set, the creation of an Event with the message "slow" is under way."""

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> None:
        if body["message"] == "slow":
            await self.holds.wait()
        self.created.append(body)
        if self.fails:
            raise self.fails.pop(0)

    async def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        self.patched.append(body)
        if self.fails:
            raise self.fails.pop(0)


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


async def send(kube: FakeKube, *messages: str, recorder: Recorder | None = None) -> Recorder:
    recorder = recorder or Recorder(kube, "controller")  # type: ignore[arg-type]
    running = asyncio.create_task(recorder.run())
    for message in messages:
        recorder.event(RUN, "Normal", "Reason", message)
    await recorder.flush()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return recorder


async def test_the_same_message_is_written_once(kube: FakeKube) -> None:
    await send(kube, "one", "one", "two", "one")
    assert [body["message"] for body in kube.created] == ["one", "two"]
    assert kube.patched == []
    assert kube.created[0]["involvedObject"]["uid"] == "uid-1"


async def test_a_repetition_is_counted_after_a_while(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = await send(kube, "one", "one")
    monkeypatch.setattr(module, "QUIET", timedelta(0))
    await send(kube, "one", recorder=recorder)
    assert kube.patched[0]["count"] == 3


async def test_an_event_that_was_forgotten_is_written_anew(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = await send(kube, "one")
    monkeypatch.setattr(module, "QUIET", timedelta(0))
    kube.fails = [NotFound(404, "NotFound", "expired")]
    await send(kube, "one", recorder=recorder)
    assert len(kube.created) == 2


async def test_an_event_from_before_a_restart_is_brought_up_to_date(kube: FakeKube) -> None:
    kube.fails = [AlreadyExists(409, "AlreadyExists", "there is one")]
    await send(kube, "one")
    assert list(kube.patched[0]) == ["lastTimestamp"]


@pytest.mark.parametrize(
    ("error", "tries"), [(Unanswered("lost"), module.UNANSWERED_TRIES), (NotNow("no connection"), module.TRIES)]
)
async def test_one_that_is_not_taken_now_is_sent_again(
    kube: FakeKube, error: Exception, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY", 0.001)
    kube.fails = [error, error]
    await send(kube, "one", "two")
    assert sorted(body["message"] for body in kube.created) == ["one", "one", "two", "two"]
    kube.fails = [error] * 100
    monkeypatch.setattr(module, "LAST_RETRY", 0.001)
    await send(kube, "three")
    assert len(kube.created) == 4 + tries, "not without end"


async def test_what_is_left_is_sent_at_the_end(kube: FakeKube) -> None:
    recorder = Recorder(kube, "controller")  # type: ignore[arg-type]
    running = asyncio.create_task(recorder.run())
    kube.fails = [NotNow("no connection")]
    for message in ("again later", "slow"):
        recorder.event(RUN, "Normal", "Reason", message)
    while len(kube.created) < 1:  # noqa: ASYNC110 - a fake gives no sign
        await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    recorder.event(RUN, "Normal", "Reason", "too late for the others")
    kube.holds.set()
    await recorder.last_words()
    assert {body["message"] for body in kube.created[1:]} == {"again later", "slow", "too late for the others"}


async def test_an_end_does_not_wait_long_for_events(
    kube: FakeKube, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LAST_WORDS_WITHIN", 0.01)
    recorder = Recorder(kube, "controller")  # type: ignore[arg-type]
    recorder.event(RUN, "Normal", "Reason", "slow")
    async with asyncio.timeout(5):
        await recorder.last_words()
    assert "1 events were not written before the end" in caplog.text


@pytest.mark.parametrize(
    "error", [Forbidden(403, "Forbidden", "no", causes=("NamespaceTerminating",)), ValueError("a defect")]
)
async def test_losing_one_harms_no_other(kube: FakeKube, error: Exception) -> None:
    kube.fails = [error]
    await send(kube, "one", "two")
    assert [body["message"] for body in kube.created] == ["one", "two"]


async def test_an_event_that_takes_long_holds_up_no_other(kube: FakeKube) -> None:
    sending = asyncio.create_task(send(kube, "slow", *map(str, range(20))))
    async with asyncio.timeout(5):
        while len(kube.created) < 20:  # noqa: ASYNC110 - a fake gives no sign
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not sending.done(), "what is under way is waited for"
    kube.holds.set()
    await sending
    assert kube.created[-1]["message"] == "slow"


async def test_where_there_is_no_room_repetitions_go_first_and_ends_never(
    kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 4)
    recorder = Recorder(kube, "controller")  # type: ignore[arg-type]

    def told(uid: str, reason: str, message: str, *, is_end: bool = False) -> None:
        recorder.event(Regarding(RUNS, "team", uid, uid), "Warning", reason, message, is_end=is_end)

    told("a", "Retrying", "throttled")
    told("a", "Retrying", "throttled again")
    for uid in "abc":
        told(uid, "CredentialsIssued", "issued")
    for uid in "abcdef":
        told(uid, "Finished", "over", is_end=True)
    await send(kube, recorder=recorder)
    written = [(body["involvedObject"]["uid"], body["message"]) for body in kube.created]
    assert written == [(uid, "over") for uid in "abcdef"]


async def test_what_is_told_first_stays(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    recorder = Recorder(kube, "controller")  # type: ignore[arg-type]
    for number in range(9):
        recorder.event(RUN, "Warning", "Retrying", str(number))
    recorder.event(Regarding(RUNS, "team", "other", "uid-2"), "Normal", "CredentialsIssued", "issued")
    recorder.event(RUN, "Normal", "Finished", "over", is_end=True)
    await send(kube, recorder=recorder)
    assert [body["message"] for body in kube.created] == ["0", "issued", "over"]


async def test_a_repetition_that_waits_takes_no_place(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    await send(kube, *(["one"] * 50), "two")
    assert [(body["message"], body["count"]) for body in kube.created] == [("one", 50), ("two", 1)]


async def test_names_and_messages_fit(kube: FakeKube) -> None:
    recorder = Recorder(kube, "controller")  # type: ignore[arg-type]
    recorder.event(Regarding(RUNS, "team", "a" * 199 + "-b", "uid"), "Normal", "Reason", "…" * 1000)
    await send(kube, recorder=recorder)
    assert kube.created[0]["metadata"]["name"].startswith("a" * 199 + ".")
    assert len(kube.created[0]["message"].encode()) <= module.MESSAGE_LIMIT
