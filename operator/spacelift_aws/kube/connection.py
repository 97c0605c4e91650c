"""Logging in to the API server: an `aiohttp` session.

The official client reads kubeconfig files and the pod's service account, exec plugins and token rotation included;
its generated API classes are not used, because they cost four times as much a call and drop fields of pods that
are newer than the client.
"""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse
from kubernetes import client, config

log = logging.getLogger(__name__)

RENEWED_EVERY = 10.0
"""Seconds until token, CAs and client certificate are looked at again: all of them rotate on disk, plugins give new
tokens."""

CLOSED_AFTER = 60.0
"""Seconds until a session that another replaced is closed: every call on it has ended by then."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A logged-in session and where it leads."""

    server: str
    http: aiohttp.ClientSession

    async def close_later(self) -> None:
        """Close the session once no call can be under way on it."""
        await asyncio.sleep(CLOSED_AFTER)
        await self.http.close()


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


def connect(configuration: client.Configuration, *middlewares: ClientMiddlewareType) -> Connection:
    """Open a session whose requests go through these middlewares as well.

    It has as many connections as are asked for: `Kube` bounds the calls, and there are few watches.
    """
    tls = _tls(configuration)
    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls),
        headers={"User-Agent": "spacelift-aws", "Accept": "application/json"},
        middlewares=(_Renewal(configuration, tls), *middlewares),
        read_bufsize=2**20,
    )
    return Connection(server=configuration.host, http=http)


class _Renewal:
    """A middleware that keeps what a request is trusted by, and what it trusts, as it is on disk at the moment."""

    def __init__(self, configuration: client.Configuration, tls: ssl.SSLContext) -> None:
        self._configuration = configuration
        self._tls = tls
        self._token: str | None = None
        self._seen = _modified(configuration)
        self._renewed_at = float("-inf")
        self._renewing = asyncio.Lock()

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        if self._is_due():
            async with self._renewing:
                if self._is_due():
                    await self._renew()
        if self._token:
            request.headers["Authorization"] = self._token
        return await handler(request)

    def _is_due(self) -> bool:
        return asyncio.get_running_loop().time() >= self._renewed_at + RENEWED_EVERY

    async def _renew(self) -> None:
        configuration = self._configuration
        try:
            # In a thread: an exec plugin takes a second.
            self._token = await asyncio.to_thread(configuration.get_api_key_with_prefix, "BearerToken")
        except (OSError, config.ConfigException) as error:
            log.warning("the bearer token cannot be read, the last one is kept: %s", error)
        seen = _modified(configuration)
        if seen != self._seen:
            try:
                _load_certificates(self._tls, configuration)
                self._seen = seen
                log.info("certificates for the API server were read again")
            except (OSError, ssl.SSLError) as error:
                log.warning("certificates for the API server cannot be read, the last ones are kept: %s", error)
        self._renewed_at = asyncio.get_running_loop().time()


def _modified(configuration: client.Configuration) -> tuple[int | None, ...]:
    """When the files with certificates were last written, in nanoseconds."""
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    return tuple(Path(file).stat().st_mtime_ns if file and Path(file).exists() else None for file in files)


def _load_certificates(context: ssl.SSLContext, configuration: client.Configuration) -> None:
    """CAs are added to those that are trusted, a client certificate replaces the last one."""
    if configuration.ssl_ca_cert or configuration.ca_cert_data:
        context.load_verify_locations(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)


def _tls(configuration: client.Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
