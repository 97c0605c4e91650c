"""What a story consists of: plain data, told by whoever narrates."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """A new part of the story."""

    title: str


@dataclass(frozen=True)
class Prose:
    """Sentences for the reader."""

    text: str


@dataclass(frozen=True)
class Command:
    """A command that is run as it stands, with what is handed to it on standard input."""

    words: tuple[str, ...]
    given: str = ""


@dataclass(frozen=True)
class Output:
    """Text as a program printed it."""

    text: str


@dataclass(frozen=True)
class Check:
    """Something that had to be seen, and what was seen."""

    expected: str
    seen: str
    passed: bool


Beat = Chapter | Prose | Command | Output | Check
