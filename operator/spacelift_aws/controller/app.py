"""The controller: a process that verifies controller-mode integrations everywhere and executes their Runs."""

from spacelift_aws.controller.policy import CONTROLLER, ControllerPolicy
from spacelift_aws.engine.charter import Charter
from spacelift_aws.integration.side import ControllerSide
from spacelift_aws.settings import Settings


def controller_charter(settings: Settings) -> Charter:
    """What the controller is there for."""
    return Charter(
        component="spacelift-aws-controller",
        executor=CONTROLLER,
        namespaces=(),
        side=ControllerSide,
        policy=lambda around: ControllerPolicy(around, settings.worker_first),
    )
