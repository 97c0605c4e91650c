"""One HTTP connection to the API server, made for each call: a command makes few, some of them for minutes."""

import base64
import http.client
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from spacelift_aws_cli.kube.credentials import Credential
from spacelift_aws_cli.kube.errors import ConfigError
from spacelift_aws_cli.kube.kubeconfig import Access

CONNECT_SECONDS = 10.0


def open_connection(access: Access, credential: Credential, seconds: float) -> http.client.HTTPConnection:
    """A connection that is not opened yet; `seconds` without a byte end it. Raises ConfigError."""
    url = urlsplit(access.server)
    proxy = _proxy(access, url.scheme, url.hostname or "")
    host, port = (proxy.hostname, proxy.port) if proxy else (url.hostname, url.port)
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        context = _tls(access, credential)
        connection = _Named(host or "", port, context=context, timeout=seconds)
        connection.server_name = access.cluster.get("tls-server-name")
    else:
        connection = http.client.HTTPConnection(host or "", port, timeout=seconds)
    if proxy and url.scheme == "https":
        connection.set_tunnel(url.hostname or "", url.port or 443, _proxy_headers(proxy.username, proxy.password))
    return connection


class _Named(http.client.HTTPSConnection):
    """Verifies the certificate for `server_name` where a kubeconfig gives one."""

    server_name: str | None = None
    _context: ssl.SSLContext

    def connect(self) -> None:
        if self.server_name is None:
            super().connect()
            return
        # Not the class before: it would do TLS itself, with the host's name.
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.server_name)


class _Proxy:
    def __init__(self, text: str) -> None:
        url = urlsplit(text if "://" in text else f"http://{text}")
        if url.scheme != "http":
            raise ConfigError(f"The proxy {url.scheme}://{url.hostname} is of a kind that is not supported: use http.")
        self.hostname, self.port = url.hostname, url.port or 80
        self.username, self.password = url.username, url.password


def _proxy(access: Access, scheme: str, host: str) -> _Proxy | None:
    text = access.cluster.get("proxy-url")
    if not text and not proxy_bypass(host):
        text = getproxies().get(scheme)
    return _Proxy(text) if text and scheme == "https" else None


def _proxy_headers(username: str | None, password: str | None) -> Mapping[str, str]:
    if not username:
        return {}
    pair = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {pair}"}


def _tls(access: Access, credential: Credential) -> ssl.SSLContext:
    cluster = access.cluster
    data = cluster.get("certificate-authority-data")
    authority = base64.b64decode(data).decode() if data else None
    try:
        context = ssl.create_default_context(cafile=cluster.get("certificate-authority"), cadata=authority)
    except OSError as error:
        raise ConfigError(f"The kubeconfig's certificate authority cannot be read: {error}") from None
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credential.certificate and credential.key:
        _present(context, credential.certificate, credential.key)
    return context


def _present(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Python's TLS reads a key from a file only: one of our own that nobody else can read, for this moment."""
    handle, name = tempfile.mkstemp(prefix="kubectl-spacelift-aws-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    except ssl.SSLError as error:
        raise ConfigError(f"The kubeconfig's client certificate cannot be used: {error.reason}.") from None
    finally:
        Path(name).unlink()
