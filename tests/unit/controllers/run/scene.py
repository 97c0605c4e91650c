"""The executor of one Run, and an API server, an STS and a clock that do as they are told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.aws.sts import AssumeRoleRequest, Credentials, Session
from spacelift_aws.controllers.run.controller import Executor, ExecutorSettings
from spacelift_aws.controllers.run.pod.helper import Helper
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.controllers.run.template_facts import TemplateFacts, facts_of
from spacelift_aws.kube.client import Deletion
from spacelift_aws.kube.errors import AlreadyExists, NotFound
from spacelift_aws.kube.events import Regarding
from spacelift_aws.kube.resources import Resource
from spacelift_aws.roles.controller import ControllerRole
from spacelift_aws.runtime.store import ObjectKey

KEY = ("team", "plan")
INTEGRATION = AwsIntegration.model_validate(
    {
        "metadata": {
            "name": "prod",
            "namespace": "team",
            "uid": "i",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"roleArn": "arn:aws:iam::222222222222:role/deploy/role-1"},
    }
)
CREDENTIALS = ("ASIAEXAMPLE", "very/secret+key", "a-very-long-session-token==")


@dataclass
class FakeWorld:
    """What was seen, and what was told: the executor's view."""

    runs: dict[ObjectKey, Run] = field(default_factory=dict)
    pod: Pod | None = None
    left: list[OrphanKey] = field(default_factory=list)

    def run(self, key: ObjectKey) -> Run | None:
        return self.runs.get(key)

    def template_of(self, run: Run) -> TemplateFacts:
        return facts_of(run, None)

    def pod_of(self, run: Run) -> Pod | None:
        return self.pod

    def pod_named(self, namespace: str, run_id: str) -> Pod | None:
        return self.pod

    def integration(self, key: ObjectKey) -> AwsIntegration | None:
        return INTEGRATION

    def labels_of(self, namespace: str) -> dict[str, str]:
        return {}

    def saw_run(self, run: Run) -> None:
        self.runs[run.metadata.namespace, run.metadata.name] = run

    def lost_run(self, run: Run) -> None:
        self.runs.pop((run.metadata.namespace, run.metadata.name), None)

    def saw_pod(self, pod: Pod) -> None:
        self.pod = pod

    def lost_pod(self, pod: Pod) -> None:
        self.pod = replace(pod, gone=True)

    def orphaned(self, orphan: OrphanKey) -> None:
        self.left.append(orphan)

    def look_at_all_runs(self) -> None: ...


@dataclass
class FakeTrust:
    """All integrations are verified; counts how often STS's refusals were told."""

    denials: int = 0

    def may_issue(self, integration: AwsIntegration) -> bool:
        return True

    def await_verdict(self, integration: AwsIntegration) -> None: ...

    def why_not(self, integration: AwsIntegration) -> str:
        return ""

    def is_unasked(self, integration: AwsIntegration) -> bool:
        return False

    def request(self, key: ObjectKey) -> None:
        self.denials += 1


class FakeRecorder:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def event(self, regarding: Regarding, type_: str, reason: str, message: str, *, is_end: bool = False) -> None:
        self.messages.append(message)


