"""Runs, pods and what is known of them, each built from the few fields that a test is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spacelift_aws.api.reasons import CredentialsIssuedReason
from spacelift_aws.api.run import Run
from spacelift_aws.aws.sts import AssumeRoleRequest, Credentials
from spacelift_aws.controllers.run.pod.view import Pod, parse_pod
from spacelift_aws.controllers.run.state import Authorized, Denied, Limits, Observed, Progress
from spacelift_aws.controllers.run.template_facts import facts_of, trimmed
from spacelift_aws.names import ANNOTATION_ENDED, LABEL_NO_BACKUP, child_name, run_id

from .scene import Scene

ROLE = "arn:aws:iam::222222222222:role/deploy/role-1"
UID = "3c9a0b52-6f5e-4b8e-9f1c-0d4a3a1f7c11"


@dataclass
class Kit:
    """The builders; `start` is when the Run was created."""

    start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    role: str = ROLE

    @property
    def run_id(self) -> str:
        return run_id(self.start, UID)

    @property
    def name(self) -> str:
        return child_name(self.run_id)

    def at(self, seconds: float) -> datetime:
        """A moment so long after the start."""
        return self.start + timedelta(seconds=seconds)

    def time(self, seconds: float) -> str:
        return self.at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")

    def run(
        self,
        status: Mapping[str, Any] | None = None,
        pod: Any = None,
        template: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> Run:
        """A Run with these fields of its spec, by their names in the API; `pod` is the template's spec."""
        pod = pod if pod is not None else {"containers": [{"name": "main", "image": "i"}]}
        ended = (status or {}).get("phase") in ("Finished", "Failed", "Stopped")
        mark = {"annotations": {ANNOTATION_ENDED: self.run_id}, "labels": {LABEL_NO_BACKUP: "true"}} if ended else {}
        return Run.model_validate(
            {
                "metadata": {
                    "name": "plan",
                    "namespace": "team",
                    "uid": UID,
                    "resourceVersion": "1",
                    "generation": 1,
                    "creationTimestamp": self.time(0),
                    **mark,
                    **(metadata or {}),
                },
                "spec": {"integrationRef": {"name": "prod"}, "template": {"spec": pod, **(template or {})}, **spec},
                "status": dict(status or {}),
            }
        )

    def pod_body(
        self,
        status: Mapping[str, Any] | None = None,
        *,
        spec: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The Run's pod as the API shows it, created after one second, with credentials for an hour."""
        return {
            "metadata": {
                "name": self.name,
                "namespace": "team",
                "uid": "pod-1",
                "resourceVersion": "1",
                "creationTimestamp": self.time(1),
                "labels": {"aws.spacelift.io/run-id": self.run_id, "aws.spacelift.io/executor": "controller"},
                "annotations": {
                    "aws.spacelift.io/run": "plan",
                    "aws.spacelift.io/credentials-expire-at": self.time(3601),
                    "aws.spacelift.io/role-arn": self.role,
                },
                "ownerReferences": [{"kind": "Run", "name": "plan", "uid": UID, "controller": True}],
                **(metadata or {}),
            },
            "spec": self._with_variables(spec or {"containers": [{"name": "main"}]}),
            "status": {"phase": "Pending", **(status or {})},
        }

    def _with_variables(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """A pod's spec whose containers take the variables of the Run's Secret, where a test says nothing else."""
        source = {"secretRef": {"name": self.name}}
        lists = {key: spec[key] for key in ("initContainers", "containers") if key in spec}
        return {**spec, **{key: [{"envFrom": [source], **one} for one in value] for key, value in lists.items()}}

    def pod(self, status: Mapping[str, Any] | None = None, **parts: Any) -> Pod:
        return parse_pod(self.pod_body(status, **parts))

    def said(self, name: str = "main", **state: Mapping[str, Any]) -> dict[str, Any]:
        """One container's status: `waiting=…`, `running=…` or `terminated=…`."""
        return {"name": name, "state": state}

    def terminated(self, code: int, ended: float = 60, reason: str = "", message: str = "") -> dict[str, Any]:
        """The state of a container that ended; the reason is the kubelet's usual one unless given."""
        return {
            "exitCode": code,
            "reason": reason or ("Error" if code else "Completed"),
            "message": message,
            "startedAt": self.time(2),
            "finishedAt": self.time(ended),
        }

    def running(self) -> Pod:
        return self.pod(
            {
                "phase": "Running",
                "startTime": self.time(1),
                "containerStatuses": [self.said(running={"startedAt": self.time(2)})],
            }
        )

    def ended(self, code: int = 0, **deletion: Any) -> Pod:
        """A pod whose only container ended after a minute."""
        return self.pod(
            {
                "phase": "Failed" if code else "Succeeded",
                "startTime": self.time(1),
                "containerStatuses": [self.said(terminated=self.terminated(code))],
            },
            metadata=deletion,
        )

    def deleted(self, asked: float, grace: int = 30) -> dict[str, Any]:
        """The metadata of a pod whose deletion was asked for at that moment."""
        return {"deletionTimestamp": self.time(asked + grace), "deletionGracePeriodSeconds": grace}

    def grant(self) -> Authorized:
        return Authorized(AssumeRoleRequest(self.role, self.run_id, "acme@team@prod", 3600))

    def refusal(self, message: str = "There is no AwsIntegration team/prod.") -> Denied:
        return Denied(CredentialsIssuedReason.INTEGRATION_NOT_FOUND, message)

    def credentials(self, seconds: float = 3600) -> Credentials:
        return Credentials("ASIAEXAMPLE", "secret-key", "session-token", self.at(seconds))

    def seen(
        self,
        after: float = 1,
        *,
        run: Run | None = None,
        pod: Pod | None = None,
        grant: Authorized | Denied | None = None,
        progress: Progress | None = None,
        takeover_grace: float = 0,
        helper_image: str | None = None,
    ) -> Observed:
        """All that is known so many seconds after the start."""
        run = run or self.run()
        return Observed(
            run=trimmed(run),
            template=facts_of(run, helper_image),
            run_id=self.run_id,
            pod=pod,
            grant=grant or self.grant(),
            region="eu-west-1",
            now=self.at(after),
            progress=progress or Progress(),
            limits=Limits(),
            takeover_grace=timedelta(seconds=takeover_grace),
            executor="controller",
        )


@pytest.fixture
def kit() -> Kit:
    return Kit()


@pytest.fixture
def scene(kit: Kit) -> Scene:
    return Scene(kit)
