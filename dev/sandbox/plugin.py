"""`kubectl spacelift-aws` as a person or a CI system calls it: through kubectl, with or without a terminal."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from sandbox import binaries
from sandbox.cluster import Cluster

_CODES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


class Plugin:
    """The plugin against one cluster, as an administrator or as whom `kubeconfig` says."""

    def __init__(self, cluster: Cluster, kubeconfig: Path | None = None, more: Mapping[str, str] | None = None) -> None:
        """`more` are further variables, of AWS say."""
        self._kubectl = str(binaries.ensure("kubectl")["kubectl"])
        environment = cluster.kubectl_environment(kubeconfig)
        self.environment = {**environment, "COLUMNS": "200", **(more or {})}

    def command(self, *arguments: str) -> list[str]:
        """What is typed."""
        return [self._kubectl, "spacelift-aws", *arguments]

    def run(self, *arguments: str, input: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Call it without a terminal and wait for its end."""
        return subprocess.run(
            self.command(*arguments),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
        )

    def start(self, *arguments: str, stdout: IO[bytes] | int, stderr: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Call it without a terminal and go on, in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=self.environment,
            start_new_session=True,
        )

    def on_terminal(self, *arguments: str, rows: int = 50, columns: int = 200) -> "Terminal":
        """Call it on a terminal of its own."""
        return Terminal(self.command(*arguments), self.environment, rows, columns)


class Terminal:
    """A pseudo-terminal and the program on it; leaving the context ends the program."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], rows: int, columns: int) -> None:
        self.shown = b""
        self._ours, theirs = pty.openpty()
        os.environ.setdefault("TERM", "xterm-256color")
        import fcntl
        import struct
        import termios

        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        size = {"LINES": str(rows), "COLUMNS": str(columns), "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, **size},
            start_new_session=True,
            # Ctrl-C comes from the terminal that is the session's own.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """All that was shown, without colours and cursor movements."""
        return _CODES.sub(b"", self.shown).decode(errors="replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        """Press these keys; `\\x03` is Ctrl-C."""
        os.write(self._ours, text.encode())

    def until(self, words: str, timeout: float = 60) -> str:
        """Wait until these words are shown; all that was shown. TimeoutError with it if they are not."""
        deadline = time.monotonic() + timeout
        while words not in self.text:
            if not self._read(deadline) or time.monotonic() > deadline:
                raise TimeoutError(f"never shown: {words}\n{self.text}")
        return self.text

    def end(self, timeout: float = 60) -> int:
        """Wait until the program has ended; its exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self.process.wait(max(1.0, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        """Take what is shown; False once nothing more will be, or it is too late."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            chunk = os.read(self._ours, 1 << 16)
        except OSError:
            return False  # the program has ended
        self.shown += chunk
        return bool(chunk)
