"""Many objects at once, written to etcd as the API server would have: through it, fifty thousand take an hour."""

import base64
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import aiohttp

AT_ONCE = 100
"""Objects in one request: etcd takes 128 operations, and one and a half MiB."""


async def fill(etcd_socket: Path, prefix: str, body: dict[str, Any], wanted: int) -> None:
    """Copy an object, as the API server shows it, until there are so many copies, named after it and numbered.

    `prefix` is that of its kind and namespace: `/registry/pods/default`, `/registry/aws.spacelift.io/runs/default`.
    """
    pattern = body["metadata"]["name"]
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(etcd_socket))) as etcd:
        there = await _count(etcd, f"{prefix}/{pattern}-")
        for first in range(there, wanted, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, wanted))
            names = [f"{pattern}-{number}" for number in numbers]
            await _write(etcd, {f"{prefix}/{name}": _copy(body, name) for name in names})
            if first % 10_000 == 0:
                print(f"  {first} of {wanted} are there", file=sys.stderr, flush=True)


def _copy(body: dict[str, Any], name: str) -> bytes:
    metadata = {**body["metadata"], "name": name, "uid": str(uuid.uuid4())}
    metadata.pop("resourceVersion", None)
    return json.dumps({**body, "metadata": metadata}).encode()


async def _count(etcd: aiohttp.ClientSession, prefix: str) -> int:
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    asked = {"key": _encoded(prefix.encode()), "range_end": _encoded(end.encode()), "count_only": True}
    return int((await _ask(etcd, "range", asked)).get("count", 0))


async def _write(etcd: aiohttp.ClientSession, values: dict[str, bytes]) -> None:
    puts = [{"requestPut": {"key": _encoded(key.encode()), "value": _encoded(value)}} for key, value in values.items()]
    await _ask(etcd, "txn", {"success": puts})


async def _ask(etcd: aiohttp.ClientSession, what: str, body: dict[str, Any]) -> dict[str, Any]:
    async with etcd.post(f"http://localhost/v3/kv/{what}", json=body) as answer:
        answer.raise_for_status()
        read: dict[str, Any] = await answer.json(content_type=None)
        return read


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()
