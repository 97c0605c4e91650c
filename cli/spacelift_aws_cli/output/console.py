"""Standard output and standard error. Colours and live views on a terminal only; `NO_COLOR` is heeded."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.options import Output
from spacelift_aws_cli.output.documents import written
from spacelift_aws_cli.output.tables import Row, Tone, plain

if TYPE_CHECKING:
    from rich.text import Text

_CODES = {Tone.GOOD: "32", Tone.BAD: "31", Tone.BUSY: "33", Tone.QUIET: "90", Tone.TITLE: "1"}


def in_colour(stream: TextIO) -> bool:
    """Whether colours are wanted there (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(lines: Iterable[Row], stream: TextIO | None = None) -> None:
    """Write lines, in colour where that is wanted."""
    out = stream or sys.stdout
    coloured = in_colour(out)
    for line in lines:
        out.write((_painted(line) if coloured else plain(line)) + "\n")
    out.flush()


def _painted(line: Row) -> str:
    """ANSI's own codes: rich takes as long to load as most commands take altogether."""
    return "".join(
        f"\x1b[{_CODES[cell.tone]}m{cell.text}\x1b[0m" if cell.tone in _CODES else cell.text for cell in line
    ).rstrip()


def answer(content: Any, form: Output) -> None:
    """Write an answer for a program."""
    sys.stdout.write(written(content, form))


def say(text: str) -> None:
    """Tell a person something beside the answer."""
    print(text, file=sys.stderr, flush=True)


def confirm(question: str, assume_yes: bool) -> None:
    """Go on only if a person says yes. Raises UserError where there is nobody to ask."""
    if assume_yes:
        return
    if not sys.stdin.isatty():
        raise UserError("There is no terminal to confirm on: check what would be done, and add --yes.")
    say(f"{question} [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("Nothing was changed.", Exit.NO)


def rich_text(lines: Sequence[Row]) -> "Text":
    """Lines for one of rich's live views."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ellipsis")
    for line in lines:
        for cell in line:
            text.append(cell.text, style="" if cell.tone is Tone.PLAIN else str(cell.tone))
        text.append("\n")
    return text
