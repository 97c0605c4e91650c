"""A way in which containers receive credentials: all that depends on it, asked of one object."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from spacelift_aws.aws.sts import Credentials

Places = Iterable[tuple[str, Mapping[str, Any]]]
"""The containers of a template that receive credentials, each with the place where it stands."""


class CredentialDelivery(Protocol):
    """What is put into the Secret and the pod, and what of a template or a webhook would be in the way. Pure."""

    @property
    def is_renewed(self) -> bool:
        """Whether a running container reads fresh credentials; otherwise it keeps those of its start."""
        ...

    @property
    def remedy(self) -> str:
        """What to do where a webhook has put something in the way, as the end of a sentence."""
        ...

    @property
    def masked_files(self) -> str | None:
        """The folder whose files hold what is to be masked; None where variables hold it."""
        ...

    def content(self, credentials: Credentials, profiles: Iterable[str]) -> dict[str, str]:
        """The Secret's data, by key; `profiles` are names under which the credentials are offered besides."""
        ...

    def annotations(self, own: Mapping[str, str], credentialed: Iterable[str]) -> dict[str, str]:
        """The annotations of the pod: the template's own, with what this delivery needs."""
        ...

    def volumes(self, secret_name: str) -> list[dict[str, Any]]:
        """What is added to the pod's volumes."""
        ...

    def add_to(self, container: dict[str, Any], secret_name: str) -> None:
        """Let a container of the pod receive the credentials."""
        ...

    def is_in(self, pod: Mapping[str, Any], secret_name: str) -> bool:
        """Whether a pod's spec, as the API server has it, shows this delivery."""
        ...

    def caveat(self, container: Mapping[str, Any]) -> str | None:
        """What may keep a container of a template from using the credentials and cannot be looked at, in a sentence."""
        ...

    def refusals(self, pod: Mapping[str, Any], credentialed: Places) -> Iterator[str]:
        """What in a template keeps its containers from using the credentials, each a sentence that names the place."""
        ...

    def hindrance(self, container: Mapping[str, Any], pod: Mapping[str, Any], secret_name: str) -> str | None:
        """What keeps a container of a pod, as the API server has it, from using the credentials; None if nothing does.

        Webhooks may have changed the pod after it was sent.
        """
        ...
