"""One integration, with an API server, an STS and an identity that are all made up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.controllers.awsintegration.by_role import plan_for
from spacelift_aws.controllers.awsintegration.controller import IntegrationReconciler, IntegrationSettings
from spacelift_aws.controllers.awsintegration.history import Schedule
from spacelift_aws.controllers.awsintegration.trust_store import TrustStore
from spacelift_aws.kube.events import Regarding
from spacelift_aws.kube.resources import INTEGRATIONS, Resource
from spacelift_aws.names import ANNOTATION_VERIFY
from spacelift_aws.roles.controller import ControllerRole

KEY = ("team", "deploy")

ROUND = 1 + 3 + 6 + 1
"""Calls of a round that ends well."""
SOON, SPELLED = 45 / 10, timedelta(hours=24).total_seconds() / 10
"""Seconds between two of the ten spellings that no round looks at: at first, and later on."""

NOBODY = Identity(failure=StsError(Failure.NO_IDENTITY, "NoCredentialsError", "the operator has no AWS credentials"))


@dataclass
class EventRouter:
    """One integration at an API server, and all that the reconciler talks to."""

    kit: Any
    spec: dict[str, Any] = field(default_factory=dict)
    identity: Identity = field(default_factory=lambda: Identity("arn:aws:iam::111122223333:role/op", "AROAOP"))
    awaited: bool = False
    patches: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)
    verdicts: list[tuple[str, str]] = field(default_factory=list)
    woken: list[tuple[str, str]] = field(default_factory=list)
    doubts: int = 0
    fails: list[Exception] = field(default_factory=list)
    body: dict[str, Any] | None = None
    before_answer: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.body = self.kit.integration(**self.spec).model_dump(by_alias=True, exclude_none=True, mode="json")
        self.sts = self.kit.sts(self._trust)
        self.trust: Callable[[Any], Any] = self.kit.strict
        self.restart()

    def restart(self) -> None:
        """A new process."""
        role = ControllerRole()
        self.store = TrustStore(lambda integration: plan_for(role, integration, "demo"))
        self.store.subscribe(self.verdicts.append)
        self.reconciler = IntegrationReconciler(
            view=self,
            kube=self,
            recorder=self,
            sts=self.sts,
            identity=self,
            settings=IntegrationSettings("demo", schedule=Schedule(jitter=0)),
            role=role,
            clock=self.kit.clock,
            wake=self.woken.append,
            trust=self.store,
            is_awaited=lambda _: self.awaited,
            random=Random(1),
        )

    def _trust(self, request: Any) -> Any:
        self.before_answer()
        return self.trust(request)

    # What the reconciler asks of its neighbours.

    def integration(self, key: tuple[str, str]) -> AwsIntegration | None:
        return AwsIntegration.model_validate(self.body) if self.body is not None and key == KEY else None

    def saw_integration(self, integration: AwsIntegration) -> None:
        self.body = integration.model_dump(by_alias=True, exclude_none=True, mode="json")

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        assert resource is INTEGRATIONS
        assert (namespace, name) == KEY
        if self.fails:
            raise self.fails.pop(0)
        assert self.body is not None
        assert resource_version == self.body["metadata"]["resourceVersion"]
        self.patches.append(dict(status))
        merged = {k: v for k, v in (self.body.get("status", {}) | status).items() if v is not None}
        metadata = self.body["metadata"] | {"resourceVersion": str(int(resource_version) + 1)}
        return self.body | {"status": merged, "metadata": metadata}

    def event(self, regarding: Regarding, type_: str, reason: str, message: str) -> None:
        assert regarding.uid == self.shown().metadata.uid
        self.events.append((type_, reason))

    async def current(self) -> Identity:
        return self.identity

    def invalidate(self) -> None:
        self.doubts += 1

    # What a test does and sees.

    async def look(self) -> float | None:
        return await self.reconciler.reconcile(KEY)

    async def look_until_quiet(self) -> float | None:
        for _ in range(10):
            if (delay := await self.look()) is None or delay > 0:
                return delay
        raise AssertionError("no end in sight")

    async def spell_out(self) -> None:
        """Look at all places of the external ID once, at the times of it."""
        for _ in range(10):
            self.kit.clock.pass_(seconds=SOON)
            await self.look()
        self.sts.external_ids()
        self.sts.urgent.clear()

    def shown(self) -> AwsIntegration:
        integration = self.integration(KEY)
        assert integration is not None
        return integration

    def reason(self) -> tuple[str, str]:
        condition = self.shown().status.condition("TrustVerified")
        assert condition is not None
        return condition.status, condition.reason

    def ready(self) -> str:
        condition = self.shown().status.condition("Ready")
        assert condition is not None
        return condition.status

    def edit(self, **spec: Any) -> None:
        assert self.body is not None
        generation = self.body["metadata"]["generation"] + 1
        version = str(int(self.body["metadata"]["resourceVersion"]) + 1)
        metadata = self.body["metadata"] | {"generation": generation, "resourceVersion": version}
        self.body = self.body | {"spec": self.body["spec"] | spec, "metadata": metadata}

    def annotate(self, value: str) -> None:
        assert self.body is not None
        metadata = self.body["metadata"] | {"annotations": {ANNOTATION_VERIFY: value}}
        self.body = self.body | {"metadata": metadata}


def deny(_: Any) -> Failure:
    return Failure.ACCESS_DENIED


def allow(_: Any) -> None:
    return None
