"""Ports of this machine."""

import socket


def free_port() -> int:
    """A port of loopback's that nobody listens on at this moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number
