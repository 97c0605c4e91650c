"""What `controller` and `worker` have in common: log, run until the end, leave with an exit code."""

import logging
import os
from typing import NoReturn

from spacelift_aws.logs import configure_logging
from spacelift_aws.roles.assembly import assemble
from spacelift_aws.runtime.manager import run
from spacelift_aws.runtime.role import Role
from spacelift_aws.settings import Settings

log = logging.getLogger(__name__)


def serve(settings: Settings, role: Role, version: str) -> NoReturn:
    """Run a role until a signal ends it. Exit code 0 then, 1 if the process could not go on."""
    configure_logging(settings)
    log.info("spacelift-aws %s %s starts", version, role.component)
    code = 0
    try:
        run(settings, role, assemble)
    except Exception:
        log.critical("the process cannot go on", exc_info=True)
        code = 1
    # Threads that still wait for an answer of STS would hold up the end, and nothing is lost with them.
    logging.shutdown()
    os._exit(code)
