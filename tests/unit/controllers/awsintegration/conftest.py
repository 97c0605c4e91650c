"""An STS that judges by a function, integrations by their spec, and a clock that is set by hand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.sts import AssumeRoleRequest, Credentials, Session

SECRET = "SECRET-OF-A-PROBE"

Trust = Callable[[AssumeRoleRequest], Failure | StsError | None]
"""Why a request is refused, or None if it is allowed."""


@dataclass
class Clock:
    now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class FakeSts:
    """Answers probes as `trust` says, and keeps what it was asked."""

    trust: Trust
    asked: list[AssumeRoleRequest] = field(default_factory=list)
    urgent: list[bool] = field(default_factory=list)
    hurried: list[tuple[str, str]] = field(default_factory=list)
    idle: bool = True
    """Whether there is time for what can wait."""

    async def probe(self, request: AssumeRoleRequest, tenant: str, *, urgent: bool = False) -> Session:
        self.asked.append(request)
        self.urgent.append(urgent)
        refusal = self.trust(request)
        await asyncio.sleep(0)
        request_id = f"req-{len(self.asked)}"
        if isinstance(refusal, Failure):
            refusal = StsError(refusal, refusal.value, "because", request_id)
        if refusal is not None:
            raise refusal
        credentials = Credentials("ASIAPROBE", SECRET, SECRET, datetime(2026, 1, 2, 4, tzinfo=UTC))
        return Session(credentials, "arn:aws:sts::123456789012:assumed-role/deploy/x", request_id, None)

    async def probe_if_idle(self, request: AssumeRoleRequest, tenant: str) -> Session | None:
        return await self.probe(request, tenant) if self.idle else None

    def prioritize_probes(self, tenant: str, role_arn: str) -> None:
        self.hurried.append((tenant, role_arn))

    def external_ids(self) -> list[str | None]:
        """What was sent since the last look."""
        sent = [request.external_id for request in self.asked]
        self.asked.clear()
        return sent


@dataclass
class Kit:
    """What the tests of this folder build their scenes from."""

    clock: Clock = field(default_factory=Clock)
    own_id: str = "demo@team@deploy"

    def integration(
        self, annotations: dict[str, str] | None = None, status: dict[str, Any] | None = None, **spec: Any
    ) -> AwsIntegration:
        """An integration with these fields of its spec, by their names in the API."""
        body: dict[str, Any] = {
            "metadata": {
                "name": "deploy",
                "namespace": "team",
                "uid": "uid-1",
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": annotations or {},
            },
            "spec": {"roleArn": "arn:aws:iam::123456789012:role/deploy"} | spec,
        }
        if status is not None:
            body["status"] = status
        return AwsIntegration.model_validate(body)

    def strict(self, request: AssumeRoleRequest) -> Failure | None:
        """A trust policy with `StringEquals`."""
        return None if request.external_id == self.own_id else Failure.ACCESS_DENIED

    def sts(self, trust: Trust | None = None) -> FakeSts:
        return FakeSts(trust or self.strict)


@pytest.fixture
def kit() -> Kit:
    return Kit()
