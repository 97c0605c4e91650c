"""A namespace with a trusted integration, what is done to Runs in it, and what is waited for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.objects import Object, complete, condition
from sandbox.stage import Stage
from spacelift_aws.names import child_name

FOUR = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"]


HOLD_KEY = "sandbox/hold"


HOLD = {HOLD_KEY: "true"}


FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


CONTROLLER = "system:serviceaccount:spacelift-aws:spacelift-aws-controller"


def issued(reason: str, message: str = "") -> Callable[[Object | None], bool]:
    """The Run waits for this reason and says so."""

    def waits(run: Object | None) -> bool:
        why = condition(run, "CredentialsIssued")
        return why.get("reason") == reason and message in why.get("message", "")

    return waits


def phase(*wanted: str) -> Callable[[Object | None], bool]:
    return lambda run: (run or {}).get("status", {}).get("phase") in wanted


def says(words: str) -> Callable[[Object | None], bool]:
    return lambda run: words in (run or {}).get("status", {}).get("message", "")


def gone(body: Object | None) -> bool:
    return body is None


def container(name: str, script: str = "true", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "sandbox", "command": ["sh", "-c", script], **more}


@dataclass
class Play:
    """A namespace with a trusted integration, and what is done to Runs in it."""

    stage: Stage
    namespace: str
    runs: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def run(self, role: str, script: str = "true", **spec: Any) -> str:
        """Create a Run and remember it by the part it plays."""
        self.runs[role] = self.stage.run(self.namespace, script, **spec)
        return self.runs[role]

    def wait(self, role: str, until: Callable[[Object | None], object] = complete, timeout: float = 60) -> Object:
        return self.stage.objects.wait("Run", self.namespace, self.runs[role], until, timeout=timeout, what=role)

    def end(self, role: str) -> tuple[str, str]:
        """Phase and reason of a Run's end; what belongs to every end is checked."""
        run = self.wait(role)
        status = run["status"]
        assert condition(run, "Complete")["reason"] == status["phase"]
        assert condition(run, "Succeeded")["status"] == ("True" if status["phase"] == "Finished" else "False")
        assert status["finishedAt"]
        assert self.secret(role) is None
        return status["phase"], condition(run, "Succeeded")["reason"]

    def child(self, role: str) -> str:
        """The name of a Run's Secret and pod, once it has them."""
        run = self.wait(role, lambda run: (run or {}).get("status", {}).get("podName"))
        assert run["status"]["secretName"] == run["status"]["podName"] == child_name(run["status"]["runId"])
        return str(run["status"]["podName"])

    def secret(self, role: str) -> Object | None:
        run = self.stage.objects.get("Run", self.namespace, self.runs[role])
        assert run is not None
        return self.stage.objects.get("Secret", self.namespace, child_name(run["status"]["runId"]))

    def patch(self, role: str, **spec: Any) -> None:
        self.stage.objects.patch("Run", self.namespace, self.runs[role], {"spec": spec})

    def report(self, role: str, **status: Any) -> None:
        """Write the status of a Run's pod, as a kubelet or another controller of the cluster would."""
        self.stage.objects.patch("Pod", self.namespace, self.child(role), {"status": status}, subresource="status")

    def logs(self, role: str) -> str:
        return self.stage.cluster.kubectl("logs", f"--namespace={self.namespace}", self.child(role)).stdout

    def told(self, role: str, reason: str) -> bool:
        """Whether an Event tells this of a Run. Events come when they do."""
        return reason in self.events(role)

    def events(self, role: str) -> list[str]:
        name = self.runs[role]
        found = self.stage.objects.list("Event", self.namespace)
        return sorted(str(event["reason"]) for event in found if event["involvedObject"]["name"] == name)


def play(stage: Stage, labels: Mapping[str, str] | None = None, **integration: Any) -> Play:
    namespace = stage.namespace(labels)
    stage.integration(namespace, **integration)
    return Play(stage, namespace)


def terminated(code: int, reason: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}}


def ready(body: Object | None) -> str | None:
    return condition(body, "Ready").get("status")


def integration_of(on: Play) -> Object:
    return on.stage.objects.get("AwsIntegration", on.namespace, "prod") or {}
