"""`explain`: what a reason means and what to do."""

from typing import Annotated

import typer

from spacelift_aws.api.explanations import EXPLANATIONS, Explanation, explanations_of
from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.options import OutputOption
from spacelift_aws_cli.output.console import answer, show
from spacelift_aws_cli.output.tables import Cell, Tone


def _reasons(incomplete: str) -> list[str]:
    return sorted({one.reason for one in EXPLANATIONS if one.reason.lower().startswith(incomplete.lower())})


def explain(
    reason: Annotated[
        str | None, typer.Argument(help="A condition's reason; without one all are listed.", autocompletion=_reasons)
    ] = None,
    output: OutputOption = None,
) -> None:
    """Say what a condition's reason means and what to do about it. Asks no cluster."""
    found = EXPLANATIONS if reason is None else explanations_of(reason)
    if not found:
        import difflib

        near = difflib.get_close_matches(str(reason), [one.reason for one in EXPLANATIONS], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else "`explain` alone lists all."
        raise UserError(f"No condition has the reason {reason}: {hint}")
    if output is not None:
        answer([_plain(one) for one in found], output)
        return
    for index, one in enumerate(found):
        if index:
            print()
        show([[Cell(one.reason, Tone.TITLE), Cell(f"  ({one.condition})", Tone.QUIET)], [Cell(f"  {one.meaning}.")]])
        if one.remedy:
            show([[Cell("  What to do: ", Tone.TITLE), Cell(f"{one.remedy}.")]])


def _plain(one: Explanation) -> dict[str, str | None]:
    return {"condition": str(one.condition), "reason": one.reason, "meaning": one.meaning, "remedy": one.remedy}
