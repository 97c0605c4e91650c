"""A log that is read on after a break: nothing lost, nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from spacelift_aws_cli.following.cursor import Cursor

T = "2026-01-01T00:00:{:02}.{:09}Z"


def line(second: int, fraction: int, text: str) -> bytes:
    """A line as the API server gives it."""
    return f"{T.format(second, fraction)} {text}\n".encode()


def read(cursor: Cursor, lines: list[bytes]) -> list[bytes]:
    """One connection: the query is honoured as the API server does it."""
    since = cursor.begin().get("sinceTime", "").removesuffix("Z").encode()
    return [text for one in lines if one[:19] >= since and (text := cursor.take(one)) is not None]


def test_the_first_connection_asks_for_everything() -> None:
    assert Cursor().begin() == {"timestamps": "true"}


def test_the_last_second_is_asked_for_again_and_left_out() -> None:
    cursor = Cursor()
    log = [line(1, 1, "a"), line(2, 1, "b"), line(2, 2, "c")]
    assert read(cursor, log) == [b"a\n", b"b\n", b"c\n"]
    assert cursor.begin()["sinceTime"] == "2026-01-01T00:00:02Z"
    assert read(cursor, [*log, line(2, 3, "d")]) == [b"d\n"]
    assert read(cursor, [*log, line(2, 3, "d")]) == []


def test_equal_times_count_one_by_one() -> None:
    cursor = Cursor()
    assert read(cursor, [line(1, 5, "same")] * 2) == [b"same\n"] * 2
    assert read(cursor, [line(1, 5, "same")] * 3) == [b"same\n"]


def test_a_line_in_pieces_stays_together() -> None:
    cursor = Cursor()
    cursor.begin()
    assert cursor.take(line(1, 1, "long")) == b"long\n"
    assert cursor.take(b"goes on\n") == b"goes on\n"
    cursor.begin()
    assert [cursor.take(one) for one in (line(1, 1, "long"), b"goes on\n", line(1, 2, ""))] == [None, None, b"\n"]


def test_what_a_rotated_log_no_longer_has_is_not_waited_for() -> None:
    cursor = Cursor()
    read(cursor, [line(1, 1, "a"), line(1, 2, "b")])
    cursor.begin()
    assert cursor.take(line(1, 2, "b")) is None
    assert cursor.take(line(1, 3, "c")) == b"c\n"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30).map(sorted),
    st.lists(st.integers(0, 30), max_size=6),
)
def test_wherever_it_breaks_each_line_comes_once(times: list[tuple[int, int]], breaks: list[int]) -> None:
    log = [line(second, fraction, str(number)) for number, (second, fraction) in enumerate(times)]
    cursor = Cursor()
    seen = [text for end in sorted(breaks) for text in read(cursor, log[:end])] + read(cursor, log)
    assert seen == [f"{number}\n".encode() for number in range(len(log))]
