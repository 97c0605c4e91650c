"""What is left of sessions in a process's memory once nobody holds them: with what the image sets, and malloc alone."""

import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DOCKERFILE = Path(__file__).parents[3] / "Dockerfile"
SESSIONS = 40

CHILD = f"""
import asyncio, gc, sys
from spacelift_aws.aws.sts import AssumeRoleRequest, Sts

canary = "-".join(("a value", "that", "is", "held"))

async def main():
    sts = Sts(home_region="eu-west-1")
    role = "arn:aws:iam::222222222222:role/web"
    asked = [AssumeRoleRequest(role, f"run-{{n}}", None, 900) for n in range({SESSIONS})]
    issued = await asyncio.gather(*(sts.assume_role(request, f"team-{{n % 9}}") for n, request in enumerate(asked)))
    return sts, len(issued)

held = asyncio.run(main())
gc.collect()
print(held[1], flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read by way of /proc")


class _Sts(ThreadingHTTPServer):
    """Gives out sessions, and keeps their secret values."""

    def __init__(self) -> None:
        self.values: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Sts

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        # As long as STS's own.
        key, token = secrets.token_urlsafe(30), secrets.token_urlsafe(700)
        self.server.values += [key, token]
        body = (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            f"<AccessKeyId>ASIA0</AccessKeyId><SecretAccessKey>{key}</SecretAccessKey>"
            f"<SessionToken>{token}</SessionToken><Expiration>2036-01-02T03:04:05Z</Expiration></Credentials>"
            "<AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId>"
            "<Arn>arn:aws:sts::222222222222:assumed-role/web/x</Arn></AssumedRoleUser></AssumeRoleResult>"
            "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def sts() -> Iterator[_Sts]:
    with _Sts() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def memory(pid: int) -> bytes:
    """All that a process may write to; see proc(5)."""
    found = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        for line in maps:
            span, permissions, *_ = line.split()
            start, end = (int(edge, 16) for edge in span.split("-"))
            if permissions.startswith("rw"):
                mem.seek(start)
                found.append(mem.read(end - start))
    return b"".join(found)


def test_memory_that_was_freed_holds_no_credentials(sts: _Sts) -> None:
    tunables = re.search(r"GLIBC_TUNABLES=(\S+)", DOCKERFILE.read_text())
    assert tunables is not None
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "AKIA0",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{sts.server_port}",
        "GLIBC_TUNABLES": tunables[1],
        # Python's own allocator keeps small objects to itself, and clears none.
        "PYTHONMALLOC": "malloc",
    }
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == f"{SESSIONS}\n"
        seen = memory(child.pid)
        child.stdin.close()
    assert b"a value-that-is-held" in seen, "nothing was looked through"
    assert len(sts.values) == 2 * SESSIONS
    assert [value for value in sts.values if value.encode() in seen] == []
