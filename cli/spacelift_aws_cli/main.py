"""The command line: which commands there are, and how each of them ends."""

import os
import sys
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from spacelift_aws_cli import VERSION, commands
from spacelift_aws_cli.exits import Exit, UserError

PROGRAM = "kubectl spacelift-aws"

EPILOG = (
    "Exit codes: 0 yes, 1 no, 2 the command line is wrong, 124 --timeout is over, 125 the plugin could not do "
    "it, 130 Ctrl-C. `run`, `wait` and `logs --follow` end with the run's own exit code."
)


class _Commands(TyperGroup):
    """Lists the commands under the panels that they were registered with."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                title = str(getattr(command, "rich_help_panel", None) or "Commands")
                panels.setdefault(title, []).append((name, command.get_short_help_str(100)))
        for title, commands_ in panels.items():
            with formatter.section(title):
                formatter.write_dl(commands_)


app = typer.Typer(
    cls=_Commands,
    name=PROGRAM,
    help="Runs with AWS credentials of their own: start them, follow them, find out who did what.",
    epilog=EPILOG,
    no_args_is_help=True,
    # kubectl completes plugins its own way, see completion.py.
    add_completion=True,
    pretty_exceptions_enable=False,
    # Plain text, as kubectl writes it: with rich, --help takes three times as long.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(VERSION)
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=_version, is_eager=True),
) -> None:
    pass


commands.register(app)


def main() -> None:
    """Run one command; every failure is a sentence on standard error and an exit code."""
    try:
        app(prog_name=PROGRAM)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)
