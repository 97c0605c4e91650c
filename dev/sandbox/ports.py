"""Ports of this machine."""

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment. OSError where the address is not one of this machine."""
    with socket.socket() as free:
        free.bind((host, 0))
        number: int = free.getsockname()[1]
    return number
