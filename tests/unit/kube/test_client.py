"""The REST module against a server of the test's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes import client

from spacelift_aws.kube.client import Deletion, Kube, _resource_of
from spacelift_aws.kube.connection import Connection, connect
from spacelift_aws.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    NotNow,
    Unanswered,
)
from spacelift_aws.kube.resources import INTEGRATIONS, PODS, RUNS

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """Answers with `answer`, and keeps what it was asked: method, path, query, headers, body."""

    port: int = 0
    answer: Handler | None = None
    asked: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(
            (request.method, request.path, dict(request.query), dict(request.headers), json.loads(body or b"null"))
        )
        assert self.answer is not None
        return await self.answer(request)

    def says(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        async def answer(_: web.BaseRequest) -> web.StreamResponse:
            return web.json_response(body if body is not None else {}, status=status, headers=headers)

        self.answer = answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.fixture
async def connection(server: Server) -> AsyncIterator[Connection]:
    configuration = client.Configuration(host=f"http://127.0.0.1:{server.port}/clusters/one")
    configuration.api_key["BearerToken"] = "Bearer of-the-moment"
    made = connect(configuration)
    yield made
    await made.http.close()


@pytest.fixture
def kube(connection: Connection) -> Kube:
    made = Kube()
    made.use(connection)
    return made


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", NotNow),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", ApiError),
        (413, "RequestEntityTooLarge", Invalid),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", NotNow),
        (500, "InternalError", Unanswered),
        (504, "Timeout", Unanswered),
    ],
)
async def test_each_refusal_is_what_the_caller_can_do_about_it(
    server: Server, kube: Kube, status: int, reason: str, error: type[KubeError]
) -> None:
    server.says(status, {"reason": reason, "message": "so it is"}, {"Retry-After": "7"})
    with pytest.raises(error) as raised:
        await kube.create(PODS, "team", {})
    assert type(raised.value) is error
    assert raised.value.retry_after == 7


async def test_the_causes_of_a_refusal_are_kept(server: Server, kube: Kube) -> None:
    causes = {"causes": [{"reason": "NamespaceTerminating"}]}
    server.says(403, {"reason": "Forbidden", "message": "no", "details": causes})
    with pytest.raises(Forbidden) as raised:
        await kube.create(PODS, "team", {})
    assert raised.value.causes == ("NamespaceTerminating",)


async def test_a_secret_is_never_asked_back(server: Server, kube: Kube) -> None:
    server.says(201, {"kind": "PartialObjectMetadata"})
    await kube.create_secret("team", {"stringData": {"key": "value"}})
    server.says(200, {"kind": "PartialObjectMetadata"})
    assert await kube.delete_secret("team", "it") is Deletion.HELD
    accepts = [headers["Accept"] for _, _, _, headers, _ in server.asked]
    assert accepts == ["application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"] * 2


@pytest.mark.parametrize(("status", "body"), [(200, {"kind": "Status"}), (404, {"kind": "Status"})])
async def test_a_secrets_deletion_is_plain(server: Server, kube: Kube, status: int, body: Any) -> None:
    server.says(status, body)
    assert await kube.delete_secret("team", "it") is Deletion.GONE
    method, path, query, _, options = server.asked[0]
    assert (method, path, query) == ("DELETE", "/clusters/one/api/v1/namespaces/team/secrets/it", {})
    assert options == {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}


async def test_another_object_of_the_name_is_not_deleted(server: Server, kube: Kube) -> None:
    there = {"metadata": {"uid": "another's"}}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response(there)
        return web.json_response({"reason": "Conflict"}, status=409)

    server.answer = answer
    assert await kube.delete(PODS, "team", "it", uid="mine") is None
    assert server.asked[0][4]["preconditions"] == {"uid": "mine"}
    # A webhook can refuse with the same code, and the object lives on.
    there["metadata"]["uid"] = "mine"
    with pytest.raises(Conflict):
        await kube.delete(PODS, "team", "it", uid="mine")


async def test_an_object_that_ends_gracefully_is_returned(server: Server, kube: Kube) -> None:
    left = {"kind": "Pod", "metadata": {"name": "it", "resourceVersion": "7"}}
    server.says(200, left)
    assert await kube.delete(PODS, "team", "it", uid="mine") == left


async def test_an_object_that_another_hand_deletes_in_the_same_moment_is_gone(server: Server, kube: Kube) -> None:
    server.says(200, {"kind": "Pod", "metadata": {"name": "it", "deletionGracePeriodSeconds": 0}})
    assert await kube.delete(PODS, "team", "it", uid="mine") is None


async def test_a_status_patch_carries_what_it_was_decided_on(server: Server, kube: Kube) -> None:
    server.says(200, {})
    await kube.patch_status(RUNS, "team", "it", {"phase": "Running"}, resource_version="5")
    method, path, _, headers, body = server.asked[0]
    assert (method, path) == ("PATCH", "/clusters/one/apis/aws.spacelift.io/v1beta1/namespaces/team/runs/it/status")
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert body == {"metadata": {"resourceVersion": "5"}, "status": {"phase": "Running"}}


async def test_lists_come_in_pages_with_the_bearer_token(server: Server, kube: Kube) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        second = request.query.get("continue") == "more"
        meta = {"resourceVersion": "5"} if second else {"resourceVersion": "5", "continue": "more"}
        return web.json_response({"metadata": meta, "items": [{"page": 2 if second else 1}]})

    server.answer = answer
    pages = [page async for page in kube.pages(PODS, label_selector="a=b")]
    assert pages == [([{"page": 1}], "5"), ([{"page": 2}], "5")]
    assert {headers["Authorization"] for _, _, _, headers, _ in server.asked} == {"Bearer of-the-moment"}
    assert {query["labelSelector"] for _, _, query, _, _ in server.asked} == {"a=b"}


async def test_a_connection_that_breaks_leaves_the_outcome_open(server: Server, kube: Kube) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = answer
    with pytest.raises(Unanswered) as raised:
        await kube.create_secret("team", {"stringData": {"key": "hidden-value"}})
    assert raised.value.__cause__ is None
    assert "hidden-value" not in repr(raised.value) + str(raised.value)


async def test_an_answer_that_is_no_json_leaves_the_outcome_open(server: Server, kube: Kube) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="<html>")

    server.answer = answer
    with pytest.raises(Unanswered):
        await kube.create(PODS, "team", {})


async def test_a_server_that_is_not_there_has_done_nothing() -> None:
    configuration = client.Configuration(host="http://127.0.0.1:1")
    connection = connect(configuration)
    kube = Kube()
    kube.use(connection)
    with pytest.raises(NotNow):
        await kube.create(PODS, "team", {})
    await connection.http.close()


async def test_a_closed_session_has_done_nothing(kube: Kube, connection: Connection) -> None:
    await connection.http.close()
    with pytest.raises(NotNow):
        await kube.create(PODS, "team", {})


async def test_a_session_closed_under_way_leaves_the_outcome_open(
    server: Server, kube: Kube, connection: Connection
) -> None:
    arrived = asyncio.Event()

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        await asyncio.sleep(30)
        return web.Response()

    server.answer = answer
    call = asyncio.create_task(kube.create(PODS, "team", {}))
    await arrived.wait()
    await connection.http.close()
    with pytest.raises(Unanswered):
        await call


async def test_nobody_is_logged_in_at_first() -> None:
    with pytest.raises(NotNow):
        await Kube().create(PODS, "team", {})


@pytest.mark.parametrize(
    ("status", "body", "served"),
    [
        (200, {"resources": [{"name": "runs"}, {"name": "awsintegrations"}]}, True),
        (200, {"resources": [{"name": "runs"}]}, False),
        (404, {"reason": "NotFound"}, False),
    ],
)
async def test_whether_a_kind_is_served(server: Server, kube: Kube, status: int, body: Any, served: bool) -> None:
    server.says(status, body)
    assert await kube.served(INTEGRATIONS) is served
    assert server.asked[0][1] == "/clusters/one/apis/aws.spacelift.io/v1beta1"


@pytest.mark.parametrize(
    ("path", "resource", "names_one"),
    [
        ("/api/v1/pods", "pods", False),
        ("/api/v1/namespaces/kube-system", "namespaces", True),
        ("/api/v1/namespaces/team/pods/aws-run-1", "pods", True),
        ("/apis/aws.spacelift.io/v1beta1/namespaces/team/runs", "runs", False),
        ("/apis/aws.spacelift.io/v1beta1/namespaces/team/runs/plan/status", "runs/status", True),
        ("/apis/authentication.k8s.io/v1/tokenreviews", "tokenreviews", False),
        ("/apis/aws.spacelift.io/v1beta1", "", False),
    ],
)
def test_requests_are_counted_by_resource_and_never_by_name(path: str, resource: str, names_one: bool) -> None:
    assert _resource_of(path) == (resource, names_one)
