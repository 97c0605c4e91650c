"""Telling a story on a terminal: well-set lines with the time in front of what was seen. Knows nothing of clusters."""

import os
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from sandbox.demo.beats import Beat, Chapter, Check, Command, Output, Prose

_NARROW, _WIDE = 60, 100
_INDENT = 11
"""Columns before every text: the time's seven, and the mark's."""

_BOLD, _DIM, _RED, _GREEN, _CYAN = "1", "2", "31", "32", "36"


@dataclass(frozen=True)
class Style:
    """How lines may look on one terminal."""

    width: int = 96
    """Columns that may be filled."""
    colour: bool = False
    passed: str = "✓"
    failed: str = "✗"
    rule: str = "─"
    bar: str = "│"

    def paint(self, text: str, code: str) -> str:
        """The text in a colour or weight (an SGR code), where colours are wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def mark(self, passed: bool) -> str:
        """One column that says whether something was seen."""
        return self.paint(self.passed if passed else self.failed, _GREEN if passed else _RED)


def style_for(stream: TextIO, environment: Mapping[str, str] = os.environ) -> Style:
    """Colours only on a terminal that nobody asked to do without, signs only where the encoding has them."""
    tty = stream.isatty()
    colour = tty and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    columns = shutil.get_terminal_size((_WIDE, 24)).columns if tty else _WIDE
    width = max(_NARROW, min(_WIDE, columns)) - 1
    if "utf" in (stream.encoding or "").lower():
        return Style(width, colour)
    return Style(width, colour, passed="+", failed="!", rule="-", bar="|")


@dataclass(frozen=True)
class Told:
    """A check with the seconds since the beginning at which it was made."""

    at: float
    check: Check


def lines_of(beat: Beat, at: float, style: Style) -> Iterator[str]:
    """The lines of one beat, `at` seconds after the beginning."""
    match beat:
        case Chapter(title):
            yield ""
            yield style.paint(_ruled(title, style), _BOLD)
        case Prose(text):
            yield ""
            yield from _wrapped(text, style)
        case Command(words, given):
            yield ""
            yield from _command(words, style)
            for line in given.splitlines():
                yield " " * _INDENT + style.paint(f"{style.bar} ", _DIM) + line
        case Output(text):
            for line in text.rstrip("\n").splitlines():
                yield (" " * _INDENT + line).rstrip()
        case Check(expected, seen, passed):
            yield from _check(expected, seen, passed, at, style)


def summary(told: Sequence[Told], seconds: float, style: Style, stopped: str = "") -> Iterator[str]:
    """The end of the story: each check on one line, and a verdict; `stopped` says what cut the story short."""
    yield ""
    yield style.paint(_ruled("What was seen", style), _BOLD)
    yield ""
    for each in told:
        text = textwrap.shorten(each.check.expected, style.width - _INDENT, placeholder=" …")
        yield f"{_clock(each.at, style)}  {style.mark(each.check.passed)} {text}"
    passed = sum(each.check.passed for each in told)
    whole = passed == len(told) and bool(told) and not stopped
    yield ""
    if stopped:
        yield from _wrapped(f"The story ends here: {stopped.splitlines()[0]}", style)
    verdict = f"All {passed} seen, in {seconds:.0f} s." if whole else f"Only {passed} seen, in {seconds:.0f} s."
    yield " " * _INDENT + style.paint(verdict, _GREEN if whole else _RED)


class Narrator:
    """Tells beats as they come, and remembers the checks among them."""

    def __init__(self, stream: TextIO, clock: Callable[[], float], style: Style | None = None) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self.style = style or style_for(stream)
        self.told: list[Told] = []

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._began

    def tell(self, beat: Beat) -> None:
        """Print one beat."""
        at = self.seconds
        if isinstance(beat, Check):
            self.told.append(Told(at, beat))
        self._print(lines_of(beat, at, self.style))

    def whisper(self, line: str) -> None:
        """Print what is going on meanwhile."""
        text = f"{_plain_clock(self.seconds)}    {line}"
        self._print([self.style.paint(text, _DIM)])

    def conclude(self, stopped: str = "") -> bool:
        """Print the summary; whether all was seen."""
        self._print(summary(self.told, self.seconds, self.style, stopped))
        return not stopped and bool(self.told) and all(each.check.passed for each in self.told)

    def _print(self, lines: Iterator[str] | list[str]) -> None:
        for line in lines:
            print(line, file=self._stream)
        self._stream.flush()


def narrator() -> Narrator:
    """One for standard output."""
    return Narrator(sys.stdout, time.monotonic)


def _ruled(title: str, style: Style) -> str:
    head = f"{style.rule * 2} {title} "
    return head + style.rule * max(0, style.width - len(head))


def _wrapped(text: str, style: Style, indent: int = _INDENT) -> list[str]:
    margin = " " * indent
    lines: list[str] = []
    for paragraph in text.splitlines():
        lines += textwrap.wrap(
            paragraph,
            style.width,
            initial_indent=margin,
            subsequent_indent=margin,
            break_on_hyphens=False,
        )
    return lines


def _command(words: Sequence[str], style: Style) -> Iterator[str]:
    """A command as it can be pasted, over several lines if one is too short."""
    room = style.width - _INDENT - len(" \\")
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    for number, line in enumerate(lines):
        prompt = style.paint("$ ", _DIM) if number == 0 else "  "
        more = " \\" if number < len(lines) - 1 else ""
        yield " " * (_INDENT - 2) + prompt + style.paint(line + more, _CYAN)


def _check(expected: str, seen: str, passed: bool, at: float, style: Style) -> Iterator[str]:
    first, *rest = _wrapped(expected, style)
    yield ""
    yield f"{_clock(at, style)}  {style.mark(passed)} {style.paint(first.strip(), _BOLD)}"
    for line in rest:
        yield style.paint(line, _BOLD)
    # JSON within a sentence has no spaces, where lines could break.
    told = seen.replace(',"', ', "')
    for line in _wrapped(told if passed else f"seen instead: {told}", style):
        yield line if not passed else style.paint(line, _DIM)


def _clock(at: float, style: Style) -> str:
    return style.paint(_plain_clock(at), _DIM)


def _plain_clock(at: float) -> str:
    return f"{at:5.1f} s"
