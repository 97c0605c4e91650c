"""Who may read `/metrics`, and over what."""

import asyncio
import http.client
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.certificates import Authority
from sandbox.ports import free_port
from spacelift_aws.controllers.state_metrics import Source, StateCollector
from spacelift_aws.controllers.stores import Stores
from spacelift_aws.kube.errors import NotNow
from spacelift_aws.runtime.health import Health
from spacelift_aws.runtime.http_server import HttpServer
from spacelift_aws.runtime.metrics_endpoint import (
    PATH,
    REMEMBERED,
    REMEMBERED_FOR,
    Gatekeeper,
    MetricsEndpoint,
    in_loop,
)


class Reviews:
    """Lets in the bearer of `good`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 0.0

    async def __call__(self, token: str) -> bool:
        self.asked.append(token)
        if token == "nobody-knows":
            raise NotNow("not logged in")
        return token == "good"


async def test_a_token_is_asked_about_once_a_minute() -> None:
    reviews = Reviews()
    gatekeeper = Gatekeeper(reviews, lambda: reviews.now)
    assert [await gatekeeper.lets_in(token) for token in ("good", "good", "bad", "bad")] == [True, True, False, False]
    assert reviews.asked == ["good", "bad"]
    reviews.now = REMEMBERED_FOR
    await gatekeeper.lets_in("good")
    assert reviews.asked == ["good", "bad", "good"]


async def test_made_up_tokens_cost_no_memory_and_none_is_kept() -> None:
    gatekeeper = Gatekeeper(Reviews())
    for number in range(REMEMBERED + 10):
        await gatekeeper.lets_in(f"made-up-{number}")
    assert len(gatekeeper._answers) == REMEMBERED
    assert "made-up" not in repr(gatekeeper._answers)


def get(connection: http.client.HTTPConnection, token: str | None = None) -> tuple[int, str]:
    try:
        connection.request("GET", PATH, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


Listen = Callable[..., int]


@pytest.fixture
def collector() -> StateCollector:
    """What a replica that waits shows."""
    return StateCollector(
        Source(
            component="test",
            pool=None,
            stores=Stores(),
            health=Health(),
            acts=lambda: False,
            queue=lambda: (0, 0.0),
            aws=lambda: None,
            clock=lambda: datetime.now(UTC),
        )
    )


@pytest.fixture
def listen() -> Listen:
    """Where an endpoint is served; the thread ends with the tests."""

    def start(endpoint: MetricsEndpoint, certificate: Path | None = None) -> int:
        port = free_port()
        HttpServer({PATH: endpoint.handle}, port, certificate).start()
        return port

    return start


def test_unguarded_everybody_may_read(listen: Listen, collector: StateCollector) -> None:
    endpoint = MetricsEndpoint(guarded=False)
    endpoint.show(collector)
    port = listen(endpoint)
    status, text = get(http.client.HTTPConnection("127.0.0.1", port, timeout=5))
    assert status == 200
    assert "\nspacelift_aws_leader 0.0\n" in text


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A folder as a Secret is mounted, and who trusts it."""
    authority = Authority(tmp_path)
    authority.server("tls", ["localhost"])
    return tmp_path, ssl.create_default_context(cafile=authority.certificate)


async def in_thread(ask: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    return await asyncio.to_thread(ask)


async def test_guarded_only_the_bearer_of_a_good_token_may(
    listen: Listen, collector: StateCollector, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    folder, trusting = certificate
    endpoint = MetricsEndpoint(guarded=True)
    endpoint.show(collector)
    port = await asyncio.to_thread(listen, endpoint, folder)

    def ask(token: str | None = None) -> Awaitable[tuple[int, str]]:
        connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=trusting)
        return in_thread(lambda: get(connection, token))

    assert (await ask("good"))[0] == 503  # nobody can be asked yet
    endpoint.guard(Gatekeeper(in_loop(Reviews(), asyncio.get_running_loop())))
    assert await ask() == (401, "show a bearer token\n")
    assert await ask("bad") == (403, "you may not get /metrics\n")
    assert (await ask("nobody-knows"))[0] == 503
    status, text = await ask("good")
    assert (status, "spacelift_aws_leader" in text) == (200, True)


async def test_a_renewed_certificate_is_taken(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    monkeypatch.setattr("spacelift_aws.runtime.http_server.LOOK_EVERY", 0.05)
    folder, _ = certificate
    port = await asyncio.to_thread(listen, MetricsEndpoint(guarded=True), folder)
    first = await asyncio.to_thread(ssl.get_server_certificate, ("localhost", port))
    (tmp_path / "renewed").mkdir()
    renewed = Authority(tmp_path / "renewed").server("tls", ["localhost"])
    for path in (renewed.key, renewed.certificate):
        path.replace(folder / path.name)
    async with asyncio.timeout(10):
        while await asyncio.to_thread(ssl.get_server_certificate, ("localhost", port)) == first:  # noqa: ASYNC110 - no sign
            await asyncio.sleep(0.05)
