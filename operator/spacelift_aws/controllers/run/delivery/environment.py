"""`delivery: Environment`: the four variables, fixed for the life of the container."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spacelift_aws.aws.sts import Credentials
from spacelift_aws.controllers.run.delivery import sources
from spacelift_aws.controllers.run.delivery.delivery import Places

_SHIELDED = {sources.WEB_IDENTITY: ""}
"""What a ConfigMap or Secret that is taken as a whole may bring, and some SDK would prefer. An SDK takes an empty file
name for none; an empty profile's name is an error in some, so that one can only be told of."""


class EnvironmentDelivery:
    """The Secret's keys are the variables' names, and the container takes all of them."""

    is_renewed = False
    masked_files = None
    remedy = "Exclude this pod from the webhook."

    def content(self, credentials: Credentials, profiles: Iterable[str]) -> dict[str, str]:
        """The four variables."""
        return {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            # botocore reads the older name first: the two must be equal.
            "AWS_SECURITY_TOKEN": credentials.session_token,
            "AWS_SESSION_TOKEN": credentials.session_token,
        }

    def annotations(self, own: Mapping[str, str], credentialed: Iterable[str]) -> dict[str, str]:
        """EKS's webhook skips the containers that have the variables: .NET prefers a web identity to them."""
        return sources.skipping(own, tuple(credentialed))

    def volumes(self, secret_name: str) -> list[dict[str, Any]]:
        """None."""
        return []

    def add_to(self, container: dict[str, Any], secret_name: str) -> None:
        """Last, because the last source wins: a Secret or ConfigMap of the template cannot replace a value."""
        own = container.get("envFrom") or ()
        container["envFrom"] = [*own, {"secretRef": {"name": secret_name}}]
        if own:
            shields = [{"name": name, "value": value} for name, value in _SHIELDED.items()]
            container["env"] = [*(container.get("env") or ()), *shields]

    def caveat(self, container: Mapping[str, Any]) -> str | None:
        """A profile's name that comes from where nobody here may look."""
        if not container.get("envFrom"):
            return None
        return (
            f"Container `{container['name']}` takes variables from `envFrom`: if AWS_PROFILE is among them, SDKs "
            "ignore the run's variables."
        )

    def is_in(self, pod: Mapping[str, Any], secret_name: str) -> bool:
        """Whether a container takes the variables of the Run's Secret."""
        containers = [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]
        sources = [source for container in containers for source in container.get("envFrom") or ()]
        return any((source.get("secretRef") or {}).get("name") == secret_name for source in sources)

    def refusals(self, pod: Mapping[str, Any], credentialed: Places) -> Iterator[str]:
        """Other sources; and a container that starts again would do so with dead credentials."""
        for place, container in credentialed:
            yield from sources.refusals(place, container)
            if container.get("restartPolicy") or container.get("restartPolicyRules"):
                yield (
                    f"{place}.restartPolicy: a restarted container would have the credentials of its first start, "
                    "which may have expired; remove it, or use `delivery: File`."
                )

    def hindrance(self, container: Mapping[str, Any], pod: Mapping[str, Any], secret_name: str) -> str | None:
        """Another source of credentials, or of variables that may hold some and would win."""
        taken = [(source.get("secretRef") or {}).get("name") for source in container.get("envFrom") or ()]
        if secret_name not in taken:
            return "no variables of the run's Secret"
        if taken[-1] != secret_name:
            return "further variables from `envFrom`, which override the run's"
        return sources.found(container, _SHIELDED)
