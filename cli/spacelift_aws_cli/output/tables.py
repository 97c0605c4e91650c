"""Tables as kubectl writes them: plain columns, in colour on a terminal only."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

GAP = "   "


class Tone(StrEnum):
    """What a word means to who reads it; the terminal's colour follows from it."""

    GOOD = "green"
    BAD = "red"
    BUSY = "yellow"
    QUIET = "bright_black"
    TITLE = "bold"
    PLAIN = "default"


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of a table or a piece of a line."""

    text: str
    tone: Tone = Tone.PLAIN


Row = Sequence[Cell]


def columns(header: Sequence[str], rows: Sequence[Row]) -> list[list[Cell]]:
    """The lines of a table, each cell but the last padded to its column's width."""
    table = [[Cell(title, Tone.TITLE) for title in header], *rows] if header else list(rows)
    widths = [max(len(row[index].text) for row in table) for index in range(len(table[0]))] if table else []
    return [
        [
            cell if index == len(row) - 1 else Cell(cell.text.ljust(widths[index]) + GAP, cell.tone)
            for index, cell in enumerate(row)
        ]
        for row in table
    ]


def plain(line: Row) -> str:
    """A line without colour."""
    return "".join(cell.text for cell in line).rstrip()
