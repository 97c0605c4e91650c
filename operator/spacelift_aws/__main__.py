"""The command `spacelift-aws`."""

import argparse
import asyncio
import logging
import os
import sys
from importlib.metadata import version

from pydantic import ValidationError
from pydantic_settings import SettingsError

from spacelift_aws.check import NobodyActsError, check
from spacelift_aws.controller.app import controller_charter
from spacelift_aws.engine.charter import Charter
from spacelift_aws.engine.process import run
from spacelift_aws.logs import configure_logging
from spacelift_aws.settings import Settings, WorkerSettings
from spacelift_aws.worker.app import worker_charter

VERSION = version("spacelift-aws")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line names; the exit code, where the process does not end with it."""
    parser = argparse.ArgumentParser(
        prog="spacelift-aws",
        description="Short-lived, traceable AWS credentials for every infrastructure run in a Kubernetes cluster.",
        epilog="Settings are environment variables SPACELIFT_AWS_…; the README lists them.",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    commands.add_parser("controller", help="verify AwsIntegrations and execute Runs")
    commands.add_parser("worker", help="do so in a tenant's namespaces, under the tenant's identity")
    checking = commands.add_parser("check", help="find out whether some replica acts")
    checking.add_argument("command_checked", choices=("controller", "worker"), help="with the settings of that one")
    options = parser.parse_args(arguments)
    command = options.command_checked if options.command == "check" else options.command
    settings: Settings
    try:
        settings, charter = _worker() if command == "worker" else _controller()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            place = [f"SPACELIFT_AWS_{part}:".upper() for part in problem["loc"][:1]]
            print(*place, problem["msg"].removeprefix("Value error, "), file=sys.stderr)
        return 2
    except SettingsError as error:
        # What should be JSON is none; the text names the field and not its value.
        print(f"{error}: a list is written as JSON", file=sys.stderr)
        return 2
    if options.command == "check":
        return _check(charter)
    configure_logging(settings)
    logging.getLogger(__name__).info("spacelift-aws %s %s starts", VERSION, command)
    code = 0
    try:
        run(settings, charter)
    except Exception:
        logging.getLogger(__name__).critical("the %s cannot go on", command, exc_info=True)
        code = 1
    # Threads that still wait for an answer of STS would hold up the end, and nothing is lost with them.
    logging.shutdown()
    os._exit(code)


def _check(charter: Charter) -> int:
    if charter.lease is None:
        print("SPACELIFT_AWS_NAMESPACE: set it to where the replicas run", file=sys.stderr)
        return 2
    try:
        print(asyncio.run(check(charter.lease)))
    except NobodyActsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _controller() -> tuple[Settings, Charter]:
    settings = Settings()
    return settings, controller_charter(settings)


def _worker() -> tuple[Settings, Charter]:
    settings = WorkerSettings()
    return settings, worker_charter(settings)


if __name__ == "__main__":
    sys.exit(main())
