"""Where the tail of a log begins."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.node.logs import LineTimes, start_of_tail


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


def test_lines_have_the_time_of_the_look_that_first_saw_them_begin() -> None:
    times, early, late = LineTimes(), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    times.look(10, early)
    times.look(10, late)
    times.look(25, late)
    assert [times.of(offset) for offset in (0, 9, 10, 24)] == [early, early, late, late]
    assert [times.start(since) for since in (early, late, late + timedelta(days=1))] == [0, 10, 25]
