"""A tenant's namespace, identity, role and workers, and scenarios that are played there side by side."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sandbox.apiproxy import ApiProxy, Fault, Hold
from sandbox.audit import AuditEvent
from sandbox.aws import Account, Identity
from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.stage import INSTALLATION, Policy, Stage
from sandbox.worker import SERVICE_ACCOUNT, TENANT, Worker
from spacelift_aws.api.run import Run
from spacelift_aws.names import child_name, run_id

from ..conftest import SETTINGS

WORKER_FIRST = 8.0


SILENT_AFTER = 8.0


WORKER_SETTINGS = {
    **SETTINGS,
    "SPACELIFT_AWS_INSTALLATION": INSTALLATION,
    "SPACELIFT_AWS_CREATION_IN_DOUBT": "2",
    "SPACELIFT_AWS_POOL_SILENT_AFTER": str(SILENT_AFTER),
}


@dataclass
class Place:
    """A tenant's namespace, identity and role, and short ways to look at what happens there."""

    stage: Stage
    account: Account
    namespace: str = ""
    user: Identity = field(init=False)
    role: str = ""
    workers: list[Worker] = field(default_factory=list)
    begun: int = 0

    def __post_init__(self) -> None:
        self.namespace = self.stage.namespace()
        self.user = self.identity()

    def identity(self) -> Identity:
        name = self.stage.fresh("worker")
        user = self.account.create_user(name)
        self.account.put_user_policy(name, {"Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]})
        return user

    def trust(self, *users: Identity, external_id: str | None = None) -> Policy:
        principals = [user.arn for user in users or (self.user,)]
        statement = {"Effect": "Allow", "Principal": {"AWS": principals}, "Action": "sts:AssumeRole"}
        if external_id is not None:
            statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def integration(self, trust: Policy | None = None, **spec: Any) -> str:
        """A worker-mode integration; its role's name."""
        name = self.stage.fresh("deploy")
        self.role = self.account.create_role(name, trust or self.trust())
        spec = {"roleArn": self.role, "generateCredentialsInWorker": True, **spec}
        self.stage.integration(self.namespace, trusted=False, **spec)
        return name

    def worker(
        self,
        name: str = "worker",
        *,
        pool: str = "default",
        home: str | None = None,
        user: Identity | None = None,
        serves: tuple[str, ...] = (),
        start: bool = True,
        **environment: str,
    ) -> Worker:
        stage = self.stage
        aws = stage.aws.environment(user or self.user, endpoint=stage.proxy.endpoint)
        worker = Worker(
            stage.cluster,
            {**aws, **WORKER_SETTINGS, **environment},
            home or self.namespace,
            pool=pool,
            name=name,
            namespaces=serves,
        )
        worker.install()
        self.workers.append(worker)
        if start:
            worker.start()
        return worker

    def begin(self, script: str = "true", name: str = "it", **spec: Any) -> str:
        """Create a Run; the name of its Secret and pod."""
        self.stage.run(self.namespace, script, name=name, **spec)
        self.begun += 1
        run = Run.model_validate(self.run(name))
        return child_name(run_id(run.metadata.creation_timestamp, run.metadata.uid))

    def run(self, name: str = "it") -> Object:
        run = self.stage.objects.get("Run", self.namespace, name)
        assert run is not None
        return run

    def wait(
        self, until: Callable[[Object], object], name: str = "it", timeout: float = 45.0, what: str = ""
    ) -> Object:
        return self.stage.objects.wait(
            "Run", self.namespace, name, lambda run: run is not None and until(run), timeout=timeout, what=what
        )

    def running(self, name: str = "it") -> Object:
        return self.wait(lambda run: run["status"]["phase"] == "Running", name, what="running")

    def waits(self, reason: str, *words: str, name: str = "it") -> Object:
        def so(run: Object) -> bool:
            said = condition(run, "CredentialsIssued")
            return said.get("reason") == reason and all(word in said["message"] for word in words)

        return self.wait(so, name, what=f"{reason}: {words}")

    def ends(
        self, phase: str = "Finished", reason: str | None = None, name: str = "it", timeout: float = 60.0
    ) -> Object:
        """Wait for a Run's end, which leaves no Secret."""
        run = self.wait(lambda run: condition(run, "Complete"), name, timeout, "ended")
        assert (run["status"]["phase"], condition(run, "Succeeded")["reason"]) == (phase, reason or phase), run
        assert child_name(run["status"]["runId"]) not in self.secrets()
        return run

    def secrets(self) -> list[str]:
        return [secret["metadata"]["name"] for secret in self.stage.objects.list("Secret", self.namespace)]

    def stays_clean(self, seconds: float) -> None:
        """No Secret comes (back)."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.secrets() == []
            time.sleep(0.2)

    def events(self) -> list[AuditEvent]:
        return list(self.stage.cluster.audit_events(self.namespace))

    def pods_made(self) -> int:
        """How many pods were ever created here."""
        wanted = ("create", "pods", "", 201)
        return sum((e.verb, e.resource, e.subresource, e.code) == wanted for e in self.events())

    def controllers(self) -> list[tuple[str, str, str]]:
        """What the controller did to Secrets and pods here."""
        touched = [event for event in self.events() if event.resource in ("secrets", "pods")]
        return [(e.verb, e.resource, e.name) for e in touched if e.user.endswith("spacelift-aws-controller")]

    def verdicts(self) -> dict[str, Object]:
        body = self.stage.objects.get("AwsIntegration", self.namespace, "prod") or {}
        return {entry["pool"]: entry for entry in body.get("status", {}).get("workers", [])}

    def verdict(self, pool: str, until: Callable[[Object], object], what: str) -> Object:
        wait_until(lambda: bool(until(self.verdicts().get(pool, {}))), timeout=30, what=what)
        return self.verdicts()[pool]

    def edit(self, **spec: Any) -> None:
        self.stage.objects.patch("AwsIntegration", self.namespace, "prod", {"spec": spec})

    def to_controller(self) -> None:
        """Switch to controller mode, with a role that trusts the controller."""
        role = self.stage.role(self.stage.trust(self.stage.external_id(self.namespace, "prod")))
        self.edit(generateCredentialsInWorker=False, roleArn=role)

    def executor(self, child: str) -> str:
        pod = self.stage.objects.get("Pod", self.namespace, child)
        assert pod is not None
        return str(pod["metadata"]["labels"]["aws.spacelift.io/executor"])


@contextmanager
def without_pods(place: Place) -> Iterator[str]:
    """A worker's kubeconfig under which the creation of a pod never arrives; who waits for one is to be killed."""
    api = ApiProxy(place.stage.cluster)
    fault = api.fault(Fault("POST", f"/namespaces/{place.namespace}/pods", Hold()))
    fault.__enter__()
    with api:
        yield str(api.kubeconfig(place.stage.cluster.kubeconfig_for(place.namespace, SERVICE_ACCOUNT)))
    # Lifted sooner, the call would be carried out after all; now there is no loop any more to lift it on.
    with suppress(RuntimeError):
        fault.__exit__(None, None, None)


Scenario = Callable[[Place], None]


@contextmanager
def side_by_side(stage: Stage, scenarios: Sequence[Scenario]) -> Iterator[dict[str, Future[None]]]:
    """The scenarios by name, all under way, each in a place of its own; the controller leaves less time to workers."""
    stage.controller.stop()
    stage.controller.environment["SPACELIFT_AWS_WORKER_FIRST"] = str(WORKER_FIRST)
    stage.controller.start()
    account = stage.aws.account(TENANT)

    def play(scenario: Scenario) -> None:
        place = Place(stage, account)
        try:
            scenario(place)
            assert place.pods_made() <= place.begun
        finally:
            for worker in place.workers:
                worker.kill()

    with ThreadPoolExecutor(8) as pool:
        yield {scenario.__name__: pool.submit(play, scenario) for scenario in scenarios}
    stage.controller.stop()
    del stage.controller.environment["SPACELIFT_AWS_WORKER_FIRST"]
