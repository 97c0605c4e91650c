"""Logging in to the API server: one `aiohttp` session for our own calls and for Kopf's watches.

The official client reads kubeconfig files and the pod's service account, exec plugins and token rotation included;
its generated API classes are not used, because they cost four times as much a call and drop fields of pods that
are newer than the client.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse
from kubernetes import client, config

CONNECTIONS = 64
"""Connections to the API server at once; a burst of Runs waits here instead of opening thousands."""


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


def connect(configuration: client.Configuration, on_list: Callable[[str], None]) -> Connection:
    """Open the shared session; `on_list` hears the path of every list that Kopf begins.

    Kopf lists a resource when it starts and again after a gap in its watch, and has no other word for the latter.
    Our own calls bring their own middlewares and are not heard.
    """

    async def hear_lists(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        if request.method == "GET" and "watch" not in request.url.query:
            on_list(request.url.path)
        return await handler(request)

    add_token = _add_token(configuration)
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=_tls(configuration)),
        headers={"User-Agent": "spacelift-aws", "Accept": "application/json"},
        middlewares=(add_token, hear_lists),
        read_bufsize=2**20,
    )
    return Connection(server=configuration.host, http=http, own_middlewares=(add_token,))


def _add_token(configuration: client.Configuration) -> ClientMiddlewareType:
    """A middleware that sets the bearer token of this moment: service account tokens rotate on disk."""

    async def add_token(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        token = configuration.get_api_key_with_prefix("BearerToken")
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
