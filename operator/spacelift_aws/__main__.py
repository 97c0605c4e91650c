"""The program `spacelift-aws`: parses the command line, reads the settings, and hands over to `commands/`."""

import argparse
import sys
from importlib.metadata import version

from pydantic import ValidationError
from pydantic_settings import SettingsError

from spacelift_aws.commands import check, controller, worker
from spacelift_aws.settings import Settings, WorkerSettings

VERSION = version("spacelift-aws")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line names; the exit code, where the process does not end with it."""
    options = _parser().parse_args(arguments)
    try:
        return _dispatch(options)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            place = [f"SPACELIFT_AWS_{part}:".upper() for part in problem["loc"][:1]]
            print(*place, problem["msg"].removeprefix("Value error, "), file=sys.stderr)
    except SettingsError as error:
        # What should be JSON is none; the text names the field and not its value.
        print(f"{error}: a list is written as JSON", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spacelift-aws",
        description="Short-lived, traceable AWS credentials for every infrastructure run in a Kubernetes cluster.",
        epilog="Settings are environment variables SPACELIFT_AWS_…; docs/settings.md lists them.",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    commands.add_parser("controller", help=controller.HELP)
    commands.add_parser("worker", help=worker.HELP)
    checking = commands.add_parser("check", help=check.HELP)
    checking.add_argument("command_checked", choices=("controller", "worker"), help="with the settings of that one")
    return parser


def _dispatch(options: argparse.Namespace) -> int:
    match options.command:
        case "controller":
            controller.main(Settings(), VERSION)
        case "worker":
            worker.main(WorkerSettings(), VERSION)
    return check.main(WorkerSettings() if options.command_checked == "worker" else Settings())


if __name__ == "__main__":
    sys.exit(main())
