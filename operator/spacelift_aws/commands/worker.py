"""`spacelift-aws worker`: verify and execute in a tenant's namespaces, under the tenant's identity."""

from typing import NoReturn

from spacelift_aws.commands.serve import serve
from spacelift_aws.roles.worker import worker_role
from spacelift_aws.settings import WorkerSettings

HELP = "do the same in a tenant's namespaces, under the tenant's identity"


def main(settings: WorkerSettings, version: str) -> NoReturn:
    """Run until a signal ends it."""
    serve(settings, worker_role(settings), version)
