"""Waiting for the definitions: Kopf looks for kinds when it starts, and never watches one that comes later."""

import asyncio
import logging

from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import KubeError
from spacelift_aws.kube.resources import Resource
from spacelift_aws.runtime.controller import Kind
from spacelift_aws.runtime.health import Health

log = logging.getLogger(__name__)

RETRY = 2.0
"""Seconds until the API server is asked again."""


async def until_served(kube: Kube, kinds: tuple[Kind, ...], health: Health) -> None:
    """Return once the API server serves all kinds; `health` is told what is missing meanwhile."""
    before = health.waits_for
    for kind in kinds:
        health.waits_for = f"the definition of {kind.resource.plural}"
        await _until_kind_served(kube, kind.resource)
    health.waits_for = before


async def _until_kind_served(kube: Kube, resource: Resource) -> None:
    while True:
        try:
            if await kube.served(resource):
                return
            log.error("the API server knows no %s: apply the CRDs (kubectl apply -f crds/)", resource.plural)
        except KubeError as error:
            log.warning("asking whether there are %s: %s; again in %.0f s", resource.plural, error, RETRY)
        await asyncio.sleep(RETRY)
