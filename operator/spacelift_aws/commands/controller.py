"""`spacelift-aws controller`: verify AwsIntegrations and execute Runs."""

from typing import NoReturn

from spacelift_aws.commands.serve import serve
from spacelift_aws.roles.controller import controller_role
from spacelift_aws.settings import Settings

HELP = "verify AwsIntegrations and execute Runs"


def main(settings: Settings, version: str) -> NoReturn:
    """Run until a signal ends it."""
    serve(settings, controller_role(settings), version)