class Scene:
    """One Run. `kube` is itself: what was asked of the API server is in `asked`, `fails` says what goes wrong."""

    def __init__(self, kit: Any, world: FakeWorld | None = None, helper: Helper | None = None) -> None:
        self.kit = kit
        self.now: datetime = kit.at(1)
        self.world, self.trust, self.recorder = world or FakeWorld(), FakeTrust(), FakeRecorder()
        if world is None:
            self.world.saw_run(kit.run())
        self.asked: list[str] = []
        self.fails: dict[str, list[Exception]] = {}
        self.secret = False
        self.held = False
        self.stored: dict[str, Any] = kit.run().model_dump(by_alias=True, exclude_none=True, mode="json")
        self.foreign: dict[str, Any] | None = None
        self.sessions = 0
        self.finalizer = False
        self.drops_image_volumes = False
        self.history: list[tuple[str, dict[str, Any]]] = []
        self.meanwhile: Callable[[str], None] = lambda _: None
        self._jumped = False
        self.executor = Executor(
            role=ControllerRole(),
            view=self.world,
            trust=self.trust,
            kube=self,  # type: ignore[arg-type]
            sts=self,
            recorder=self.recorder,  # type: ignore[arg-type]
            settings=ExecutorSettings("acme", home_region="eu-west-1", helper=helper),
            clock=lambda: self.now,
            has_clock_jumped=self._has_clock_jumped,
        )

    async def go(self) -> float | None:
        return await self.executor.reconcile(KEY)

    async def go_on(self, seconds: float) -> float | None:
        self.now += timedelta(seconds=seconds)
        return await self.go()

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the clock, by so much."""
        self.now += timedelta(seconds=seconds)
        self._jumped = True

    def _has_clock_jumped(self) -> bool:
        jumped, self._jumped = self._jumped, False
        return jumped

    @property
    def run(self) -> Run:
        return self.world.runs[KEY]

    def stop(self) -> None:
        self.stored["spec"]["stop"] = True
        self.world.saw_run(self.run.model_copy(update={"spec": self.run.spec.model_copy(update={"stop": True})}))

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.meanwhile(what)
        if self.fails.get(what):
            raise self.fails[what].pop(0)

    # What STS does

    async def assume_role(self, request: AssumeRoleRequest, tenant: str) -> Session:
        self._ask("assume")
        self.sessions += 1
        key, secret, token = CREDENTIALS
        return Session(Credentials(key, secret, token, self.now + timedelta(hours=1)), "arn", "request", None)

    # What the API server does

    async def create_secret(self, namespace: str, body: dict[str, Any], *, dry_run: bool = False) -> None:
        self._ask("would take secret" if dry_run else "create secret")
        if dry_run:
            assert set(body["stringData"].values()) == {"*****"}
            return
        if self.secret:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        self.secret = True

    async def delete_secret(self, namespace: str, name: str) -> Deletion:
        self._ask("delete secret")
        if self.held:
            return Deletion.HELD
        self.secret = False
        return Deletion.GONE

    async def create(
        self, resource: Resource, namespace: str, body: dict[str, Any], *, strict: bool = False, dry_run: bool = False
    ) -> dict[str, Any]:
        self._ask("would take pod" if dry_run else "create pod")
        if self.foreign is not None:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        spec = self.without_image_volumes(body["spec"]) if self.drops_image_volumes else body["spec"]
        return dict(self.kit.pod_body(spec=spec, metadata={"uid": f"pod-{self.asked.count('create pod')}"}))

    @staticmethod
    def without_image_volumes(spec: dict[str, Any]) -> dict[str, Any]:
        """As an API server stores it whose feature is off: neither the volume nor its mounts."""
        names = {volume["name"] for volume in spec.get("volumes", ()) if "image" in volume}
        kept = [volume for volume in spec.get("volumes", ()) if volume["name"] not in names]
        containers = [
            {**one, "volumeMounts": [mount for mount in one.get("volumeMounts", ()) if mount["name"] not in names]}
            for one in spec["containers"]
        ]
        return {**spec, "volumes": kept, "containers": containers}

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> dict[str, Any] | None:
        self._ask(f"delete {resource.kind.lower()}")
        if resource.kind == "Run" and self.finalizer:
            self.stored["metadata"]["deletionTimestamp"] = self.kit.time(1)
            return self.stored
        return None

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self._ask(f"get {resource.kind.lower()}")
        if resource.kind == "Run":
            return self.stored
        if self.foreign is None:
            raise NotFound(404, "NotFound", "no pod")
        return self.foreign

    async def patch(self, resource: Resource, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self._ask("mark run")
        metadata = {**self.stored["metadata"], **body["metadata"]}
        self.stored = {**self.stored, "metadata": metadata}
        return self.stored

    async def changes(
        self, resource: Resource, namespace: str, name: str, since: str
    ) -> list[tuple[str, dict[str, Any]]]:
        self._ask("changes")
        return self.history

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: dict[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        self._ask("patch status")
        merged = {**self.stored.get("status", {}), **status}
        self.stored["status"] = {key: value for key, value in merged.items() if value is not None}
        self.stored["metadata"]["resourceVersion"] = str(int(self.stored["metadata"]["resourceVersion"]) + 1)
        return self.stored
