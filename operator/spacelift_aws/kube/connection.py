"""Logging in to the API server: one `aiohttp` session for our own calls and for Kopf's watches.

The official client reads kubeconfig files and the pod's service account, exec plugins and token rotation included;
its generated API classes are not used, because they cost four times as much a call and drop fields of pods that
are newer than the client.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse
from kubernetes import client, config
from yarl import URL

log = logging.getLogger(__name__)

CONNECTIONS = 64
"""Connections to the API server at once, Kopf's included but for the watches of many namespaces."""

TOKEN_KEPT = 10.0
"""Seconds until the bearer token is looked at again: service account tokens rotate on disk, plugins give new ones."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A logged-in session and where it leads."""

    server: str
    http: aiohttp.ClientSession
    own_middlewares: tuple[ClientMiddlewareType, ...]


def load_configuration() -> client.Configuration:
    """The pod's service account inside a cluster, else the current context of the kubeconfig (`KUBECONFIG`).

    Raises `kubernetes.config.ConfigException` if there is neither.
    """
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        config.load_kube_config(client_configuration=configuration)
    return configuration


def connect(
    configuration: client.Configuration,
    on_list: Callable[[str], None],
    on_ask: Callable[[str, ClientResponse | None], None],
    watches: int = 0,
) -> Connection:
    """Open the shared session; `on_list` hears the path of every list that Kopf begins, `on_ask` of all that it asks.

    Each of that many watches gets a connection of its own: they are held for minutes, and nothing else could be sent.

    Kopf lists a resource when it starts and again after a gap in its watch, and has no other word for the latter.
    It is told after the answer came: what is listed then is no older than what Kopf got. Our own calls bring their
    own middlewares and are not heard. `on_ask` hears of a request twice: when it is sent and when its answer begins.
    """
    prefix = URL(configuration.host).path.rstrip("/")

    async def hear(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        path, query = request.url.path.removeprefix(prefix), request.url.query
        on_ask(path, None)
        response = await handler(request)
        on_ask(path, response)
        if request.method == "GET" and response.status == 200 and "watch" not in query and "continue" not in query:
            on_list(path)
        return response

    add_token = _add_token(configuration)
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS + watches, ssl=_tls(configuration)),
        headers={"User-Agent": "spacelift-aws", "Accept": "application/json"},
        middlewares=(add_token, hear),
        read_bufsize=2**20,
    )
    return Connection(server=configuration.host, http=http, own_middlewares=(add_token,))


def _add_token(configuration: client.Configuration) -> ClientMiddlewareType:
    """A middleware that sets the bearer token of the moment, read in a thread: an exec plugin takes a second."""
    token: str | None = None
    read_at = float("-inf")
    reading = asyncio.Lock()

    async def add_token(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        nonlocal token, read_at
        now = asyncio.get_running_loop().time()
        if now >= read_at + TOKEN_KEPT:
            async with reading:
                if now >= read_at + TOKEN_KEPT:
                    try:
                        token = await asyncio.to_thread(configuration.get_api_key_with_prefix, "BearerToken")
                    except (OSError, config.ConfigException) as error:
                        log.warning("the bearer token cannot be read, the last one is kept: %s", error)
                    read_at = now
        if token:
            request.headers["Authorization"] = token
        return await handler(request)

    return add_token


def _tls(configuration: client.Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
