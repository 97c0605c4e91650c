"""What the session trusts and is trusted by, while it changes on disk. Real TLS on loopback."""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from kubernetes import client

from sandbox.certificates import Authority
from spacelift_aws.kube import connection
from spacelift_aws.kube.connection import Connection, connect


def authority(folder: Path, name: str) -> Authority:
    (folder / name).mkdir()
    return Authority(folder / name)


@asynccontextmanager
async def api_server(signed_by: Authority, port: int = 0) -> AsyncIterator[int]:
    """An API server with a certificate of that authority; its port."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.json_response({})

    pair = signed_by.server("server", ["127.0.0.1"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, reuse_address=True).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ask(known: Connection, port: int) -> int:
    # A connection of its own each time: what counts is whom the next one trusts.
    headers = {"Connection": "close"}
    async with known.http.get(f"https://127.0.0.1:{port}/", headers=headers) as response:
        return response.status


async def test_a_rotated_ca_is_trusted_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RENEWED_EVERY", 0.0)
    first, second, trusted = authority(tmp_path, "first"), authority(tmp_path, "second"), tmp_path / "ca.crt"
    trusted.write_bytes(first.certificate.read_bytes())
    configuration = client.Configuration()
    configuration.ssl_ca_cert = str(trusted)
    session = connect(configuration)
    async with session.http:
        async with api_server(first) as port:
            assert await ask(session, port) == 200
        async with api_server(second) as port:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(session, port)
            trusted.write_bytes(b"not yet whole")
            os.utime(trusted, ns=(0, 1))
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(session, port)
            trusted.write_bytes(second.certificate.read_bytes())
            os.utime(trusted, ns=(0, 2))
            assert await ask(session, port) == 200
