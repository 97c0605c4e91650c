"""`delivery: Environment`: the four variables, fixed for the life of the container."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spacelift_aws.aws.sts import Credentials
from spacelift_aws.controllers.run.delivery.delivery import Places


class EnvironmentDelivery:
    """The Secret's keys are the variables' names, and the container takes all of them."""

    is_renewed = False
    masked_files = None
    remedy = "Keep the webhook from this pod."

    def content(self, credentials: Credentials) -> dict[str, str]:
        """The four variables."""
        return {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            # botocore reads the older name first: the two must be equal.
            "AWS_SECURITY_TOKEN": credentials.session_token,
            "AWS_SESSION_TOKEN": credentials.session_token,
        }

    def annotations(self, own: Mapping[str, str], credentialed: Iterable[str]) -> dict[str, str]:
        """The template's own."""
        return dict(own)

    def volumes(self, secret_name: str) -> list[dict[str, Any]]:
        """None."""
        return []

    def add_to(self, container: dict[str, Any], secret_name: str) -> None:
        """Last, because the last source wins: a Secret or ConfigMap of the template cannot replace a value."""
        container["envFrom"] = [*(container.get("envFrom") or ()), {"secretRef": {"name": secret_name}}]

    def is_in(self, pod: Mapping[str, Any], secret_name: str) -> bool:
        """Whether a container takes the variables of the Run's Secret."""
        containers = [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]
        sources = [source for container in containers for source in container.get("envFrom") or ()]
        return any((source.get("secretRef") or {}).get("name") == secret_name for source in sources)

    def refusals(self, pod: Mapping[str, Any], credentialed: Places) -> Iterator[str]:
        """A container that starts again would do so with dead credentials."""
        for place, container in credentialed:
            if container.get("restartPolicy") or container.get("restartPolicyRules"):
                yield (
                    f"{place}.restartPolicy: a container that starts again would do so with the credentials of its "
                    "first start, dead by then; remove it, or use `delivery: File`."
                )

    def hindrance(self, container: Mapping[str, Any], pod: Mapping[str, Any], secret_name: str) -> str | None:
        """Nothing yet."""
        return None
