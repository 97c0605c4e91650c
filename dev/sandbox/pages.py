"""The documentation's code: what the pages show and `examples/` holds, for the tests that apply and check it."""

import itertools
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.program import ROOT

PAGES = (
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "charts").glob("*/README.md")),
    *sorted((ROOT / "cli").glob("*.md")),
)
EXAMPLES = ROOT / "examples"
_BLOCK = re.compile(
    r"^(?:<!-- Not applied: (?P<why>.+?) -->\n+)?"
    r"(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)

_ENDS = ("|", "||", "&&", ";", ">", "2>")
_END = re.compile(rf"\s(?:{'|'.join(map(re.escape, _ENDS))})\s?")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """One code block of a page. `why_not` says why nothing applies it, and is empty where a test does."""

    page: Path
    language: str
    text: str
    why_not: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.strip().partition(chr(10))[0]}"


def blocks(*languages: str) -> Iterator[Block]:
    """All blocks of these languages on all pages."""
    for page in PAGES:
        for found in _BLOCK.finditer(page.read_text()):
            if found["language"] in languages:
                yield Block(page, found["language"], textwrap.dedent(found["text"]), found["why"] or "")


def asides(*programs: str) -> Iterator[tuple[Path, str]]:
    """All code within a page's sentences that begins with one of these programs, each on one line."""
    for page in PAGES:
        for code in _inline(page.read_text()):
            if code.startswith(tuple(f"{program} " for program in programs)):
                yield page, code


def commands(program: str) -> dict[str, list[str]]:
    """Every command line of the pages and examples that calls `program`: where it stands, and its words after it."""
    found = {}
    for place, line in _lines():
        for start in re.finditer(rf"(?:^|[\s`|;(]){re.escape(program)} (?=\S)", line):
            words = _words(line[start.end() :])
            if words:
                found[f"{place}: {program} {' '.join(words)}"] = words
    return found


def _lines() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text()
        name = str(page.relative_to(ROOT))
        for block in _BLOCK.finditer(text):
            if block["language"] == "sh":
                for line in re.sub(r"\\\n\s*", " ", block["text"]).splitlines():
                    yield name, re.sub(r"(^|\s)#.*", "", line)
        for inline in _inline(text):
            yield name, inline
    for file in EXAMPLES.rglob("*"):
        if file.suffix in (".yaml", ".yml") or file.name == "Jenkinsfile":
            for line in file.read_text().replace("\n          -- ", " -- ").splitlines():
                yield str(file.relative_to(ROOT)), line


def _inline(page: str) -> Iterator[str]:
    """The code within a page's sentences, each on one line."""
    for code in _INLINE.findall(_BLOCK.sub("", page)):
        yield " ".join(code.split())


def _words(text: str) -> list[str]:
    """The words of one command, up to a pipe, or to the end of the quotation that it stands in."""
    for part in (text, _END.split(f"{text} ")[0].rstrip("'; )")):
        try:
            words = shlex.split(part)
        except ValueError:
            continue
        return list(itertools.takewhile(lambda word: word not in _ENDS, words))
    return []
