"""What matters of a Job and of its Run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spacelift_aws.api.meta import parse_time
from spacelift_aws.api.run import Run

MANAGED_BY = "aws.spacelift.io/run"
"""The value of a Job's `spec.managedBy` that makes it ours; the API server lets nobody change it."""

PREFIX = "aws.spacelift.io/"
INTEGRATION = PREFIX + "integration"
TYPE = PREFIX + "type"
STACK = PREFIX + "stack"
DELIVERY = PREFIX + "delivery"
WORKER_POOL = PREFIX + "worker-pool"
CREDENTIALS_FOR = PREFIX + "credentials-for"
SUCCESS_EXIT_CODES = PREFIX + "success-exit-codes"

JobBody = Mapping[str, Any]
"""JSON as the API has it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A Job as last seen. Of the body only what decides is interpreted; the rest is passed on as it is."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    created: datetime
    deleted: bool
    ours: bool
    """Whether it asks to be executed by us."""
    annotations: Mapping[str, str]
    spec: JobBody
    status: JobBody

    @property
    def suspended(self) -> bool:
        """Whether it is to have no pod now."""
        return bool(self.spec.get("suspend"))

    @property
    def finished(self) -> bool:
        """Whether it has ended for good: `Complete` or `Failed` is true."""
        return any(self.holds(type_) for type_ in ("Complete", "Failed"))

    @property
    def begun(self) -> bool:
        """Whether it has, or had, a Run that counts: not one that a suspension ended.

        By its start time, which the API server lets nobody change or take away unless the Job is suspended.
        """
        return self.started is not None and not self.suspending

    @property
    def suspending(self) -> bool:
        """Whether its Run was told to end because of a suspension. It ends even where that is taken back."""
        return bool(self.status.get("terminating"))

    @property
    def started(self) -> datetime | None:
        """Its `status.startTime`."""
        return parse_time(self.status.get("startTime"))

    @property
    def template(self) -> JobBody:
        """Its pod template."""
        template: JobBody = self.spec["template"]
        return template

    def condition(self, type_: str) -> JobBody | None:
        """The condition of that type, if there is one."""
        return next((one for one in self.status.get("conditions") or () if one.get("type") == type_), None)

    def holds(self, type_: str) -> bool:
        """Whether a condition is true."""
        return (self.condition(type_) or {}).get("status") == "True"


def parse_job(body: JobBody) -> Job:
    """A Job of the API. Raises KeyError where it is none."""
    metadata = body["metadata"]
    created = parse_time(metadata["creationTimestamp"])
    if created is None:
        raise KeyError("creationTimestamp")
    return Job(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        created=created,
        deleted=metadata.get("deletionTimestamp") is not None,
        ours=body["spec"].get("managedBy") == MANAGED_BY,
        annotations=metadata.get("annotations") or {},
        spec=body["spec"],
        status=body.get("status") or {},
    )


def integration_of(job: Job) -> tuple[str, str]:
    """Namespace and name of the integration that a Job names; its own namespace where it names none."""
    *namespace, name = job.annotations.get(INTEGRATION, "").split("/")
    return (namespace[0] if namespace else job.namespace), name


def owns(job: Job, run: Run) -> bool:
    """Whether a Run is the Job's own: one that merely has its name is not."""
    return any(owner.controller and owner.uid == job.uid for owner in run.metadata.owner_references)
