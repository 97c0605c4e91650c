"""A namespace with a trusted integration, Jobs in it, and what is waited for."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.objects import Object, condition
from sandbox.stage import Stage

from ..policies import JOBS, PoliciesOnOthers, forget_jobs

INTEGRATION = "aws.spacelift.io/integration"
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def job_of(
    stage: Stage, namespace: str, name: str, script: str = "true", *, words: dict[str, str] | None = None, **spec: Any
) -> Object:
    """A Job of one container that asks to be executed as a Run; `words` are its annotations without the prefix."""
    annotations = {f"aws.spacelift.io/{key}": value for key, value in (words or {"integration": "prod"}).items()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": namespace, "name": name, "annotations": annotations},
        "spec": {
            "managedBy": "aws.spacelift.io/run",
            "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [stage.container(script)]}},
            **spec,
        },
    }


def account(stage: Stage, namespace: str, name: str, verb: str) -> None:
    """A new service account with a verb on all AwsIntegrations of its namespace."""
    kubectl, where = stage.cluster.kubectl, f"--namespace={namespace}"
    rule = {"apiGroups": ["aws.spacelift.io"], "resources": ["awsintegrations"], "verbs": [verb]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": [rule]}
    kubectl("create", where, "--filename=-", input=json.dumps(role))
    kubectl("create", "serviceaccount", name, where)
    kubectl("create", "rolebinding", name, where, f"--role={name}", f"--serviceaccount={namespace}:{name}")


def ended(job: Object | None) -> bool:
    return any(condition(job, type_).get("status") == "True" for type_ in ("Complete", "Failed"))


def is_suspended(job: Object | None) -> bool:
    return condition(job, "Suspended").get("status") == "True"


def runs(run: Object | None) -> bool:
    """Whether a Run's pod runs."""
    return bool((run or {}).get("status", {}).get("phase") == "Running")


def failed(reason: str, message: str = "") -> Callable[[Object | None], bool]:
    def has_failed(job: Object | None) -> bool:
        why = condition(job, "Failed")
        return why.get("reason") == reason and message in why.get("message", "")

    return has_failed


class Jobs:
    """A namespace with a trusted integration, and Jobs in it."""

    def __init__(self, stage: Stage, **integration: Any) -> None:
        self.stage = stage
        self.namespace = stage.namespace()
        stage.integration(self.namespace, **integration)

    def create(self, name: str, script: str = "true", **more: Any) -> str:
        self.stage.objects.create(job_of(self.stage, self.namespace, name, script, **more))
        return name

    def wait(self, name: str, until: Callable[[Object | None], object] = ended, timeout: float = 60) -> Object:
        return self.stage.objects.wait("Job", self.namespace, name, until, timeout=timeout, what=name)

    def run(self, name: str, until: Callable[[Object | None], object] = bool) -> Object:
        return self.stage.objects.wait("Run", self.namespace, name, until, what=f"Run {name}")

    def running(self, name: str) -> Object:
        return self.run(name, runs)

    def gone(self, kind: str, name: str) -> None:
        self.stage.objects.wait(kind, self.namespace, name, lambda body: body is None, what=f"{kind} {name} is gone")

    def patch(self, name: str, body: Object) -> None:
        self.stage.objects.patch("Job", self.namespace, name, body)

    def made(self, resource: str) -> int:
        """How many objects of a kind were ever created in the namespace, by the API server's audit log."""
        made = ("create", resource, "", 201)
        return sum(
            (event.verb, event.resource, event.subresource, event.code) == made
            for event in self.stage.cluster.audit_events(self.namespace)
        )

    def events(self, name: str) -> set[str]:
        found = self.stage.objects.list("Event", self.namespace)
        return {str(event["reason"]) for event in found if event["involvedObject"]["name"] == name}


@contextmanager
def executed(stage: Stage, on_others: PoliciesOnOthers) -> Iterator[None]:
    """Jobs are executed by a controller that is started inside."""
    stage.controller.install(JOBS)
    stage.controller.environment["SPACELIFT_AWS_JOBS"] = "true"
    yield
    del stage.controller.environment["SPACELIFT_AWS_JOBS"]
    forget_jobs(stage)
    on_others.install_without()
