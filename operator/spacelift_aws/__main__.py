"""The command `spacelift-aws`."""

import argparse
import logging
import os
import sys

from pydantic import ValidationError

from spacelift_aws.controller.app import run_controller
from spacelift_aws.logs import configure_logging
from spacelift_aws.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line names; the exit code, where the process does not end with it."""
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
    code = 0
    try:
        run_controller(settings)
    except Exception:
        logging.getLogger(__name__).critical("the controller cannot go on", exc_info=True)
        code = 1
    # Threads that still wait for an answer of STS would hold up the end, and nothing is lost with them.
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
