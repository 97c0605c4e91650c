"""The hands of the story: real kubectl, and looking at objects until they are as expected."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.audit import AuditEvent
from sandbox.demo.beats import Check, Command, Output
from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.stage import Stage

SECRET_TYPE = "aws.spacelift.io/run-credentials"


@dataclass
class Scene:
    """One namespace on the stage, and how long to wait for what the story expects there, in seconds."""

    stage: Stage
    namespace: str
    patience: float = 30.0

    @property
    def here(self) -> tuple[str, str]:
        """The namespace as arguments of kubectl."""
        return "-n", self.namespace

    def kubectl(self, *arguments: str, given: str = "", check: bool = True) -> Iterator[Command | Output]:
        """Run kubectl, showing the command and what it printed; `given` is shown too."""
        yield Command(("kubectl", *arguments), given)
        done = self.ask(*arguments, given=given, check=check)
        yield Output(done.stdout + done.stderr)

    def ask(self, *arguments: str, given: str = "", check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run kubectl silently."""
        return self.stage.cluster.kubectl(*arguments, input=given or None, check=check)

    def ask_until(
        self, *arguments: str, wanted: Callable[[subprocess.CompletedProcess[str]], bool]
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl silently, again and again until it answers as wanted or patience is at its end; the last answer.

        What was just made acts a moment later: RBAC, policies, a log.
        """
        deadline = time.monotonic() + self.patience
        while not wanted(answer := self.ask(*arguments)) and time.monotonic() < deadline:
            time.sleep(0.25)
        return answer

    def secret_since(self, version: str, name: str) -> Object | None:
        """A Secret of that name as it was made, also where it is gone already; None if none was made."""
        history = self.stage.objects.history("Secret", self.namespace, version, seconds=5)
        with contextlib.closing(history):
            return next(
                (body for word, body in history if word == "ADDED" and body.get("metadata", {}).get("name") == name),
                None,
            )

    def until(self, kind: str, name: str, wanted: Callable[[Object | None], object]) -> Object | None:
        """An object as soon as it is as wanted, or as it is when patience is at its end."""
        try:
            return self.stage.objects.wait(kind, self.namespace, name, wanted, timeout=self.patience)
        except AssertionError:
            return self.get(kind, name)

    def get(self, kind: str, name: str) -> Object | None:
        """An object of the namespace, or None."""
        return self.stage.objects.get(kind, self.namespace, name)

    def verdict(self, integration: str, status: str, reason: str) -> Check:
        """Wait for a verdict on an integration's trust."""
        body = self.until("AwsIntegration", integration, lambda body: _verdict(body) == (status, reason))
        said = condition(body, "TrustVerified")
        return Check(
            f"TrustVerified is {status}: {reason}",
            said.get("message", "no condition TrustVerified")
            if _verdict(body) == (status, reason)
            else f"{said.get('status', 'nothing')}, {said.get('reason', 'no reason')}: {said.get('message', '')}",
            _verdict(body) == (status, reason),
        )

    def audit(self, until: Callable[[list[AuditEvent]], object]) -> list[AuditEvent]:
        """The audit log's entries on the namespace; an entry may come a moment after its answer."""

        def entries() -> list[AuditEvent]:
            return list(self.stage.cluster.audit_events(self.namespace))

        with contextlib.suppress(TimeoutError):
            wait_until(lambda: bool(until(entries())), timeout=self.patience, what="the audit log")
        return entries()


def parsed(text: str) -> Any:
    """JSON, or None for what is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _verdict(body: Object | None) -> tuple[Any, Any]:
    said = condition(body, "TrustVerified")
    return said.get("status"), said.get("reason")
