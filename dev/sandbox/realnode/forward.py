"""Carries TCP connections from an address inside the machine of a real node to one on this machine's loopback.

    python -I -S forward.py PID ADDRESS PORT TARGET_PORT

PID is a process in the machine's network namespace. The listening socket is made in there, where ADDRESS is, the
connections to 127.0.0.1:TARGET_PORT out here, so nothing of this machine's network is opened to anybody else. It says
`listening` when it does. Only the standard library is used.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import sys

_CLONE_NEWNET = 0x40000000
_CHUNK = 1 << 16


def listen(pid: int, address: str, port: int) -> socket.socket:
    """A listening socket in the network namespace of process `pid`; this process stays in its own."""
    own, other = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    _enter(other)
    try:
        return socket.create_server((address, port), backlog=512)
    finally:
        _enter(own)
        os.close(own)
        os.close(other)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def serve(listening: socket.socket, target: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            # As if nobody listened here.
            writer.transport.abort()
            return
        await asyncio.gather(_carry(reader, to_writer), _carry(to_reader, writer))
        for one in (writer, to_writer):
            one.close()

    server = await asyncio.start_server(connected, sock=listening)
    print("listening", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(listen(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])), int(sys.argv[4])))
