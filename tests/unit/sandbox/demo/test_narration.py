"""How a story looks on a terminal."""

import io
import itertools
import shlex

import pytest

from sandbox.demo.beats import Beat, Chapter, Check, Command, Output, Prose
from sandbox.demo.narration import Narrator, Style, Told, lines_of, style_for, summary

PLAIN = Style(width=60)
GOOD = Check("the Run is Finished", "Finished", True)
BAD = Check("the Run is Finished", "Queued", False)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal, with this encoding."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def test_a_check_shows_when_it_was_made_what_was_expected_and_what_was_seen() -> None:
    assert list(lines_of(GOOD, 8.04, PLAIN)) == ["", "  8.0 s  ✓ the Run is Finished", "           Finished"]


def test_a_failed_check_says_what_was_seen_instead() -> None:
    assert list(lines_of(BAD, 100.0, PLAIN))[1:] == [
        "100.0 s  ✗ the Run is Finished",
        "           seen instead: Queued",
    ]


@pytest.mark.parametrize(
    "beat",
    [
        Chapter("A role appears"),
        Prose("many words " * 30),
        Check("long " * 30, "word " * 40 + "x" * 100, True),
        Check("policy", '{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:user/operator"},' * 3, False),
        Command(("kubectl", "patch", "run/long", "--type=merge", "--namespace=payments", "-p", '{"stop": true}')),
    ],
)
@pytest.mark.parametrize("width", [60, 96])
def test_no_line_is_wider_than_the_terminal(beat: Beat, width: int) -> None:
    assert max(len(line) for line in lines_of(beat, 1.0, Style(width))) <= width


def test_a_command_over_several_lines_can_still_be_pasted() -> None:
    words = ("kubectl", "patch", "run/long", "--type=merge", "-p", '{"spec": {"stop": true}}', "--field-manager=me")
    _, *lines = lines_of(Command(words), 0.0, PLAIN)
    assert len(lines) > 1
    pasted = "\n".join(lines).removeprefix("         $ ").replace("\\\n", "")
    assert tuple(shlex.split(pasted)) == words


def test_what_is_typed_in_is_set_apart_from_what_comes_out() -> None:
    _, command, given = lines_of(Command(("kubectl", "apply", "-f", "-"), "kind: Run\n"), 0.0, PLAIN)
    [out] = lines_of(Output("run created\n"), 0.0, PLAIN)
    assert (command.strip(), given.strip(), out.strip()) == ("$ kubectl apply -f -", "│ kind: Run", "run created")


def test_nothing_is_coloured_unless_asked_for() -> None:
    beats: list[Beat] = [Chapter("x"), Prose("x"), Command(("x",), "y"), Output("x"), GOOD, BAD]
    assert not [line for beat in beats for line in lines_of(beat, 0.0, PLAIN) if "\x1b" in line]


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_gets_colours_unless_somebody_asked_for_none(environment: dict[str, str], colour: bool) -> None:
    assert style_for(Terminal(), environment).colour is colour


def test_a_file_or_a_pipe_gets_no_colours() -> None:
    assert not style_for(io.StringIO(), {}).colour


def test_a_terminal_without_unicode_gets_signs_that_it_has() -> None:
    style = style_for(Terminal("ascii"), {"NO_COLOR": "1"})
    story = [
        *lines_of(GOOD, 0.0, style),
        *lines_of(Chapter("x"), 0.0, style),
        *lines_of(Command(("x",), "y"), 0, style),
    ]
    assert "\n".join(story).isascii()


def test_the_summary_counts_what_was_seen() -> None:
    lines = list(summary([Told(1.0, GOOD), Told(2.0, GOOD)], 12.3, PLAIN))
    assert lines[-1].strip() == "All 2 seen, in 12 s."
    assert "  1.0 s  ✓ the Run is Finished" in lines


@pytest.mark.parametrize(("checks", "stopped"), [([GOOD, BAD], ""), ([], ""), ([GOOD], "kubectl failed\nwith details")])
def test_a_story_that_was_not_whole_is_not_called_so(checks: list[Check], stopped: str) -> None:
    ticks = itertools.count()
    stream = io.StringIO()
    voice = Narrator(stream, lambda: float(next(ticks)), PLAIN)
    for check in checks:
        voice.tell(check)
    assert not voice.conclude(stopped)
    assert "Only " in stream.getvalue().splitlines()[-1]
    assert ("The story ends here: kubectl failed" in stream.getvalue()) is bool(stopped)


def test_a_story_of_which_all_was_seen_is_whole() -> None:
    voice = Narrator(io.StringIO(), lambda: 0.0, PLAIN)
    voice.tell(GOOD)
    assert voice.conclude()
