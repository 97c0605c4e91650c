"""Objects with just enough in them to be seen."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from spacelift_aws.api.run import Run
from spacelift_aws.controllers.router import EventRouter, WorkKey
from spacelift_aws.controllers.run.pod.view import Pod, parse_pod
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.controllers.stores import Stores
from spacelift_aws.names import ANNOTATION_RUN, LABEL_EXECUTOR, LABEL_RUN_ID, child_name
from spacelift_aws.runtime.health import Health

CREATED = "2026-01-02T03:04:05Z"


def run_body(name: str = "plan", uid: str = "uid-1", version: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": CREATED,
        },
        "spec": {"integrationRef": {"name": "prod"}, "template": {"spec": {"containers": [{"name": "main"}]}}},
        "status": status,
    }


def pod_body(run: Run, uid: str = "pod-1", version: int = 1, name: str | None = None, **status: Any) -> dict[str, Any]:
    identifier = Stores.run_id(run)
    return {
        "metadata": {
            "name": name or child_name(identifier),
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": CREATED,
            "labels": {LABEL_RUN_ID: identifier, LABEL_EXECUTOR: "controller"},
            "annotations": {ANNOTATION_RUN: run.metadata.name},
            "ownerReferences": [{"uid": run.metadata.uid, "controller": True}],
        },
        "spec": {"containers": [{"name": "main"}]},
        "status": status,
    }


@dataclass
class Sight:
    """A router, its stores, and what it has put into the queue."""

    stores: Stores = field(default_factory=Stores)
    queued: list[WorkKey] = field(default_factory=list)
    later: list[tuple[WorkKey, float]] = field(default_factory=list)
    """With the seconds after which they join the queue."""
    health: Health = field(default_factory=Health)

    def __post_init__(self) -> None:
        self.router = EventRouter(
            self.stores, "controller", self.queued.append, lambda key, seconds: self.later.append((key, seconds))
        )
        self.router.on_lost_run(OrphanKey.of)

    def take(self) -> list[WorkKey]:
        """What was queued since the last look."""
        taken = list(self.queued)
        self.queued.clear()
        return taken

    def run(self, **parts: Any) -> Run:
        return Run.model_validate(run_body(**parts))

    def pod(self, run: Run, **parts: Any) -> Pod:
        return parse_pod(pod_body(run, **parts))

    def body(self, **parts: Any) -> dict[str, Any]:
        return run_body(**parts)


@pytest.fixture
def fresh() -> Sight:
    """One that has just begun: there may be Runs that ended before."""
    return Sight()


@pytest.fixture
def sight() -> Sight:
    """One that has seen everything."""
    sight = Sight()
    sight.router.saw_everything()
    return sight
