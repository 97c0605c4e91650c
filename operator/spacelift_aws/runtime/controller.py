"""The kinds of objects that are watched and listed, each with its way into the router."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.pod.view import parse_pod
from spacelift_aws.kube.client import Object
from spacelift_aws.kube.resources import INTEGRATIONS, NAMESPACES, PODS, RUNS, Resource
from spacelift_aws.names import LABEL_RUN_ID
from spacelift_aws.runtime.router import EventRouter
from spacelift_aws.runtime.store import Namespace, Store, Stores

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: how its objects are read, and who hears that one is there or is not any more."""

    resource: Resource
    parse: Callable[[Object], Any]
    saw: Callable[[Any], None]
    lost: Callable[[Any], None]
    shelf: Store[Any]
    label_selector: str | None = None

    def feed(self, body: Object, *, deleted: bool = False) -> None:
        """Take in an object of the API. One that cannot be read is reported and skipped: it must not stop the rest."""
        try:
            value = self.parse(body)
        except Exception as error:  # whatever it is, it would come again with every list
            metadata = body.get("metadata") or {}
            name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
            # Only the type: a validation error quotes the object.
            log.error("%s %s cannot be read (%s); it is left alone", self.resource.kind, name, type(error).__name__)
            return
        (self.lost if deleted else self.saw)(value)


def kinds(router: EventRouter, stores: Stores, *, namespaces_too: bool) -> tuple[Kind, ...]:
    """What is watched; what others refer to comes first. Who acts in given namespaces may not look at these."""
    namespaces = Kind(NAMESPACES, Namespace.parse, router.saw_namespace, router.lost_namespace, stores.namespaces)
    return (
        *((namespaces,) if namespaces_too else ()),
        Kind(
            INTEGRATIONS,
            AwsIntegration.model_validate,
            router.saw_integration,
            router.lost_integration,
            stores.integrations,
        ),
        Kind(RUNS, Run.model_validate, router.saw_run, router.lost_run, stores.runs),
        Kind(PODS, parse_pod, router.saw_pod, router.lost_pod, stores.pods, label_selector=LABEL_RUN_ID),
    )
