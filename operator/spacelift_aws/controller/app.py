"""The controller: a process that verifies controller-mode integrations and executes their Runs."""

from spacelift_aws.controller.policy import CONTROLLER, ControllerPolicy
from spacelift_aws.engine.charter import Charter, LeaseName
from spacelift_aws.integration.side import ControllerSide
from spacelift_aws.settings import Settings

COMPONENT = "spacelift-aws-controller"
"""Its name on Events, and of the Lease that its replicas compete for."""


def controller_charter(settings: Settings) -> Charter:
    """What the controller is there for."""
    return Charter(
        component=COMPONENT,
        executor=CONTROLLER,
        namespaces=settings.namespaces,
        side=ControllerSide,
        policy=lambda around: ControllerPolicy(around, settings.worker_first),
        lease=LeaseName(settings.namespace, COMPONENT) if settings.namespace else None,
    )
