"""A small HTTP server in a thread of its own: it answers also while the process's loop is busy or blocked."""

import asyncio
import errno
import logging
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOOK_EVERY = 30.0
"""Seconds between two looks at a certificate, which is renewed on disk."""


class HttpServer:
    """Answers GET requests, on all addresses of both IP versions."""

    def __init__(self, routes: Mapping[str, Handler], port: int, certificate: Path | None = None) -> None:
        """`certificate`: a folder with `tls.crt` and `tls.key`, as a Secret of type kubernetes.io/tls is mounted."""
        self._routes = routes
        self._port = port
        self._certificate = certificate
        self._loop = asyncio.new_event_loop()

    def start(self) -> None:
        """Listen, and answer from now on for as long as the process lives.

        Raises OSError if the port is taken or the certificate cannot be read.
        """
        self._loop.run_until_complete(self._listen())
        threading.Thread(target=self._loop.run_forever, name=f"http-{self._port}", daemon=True).start()

    async def _listen(self) -> None:
        app = web.Application()
        for path, handler in self._routes.items():
            app.router.add_get(path, handler)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        context = None
        if self._certificate is not None:
            context = _context(self._certificate)
            self._renewing = self._loop.create_task(_keep_fresh(context, self._certificate))
        try:
            await web.TCPSite(runner, None, self._port, ssl_context=context).start()
        except OSError as error:
            # A kernel that has IPv6 may still have no address of it.
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            site = web.TCPSite(runner, "0.0.0.0", self._port, ssl_context=context)  # noqa: S104 - asked from outside
            await site.start()


def _context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, folder)
    return context


def _load(context: ssl.SSLContext, folder: Path) -> None:
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")


async def _keep_fresh(context: ssl.SSLContext, folder: Path) -> None:
    """Use a renewed certificate for new connections; the last good one goes on where a new one cannot be read."""
    loaded = _changed_at(folder)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = _changed_at(folder)
        if now == loaded:
            continue
        try:
            _load(context, folder)
        except OSError as error:  # an SSLError too
            log.warning("the certificate in %s cannot be read, the last one is kept: %s", folder, error)
        loaded = now


def _changed_at(folder: Path) -> float | None:
    try:
        return (folder / "tls.crt").stat().st_mtime
    except OSError:
        return None
