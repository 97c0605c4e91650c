"""Variables that lead some AWS SDK to other credentials than the run's. Pure.

Where SDKs look, and in which order (https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html):
most take keys in variables first, .NET and PowerShell a web identity, and a named profile keeps several from looking at
variables at all.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from spacelift_aws.names import CREDENTIAL_VARIABLES

PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
OLDER_KEYS = ("AWS_ACCESS_KEY", "AWS_SECRET_KEY")
WEB_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"
CONTAINER_CREDENTIALS = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")

OTHER_SOURCES = (
    *CREDENTIAL_VARIABLES,
    *OLDER_KEYS,
    *PROFILES,
    "AWS_ROLE_ARN",
    WEB_IDENTITY,
    *CONTAINER_CREDENTIALS,
)
"""Those of a container's own identity come last in every SDK; beside the run's they are a mistake all the same."""

SKIP_CONTAINERS = "eks.amazonaws.com/skip-containers"
"""Annotation that names containers, by commas, into which EKS's webhook injects no identity."""


def skipping(own: Mapping[str, str], containers: tuple[str, ...]) -> dict[str, str]:
    """The pod's annotations, with the containers that receive credentials among those that the webhook skips."""
    wanted = [name.strip() for name in own.get(SKIP_CONTAINERS, "").split(",")]
    return {**own, SKIP_CONTAINERS: ",".join(dict.fromkeys([*filter(None, wanted), *containers]))}


def refusals(place: str, container: Mapping[str, Any]) -> Iterator[str]:
    """The variables of a template's container that name another source."""
    for index, variable in enumerate(container.get("env") or ()):
        if variable.get("name") in OTHER_SOURCES:
            yield (
                f"{place}.env[{index}]: {variable['name']} leads SDKs to other credentials than the run's; remove it."
            )


def found(container: Mapping[str, Any], ours: Mapping[str, str]) -> str | None:
    """The first variable by which a container of a pod has another source; `ours` are set by the run itself."""
    # Of two variables with the same name the last counts.
    variables = {variable.get("name"): variable for variable in container.get("env") or ()}
    for name in OTHER_SOURCES:
        variable = variables.get(name) or {}
        if variable.get("valueFrom") or (variable.get("value") or "") not in ("", ours.get(name)):
            return f"variable {name}, which leads SDKs to other credentials than the run's"
    return None
