"""What the probes answer, and over what."""

import asyncio
import contextlib
import errno
import http.client
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from sandbox.ports import free_port
from spacelift_aws.runtime import health as module
from spacelift_aws.runtime.health import BLOCKED_AFTER, UNWATCHED_AFTER, Health, HealthProbes
from spacelift_aws.runtime.http_server import HttpServer

PODS = "/api/v1/pods"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


def answer(*, closed: bool) -> Any:
    return SimpleNamespace(closed=closed)


def test_a_process_that_begins_lives_and_is_not_ready(health: Health) -> None:
    assert health.why_dead() is None
    assert health.why_not_ready() == "waiting for a connection to the API server"


def test_it_is_ready_when_nothing_is_missing(health: Health) -> None:
    health.waits_for = None
    assert health.why_not_ready() is None


def test_a_loop_that_does_not_turn_is_dead(health: Health, clock: Clock) -> None:
    clock.now += BLOCKED_AFTER - 1
    assert health.why_dead() is None
    clock.now += 1
    assert health.why_dead() == "the event loop has not turned for 20 s"


async def test_a_loop_that_turns_again_lives_and_was_late(
    health: Health, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    clock.now += 50
    beats = asyncio.create_task(health.beat())
    async with asyncio.timeout(5):
        while health.why_dead():  # noqa: ASYNC110 - time alone changes it
            await asyncio.sleep(0.001)
    assert health.late == pytest.approx(50, abs=0.1)
    beats.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beats


def test_a_part_that_ended_is_death(health: Health) -> None:
    health.part_ended = True
    assert health.why_dead() == "a part of it has ended"


@pytest.mark.parametrize(
    ("last", "dead"),
    [
        (answer(closed=False), False),  # an open watch may be silent for long
        (answer(closed=True), True),
        (None, True),
    ],
)
def test_a_watch_that_ended_and_does_not_come_back_is_death(
    health: Health, clock: Clock, monkeypatch: pytest.MonkeyPatch, last: Any, dead: bool
) -> None:
    monkeypatch.setattr(module, "BLOCKED_AFTER", 1e9)
    health.asked(PODS, None)
    health.asked(PODS, last)
    clock.now += UNWATCHED_AFTER - 1
    assert health.why_dead() is None
    clock.now += 1
    assert health.why_dead() == ("nothing has watched /api/v1/pods for 300 s" if dead else None)
    health.asked(PODS, None)
    assert health.why_dead() is None


def ask(host: str, port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture
def port(health: Health) -> int:
    """Where the probes are answered; the thread ends with the tests."""
    number = free_port()
    HttpServer(HealthProbes(health).routes(), number).start()
    return number


def test_both_answers_over_http_on_both_ip_versions(health: Health, clock: Clock, port: int) -> None:
    for host in ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",):
        status, text = ask(host, port, "/healthz")
        assert (status, text) == (200, "alive; its event loop was last 0.000 s late\n")
        assert ask(host, port, "/readyz") == (503, "waiting for a connection to the API server\n")
    health.waits_for = None
    assert ask("127.0.0.1", port, "/readyz") == (200, "ready\n")
    clock.now += BLOCKED_AFTER
    assert ask("127.0.0.1", port, "/healthz") == (503, "the event loop has not turned for 20 s\n")
    assert ask("127.0.0.1", port, "/")[0] == 404


def test_a_port_that_is_taken_is_an_error(health: Health, port: int) -> None:
    with pytest.raises(OSError, match="address already in use"):
        HttpServer(HealthProbes(health).routes(), port).start()


def test_without_any_ipv6_address_ipv4_is_answered(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoIpv6(web.TCPSite):
        async def start(self) -> None:
            if self._host is None:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            await super().start()

    monkeypatch.setattr(web, "TCPSite", NoIpv6)
    number = free_port()
    HttpServer(HealthProbes(health).routes(), number).start()
    assert ask("127.0.0.1", number, "/healthz")[0] == 200
