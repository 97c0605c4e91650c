"""Which of the given namespaces can be watched at all.

Kopf gives up, and the process with it, where a list is forbidden: because a namespace was deleted and its Role with it,
or has no Role yet. That one namespace must not cost all others their work, so it is left alone until it can be watched.
"""

import asyncio
import logging
from dataclasses import dataclass

from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.errors import KubeError
from spacelift_aws.kube.resources import INTEGRATIONS, PODS, RUNS
from spacelift_aws.runtime.health import Health

log = logging.getLogger(__name__)

LOOK_EVERY = 15.0
"""Seconds between two looks at the namespaces that are left alone."""
RETRY = 2.0
"""Seconds until a question that was not answered is asked again."""


@dataclass(frozen=True, slots=True)
class NamespaceAccess:
    """The given namespaces, by whether they can be watched."""

    watched: tuple[str, ...]
    left_alone: tuple[str, ...] = ()


async def divide(kube: Kube, namespaces: tuple[str, ...], health: Health) -> NamespaceAccess:
    """Find out which of the namespaces can be watched; returns once there is one, for none would mean all."""
    health.waits_for = "a permission to list Runs in any namespace that is to be watched"
    while True:
        watched = await _permitted(kube, namespaces)
        left_alone = tuple(namespace for namespace in namespaces if namespace not in watched)
        for namespace in left_alone:
            log.error(
                "namespace %s is left alone: listing Runs, AwsIntegrations or pods there is not permitted; it was "
                "deleted, or lacks the Role or its binding",
                namespace,
            )
        if watched:
            return NamespaceAccess(watched, left_alone)
        await asyncio.sleep(LOOK_EVERY)


async def until_one_is_permitted(kube: Kube, namespaces: tuple[str, ...]) -> str:
    """Wait until one of the namespaces can be watched; its name."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if permitted := await _permitted(kube, namespaces):
            return permitted[0]


async def _permitted(kube: Kube, namespaces: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([namespace for namespace in namespaces if await _may_list_all(kube, namespace)])


async def _may_list_all(kube: Kube, namespace: str) -> bool:
    while True:
        try:
            for resource in (INTEGRATIONS, RUNS, PODS):
                if not await kube.may_list(resource, namespace):
                    return False
        except KubeError as error:
            log.warning("asking what is permitted in %s: %s; again in %.0f s", namespace, error, RETRY)
            await asyncio.sleep(RETRY)
        else:
            return True
