"""`spacelift-aws check`: whether some replica acts, asked of the API server alone. The charts' `helm test` runs it.

As in the election itself nobody's clock is believed: a Lease whose record changes is being renewed.
"""

import asyncio
import sys
import time
from collections.abc import Callable

from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.connection import connect, load_configuration
from spacelift_aws.kube.errors import KubeError, NotFound
from spacelift_aws.kube.resources import LEASES
from spacelift_aws.roles.controller import controller_role
from spacelift_aws.roles.worker import worker_role
from spacelift_aws.runtime.role import LeaseName
from spacelift_aws.settings import Settings, WorkerSettings

HELP = "find out whether some replica acts"

WITHIN = 60.0
"""Seconds: images may have to be pulled, and a Lease that is taken over is free after twenty."""
LOOK_EVERY = 1.0
"""Seconds; a holder renews every two."""


class NobodyActsError(Exception):
    """No replica was seen to renew the Lease; the text says what was seen instead."""


def main(settings: Settings) -> int:
    """Print who acts, exit code 0; or why nobody does, 1; or which setting is missing, 2."""
    role = worker_role(settings) if isinstance(settings, WorkerSettings) else controller_role(settings)
    if role.lease is None:
        print("SPACELIFT_AWS_NAMESPACE: set it to where the replicas run", file=sys.stderr)
        return 2
    try:
        print(asyncio.run(check(role.lease)))
    except NobodyActsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def check(lease: LeaseName) -> str:
    """Who acts, as a sentence. Raises NobodyActsError, and what `load_configuration` raises."""
    connection = connect(await asyncio.to_thread(load_configuration))
    kube = Kube()
    kube.use(connection)
    try:
        return await renewal(kube, lease)
    finally:
        await connection.http.close()


async def renewal(
    kube: Kube,
    lease: LeaseName,
    *,
    within: float = WITHIN,
    every: float = LOOK_EVERY,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Wait until a replica renews a Lease that it holds; `within` and `every` are seconds of the clock."""
    title = f"Lease {lease.namespace}/{lease.name}"
    deadline = clock() + within
    before: tuple[str, str] | None = None
    while True:
        try:
            spec = (await kube.get(LEASES, lease.namespace, lease.name)).get("spec") or {}
            record = (str(spec.get("holderIdentity") or ""), str(spec.get("renewTime")))
            if before and before != record and before[0] == record[0] != "":
                return f"{record[0]} acts: it renews {title}"
            seen = f"{title} is held by {record[0]}, who does not renew it" if record[0] else f"nobody holds {title}"
            before = record
        except NotFound:
            seen = f"there is no {title}: no replica has asked for it yet"
        except KubeError as error:
            seen = f"{title} cannot be read: {error}"
        if clock() > deadline:
            raise NobodyActsError(f"{seen}. See the logs of the pods")
        await asyncio.sleep(every)
