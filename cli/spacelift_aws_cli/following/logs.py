"""The log of one container from its first byte to its last, over connections that break."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from spacelift_aws_cli.following.cursor import Cursor
from spacelift_aws_cli.kube.errors import ApiError, Forbidden, KubeError, NotFound

if TYPE_CHECKING:
    from spacelift_aws_cli.kube.client import Client

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds before a stream is opened again; the last one for ever, the first after anything came."""
AFTER_THE_END = 30.0
"""Seconds in which the rest of a log is fetched once its Run has ended, if the API server is away just then."""


class Sink(Protocol):
    """Takes whole lines of one container; a last one may lack its end."""

    def __call__(self, container: str, line: bytes) -> None: ...


class LogStream:
    """Copies a container's log to a sink, in a thread of its own."""

    def __init__(
        self, client: "Client", namespace: str, container: str, sink: Sink, say: Callable[[str], None]
    ) -> None:
        self._client, self._namespace, self._container = client, namespace, container
        self._sink, self._say = sink, say
        self._cursor = Cursor()
        self._over = threading.Event()
        self._pod = ""
        self._thread = threading.Thread(target=self._copy, name=f"log of {container}", daemon=True)

    def start(self, pod: str) -> None:
        """Begin, once the pod has a name. A second call does nothing."""
        if not self._pod:
            self._pod = pod
            self._thread.start()

    def finish(self) -> None:
        """The Run has ended: fetch what is left, and return when nothing is."""
        self._over.set()
        if self._pod:
            self._thread.join()

    def _copy(self) -> None:
        pause = 0
        deadline = None
        while True:
            over = self._over.is_set()  # asked first: what was written before the end is read after it
            try:
                came = self._read(follow=not over)
                if over:
                    return
            except Forbidden as error:
                self._say(f"No logs: {error}")
                return
            except KubeError as error:
                deadline = deadline or (time.monotonic() + AFTER_THE_END if over else None)
                if over and (_is_final(error) or time.monotonic() > (deadline or 0)):
                    if not _is_final(error):
                        self._say(f"The end of {self._container}'s log may be missing: {error}")
                    return
                came = False
            pause = 0 if came else min(pause + 1, len(PAUSES) - 1)
            self._over.wait(PAUSES[pause]) if not over else time.sleep(PAUSES[pause])

    def _read(self, *, follow: bool) -> bool:
        """One connection; whether anything new came. A line that breaks off midway comes whole with the next."""
        came = False
        query = self._cursor.begin()
        if follow:
            query["follow"] = "true"
        for line in self._client.log(self._namespace, self._pod, self._container, query):
            if not line.endswith(b"\n") and follow:
                return came
            text = self._cursor.take(line)
            if text is not None:
                came = True
                self._sink(self._container, text)
        return came


def _is_final(error: KubeError) -> bool:
    """Whether the log of a Run that has ended will not come any more: no pod, or a container that never started."""
    return isinstance(error, NotFound) or (isinstance(error, ApiError) and error.status == 400)
