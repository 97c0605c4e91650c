"""The helper that masks logs as it is configured, and the way by which it comes into a pod. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

USER = 65532
"""The one of the operator's image; numeric, so that a kubelet sees for itself that it is not root."""


class HelperDelivery(StrEnum):
    """How the helper comes into a pod."""

    AUTO = "Auto"
    """As an image volume where the API server has them and no node has refused one, else by an init container."""
    IMAGE = "Image"
    """As a volume of the helper's image: `volumes[].image`."""
    INIT_CONTAINER = "InitContainer"
    """By an init container that copies it into a volume in memory."""


def _resources() -> dict[str, Any]:
    # Requests and limits alike: a pod whose containers all have the two alike (quality of service Guaranteed) stays so.
    return {kind: {"cpu": "100m", "memory": "32Mi"} for kind in ("requests", "limits")}


def _security_context() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@dataclass(frozen=True, slots=True)
class Helper:
    """What is configured of the helper."""

    image: str
    delivery: HelperDelivery = HelperDelivery.INIT_CONTAINER
    resources: Mapping[str, Any] = field(default_factory=_resources)
    """Of the init container, as in a pod."""
    security_context: Mapping[str, Any] = field(default_factory=_security_context)
    """Of the init container. As it is by default it meets Pod Security's `restricted`, whatever the template says."""


def delivery_now(
    configured: HelperDelivery, *, server_keeps: bool | None, refused: bool, all_masked: bool
) -> HelperDelivery | None:
    """By which of the two ways the helper comes into a pod now; None if the API server is to be asked first.

    `server_keeps`: whether the API server keeps a pod's image volume; None while it was not asked. `refused`: a node
    has refused one. `all_masked`: all containers of the template start with the helper, so that a node that refuses the
    volume has started nothing, and another pod can take this one's place.
    """
    if configured is not HelperDelivery.AUTO:
        return configured
    if refused or server_keeps is False or not all_masked:
        return HelperDelivery.INIT_CONTAINER
    return None if server_keeps is None else HelperDelivery.IMAGE
