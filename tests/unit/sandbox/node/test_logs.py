"""Where the tail of a log begins."""

import io

import pytest

from sandbox.node.logs import start_of_tail


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        (b"", 1, b""),
        (b"one\n", 1, b"one\n"),
        (b"one\ntwo\n", 1, b"two\n"),
        (b"one\ntwo", 1, b"two"),
        (b"one\ntwo\nthree\n", 2, b"two\nthree\n"),
        (b"one\ntwo\n", 9, b"one\ntwo\n"),
        (b"one\ntwo\n", 0, b""),
        (b"\n\n\n", 2, b"\n\n"),
        (b"x" * 70_000 + b"\n" + b"y" * 70_000 + b"\nz\n", 2, b"y" * 70_000 + b"\nz\n"),
    ],
)
def test_tail(text: bytes, lines: int, expected: bytes) -> None:
    assert text[start_of_tail(io.BytesIO(text), lines) :] == expected
