"""Jobs and their Runs, each built from the few fields that a test is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spacelift_aws.api.run import Run
from spacelift_aws.controllers.job.decide import ObservedJob
from spacelift_aws.controllers.job.view import INTEGRATION, MANAGED_BY, Job, parse_job

UID = "6f0e3c8a-1111-4222-8333-944445555666"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Kit:
    """The builders."""

    def at(self, seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    def time(self, seconds: float) -> str:
        return self.at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")

    def body(
        self, status: Mapping[str, Any] | None = None, annotations: Mapping[str, str] | None = None, **spec: Any
    ) -> dict[str, Any]:
        """A Job as the API server shows it, with the defaults and labels that it gives."""
        labels = {"batch.kubernetes.io/controller-uid": UID, "batch.kubernetes.io/job-name": "drift"}
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}
        return {
            "metadata": {
                "name": "drift",
                "namespace": "team",
                "uid": UID,
                "resourceVersion": "7",
                "creationTimestamp": self.time(0),
                "annotations": {INTEGRATION: "prod"} if annotations is None else dict(annotations),
            },
            "spec": {
                "managedBy": MANAGED_BY,
                "parallelism": 1,
                "completions": 1,
                "backoffLimit": 0,
                "completionMode": "NonIndexed",
                "suspend": False,
                "template": {"metadata": {"labels": labels, "creationTimestamp": None}, "spec": pod},
                **spec,
            },
            "status": dict(status or {}),
        }

    def job(self, **fields: Any) -> Job:
        return parse_job(self.body(**fields))

    def run(self, phase: str = "Queued", owner: str = UID, stop: bool = False, **status: Any) -> Run:
        return Run.model_validate(
            {
                "metadata": {
                    "name": "drift",
                    "namespace": "team",
                    "uid": "run-uid",
                    "resourceVersion": "9",
                    "creationTimestamp": self.time(1),
                    "ownerReferences": [
                        {"apiVersion": "batch/v1", "kind": "Job", "name": "drift", "uid": owner, "controller": True}
                    ],
                },
                "spec": {
                    "integrationRef": {"name": "prod"},
                    "template": {"spec": {"containers": [{"name": "main"}]}},
                    "stop": stop,
                },
                "status": {"phase": phase, **status},
            }
        )

    def seen(self, job: Job | None = None, run: Run | None = None, seconds: float = 2, **more: Any) -> ObservedJob:
        return ObservedJob(job=job or self.job(), run=run, now=self.at(seconds), **more)

    def condition(self, type_: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
        return {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": self.time(1),
        }


@pytest.fixture
def kit() -> Kit:
    return Kit()
