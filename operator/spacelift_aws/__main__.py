"""The command `spacelift-aws`."""

import argparse
import sys

from pydantic import ValidationError

from spacelift_aws.controller.app import run_controller
from spacelift_aws.logs import configure_logging
from spacelift_aws.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line names; the exit code."""
    parser = argparse.ArgumentParser(
        prog="spacelift-aws",
        description="Short-lived, traceable AWS credentials for every infrastructure run in a Kubernetes cluster.",
        epilog="Settings are environment variables SPACELIFT_AWS_…; the README lists them.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("controller", help="verify AwsIntegrations and execute Runs")
    parser.parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in problem["loc"][:1]).upper()
            print(f"SPACELIFT_AWS_{name}: {problem['msg']}", file=sys.stderr)
        return 2
    configure_logging(settings)
    run_controller(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
