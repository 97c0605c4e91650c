"""Limits on the requests of Kubernetes' own controllers, such as the Job controller and the garbage collector."""

from collections.abc import Mapping
from typing import cast

from sandbox.controlplane import ControlPlane
from sandbox.stage import Stage

MANAGER = "kube-controller-manager"
SHIPPED = {"qps": 20, "burst": 30}
UNLIMITED = {"qps": 100_000, "burst": 100_000}


def limit_manager(stage: Stage, limits: Mapping[str, int]) -> None:
    """Start it again with these limits."""
    plane = cast("ControlPlane", stage.cluster)
    plane.stop_component(MANAGER)
    plane.start_component(MANAGER, tuple(f"--kube-api-{name}={value}" for name, value in limits.items()))
