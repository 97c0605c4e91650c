"""The ways in which a container receives credentials."""

from collections.abc import Mapping

from spacelift_aws.api.run import Delivery
from spacelift_aws.controllers.run.delivery.delivery import CredentialDelivery
from spacelift_aws.controllers.run.delivery.environment import EnvironmentDelivery
from spacelift_aws.controllers.run.delivery.file import FileDelivery

DELIVERIES: Mapping[Delivery, CredentialDelivery] = {
    Delivery.ENVIRONMENT: EnvironmentDelivery(),
    Delivery.FILE: FileDelivery(),
}
"""Every delivery that a Run can ask for."""
