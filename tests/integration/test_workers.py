"""Worker pools on the stage: who issues, who makes pods, who ends Runs, while processes come, go, hang and quarrel.

Each scenario has a namespace, an identity and workers of its own; all of them run side by side, once.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox.apiproxy import ApiProxy, Fault, Hold
from sandbox.audit import AuditEvent
from sandbox.aws import Account, Identity
from sandbox.faults import Match, Rule, expired_token
from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.stage import INSTALLATION, Policy, Stage
from sandbox.worker import SERVICE_ACCOUNT, Worker
from spacelift_aws.api.run import Run
from spacelift_aws.names import child_name, run_id

from .conftest import SETTINGS

TENANT = "333333333333"
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
        return [event for event in self.stage.cluster.audit_events() if event.namespace == self.namespace]

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


SCENARIOS: dict[str, Callable[[Place], None]] = {}


def scenario(function: Callable[[Place], None]) -> Callable[[Place], None]:
    SCENARIOS[function.__name__] = function
    return function


@pytest.fixture(scope="module")
def played(_stage: Stage) -> Iterator[dict[str, Future[None]]]:
    """All scenarios, side by side, with one controller that leaves less time to workers."""
    _stage.controller.stop()
    _stage.controller.environment["SPACELIFT_AWS_WORKER_FIRST"] = str(WORKER_FIRST)
    _stage.controller.start()
    account = _stage.aws.account(TENANT)

    def play(function: Callable[[Place], None]) -> None:
        place = Place(_stage, account)
        try:
            function(place)
            assert place.pods_made() <= place.begun
        finally:
            for worker in place.workers:
                worker.kill()

    with ThreadPoolExecutor(8) as pool:
        yield {name: pool.submit(play, function) for name, function in SCENARIOS.items()}
    _stage.controller.stop()
    del _stage.controller.environment["SPACELIFT_AWS_WORKER_FIRST"]


# The longest first.


@scenario
def two_replicas_and_a_killed_leader(place: Place) -> None:
    """Only one acts; when it is killed, the other carries on within 20 s."""
    place.integration()
    first = place.worker("first")
    place.begin(name="before")
    place.ends(name="before")
    second = place.worker("second")
    place.begin("sleep 3", name="going")
    place.running("going")
    first.kill()
    killed = time.monotonic()
    place.begin(name="after")
    wait_until(lambda: "holds Lease" in second.logs, timeout=30, what="another leader")
    took = time.monotonic() - killed
    place.ends(name="going")
    place.ends(name="after")
    print(f"another led {took:.1f} s after the leader was killed")
    assert took < 20


@scenario
def a_leader_that_wakes_after_a_long_pause(place: Place) -> None:
    """Stopped in the midst of a Run, overtaken, woken: no second pod, no Secret after the end."""
    place.integration()
    first = place.worker("first")
    place.begin("sleep 2", name="before")
    place.running("before")
    second = place.worker("second")
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        place.begin("sleep 1")
        place.ends(name="before")
        place.ends()
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    place.stays_clean(3)
    place.ends()
    place.begin(name="later")
    place.ends(name="later")
    assert "holds Lease" in second.logs


@scenario
def two_that_act_at_once(place: Place) -> None:
    """Two of a pool that know nothing of each other, as with a Lease that somebody deletes."""
    place.integration()
    elsewhere = place.stage.namespace()
    place.worker("first")
    place.worker("second", home=elsewhere, serves=(place.namespace,))
    names = [f"run-{number}" for number in range(5)]
    for name in names:
        place.begin("sleep 1", name=name)
    for name in names:
        place.ends(name=name)
    place.stays_clean(3)
    assert place.pods_made() == len(names)


@scenario
def killed_while_the_pod_goes_on(place: Place) -> None:
    """Back after the pod has ended."""
    place.integration()
    worker = place.worker()
    child = place.begin("sleep 2")
    place.running()
    worker.kill()
    place.stage.objects.wait("Pod", place.namespace, child, lambda pod: pod["status"]["phase"] == "Succeeded")  # type: ignore[index]
    assert place.run()["status"]["phase"] == "Running"
    worker.start()
    place.ends()


@scenario
def killed_between_secret_and_pod(place: Place) -> None:
    place.integration()
    worker = place.worker(start=False)
    with without_pods(place) as kubeconfig:
        worker.start({"KUBECONFIG": kubeconfig})
        child = place.begin()
        place.stage.objects.wait("Secret", place.namespace, child, bool)
        worker.kill()
    worker.start()
    place.ends()


@scenario
def deleted_while_the_worker_is_down(place: Place) -> None:
    """Also where only the worker can clear away: `--cascade=orphan`."""
    place.integration()
    worker = place.worker()
    children = {}
    for name in ("orphaned", "deleted"):
        children[name] = place.begin("sleep 60", name=name)
        place.running(name)
    worker.kill()
    for name, policy in (("orphaned", "Orphan"), ("deleted", "Background")):
        place.stage.objects.delete("Run", place.namespace, name, propagationPolicy=policy)
        place.stage.objects.wait("Run", place.namespace, name, lambda run: run is None)
    worker.start()
    for child in children.values():
        place.stage.objects.wait("Secret", place.namespace, child, lambda secret: secret is None, timeout=45)
        place.stage.objects.wait("Pod", place.namespace, child, lambda pod: pod is None, timeout=60)


@scenario
def a_pool_that_is_renamed(place: Place) -> None:
    """What the old one began the new one ends; what waits for the old one says so and keeps no Secret."""
    place.integration()
    old = place.worker("old", pool="old")
    place.begin("sleep 2", workerPool="old")
    place.running()
    old.stop()
    with without_pods(place) as kubeconfig:
        old.start({"KUBECONFIG": kubeconfig})
        child = place.begin(name="half", workerPool="old")
        place.stage.objects.wait("Secret", place.namespace, child, bool)
        old.kill()
    place.begin(name="waits", workerPool="old")
    place.worker("new", pool="new")
    place.ends()
    place.waits("NoWorker", "`old`", name="waits")
    place.waits("NoWorker", "`old`", name="half")
    place.stage.objects.wait("Secret", place.namespace, child, lambda secret: secret is None)
    for name in ("waits", "half"):
        place.stage.objects.patch("Run", place.namespace, name, {"spec": {"stop": True}})
        place.ends("Stopped", name=name)


@scenario
def own_credentials_expired(place: Place) -> None:
    """The worker waits and says so; an earlier verdict stays, with its silence."""
    place.integration()
    worker = place.worker(pool="build")
    place.verdict("build", lambda entry: entry.get("reason") == "Verified", "verified")
    with place.stage.proxy.rule(Rule(Match(action=None, access_key_id=place.user.access_key_id), expired_token())):
        place.begin(workerPool="build")
        place.waits("Retrying", "Pool `build`: ", "ExpiredToken")
        place.stage.objects.patch(
            "AwsIntegration",
            place.namespace,
            "prod",
            {"metadata": {"annotations": {"aws.spacelift.io/verify": "now"}}},
        )
        said = place.verdict("build", lambda entry: "expired" in entry.get("message", ""), "the silence told")
        assert said["reason"] == "Verified"
        worker.stop()
        worker.start()
        place.waits("IntegrationNotReady", "Pool `build`: ")
        assert place.verdicts()["build"]["reason"] == "Verified"
    place.ends()


@scenario
def the_role_cannot_be_assumed(place: Place) -> None:
    """The reason with its remedy is the worker's word: the controller neither replaces it nor takes turns with it."""
    stranger = place.identity()
    role = place.integration(place.trust(stranger))
    place.worker(pool="build")
    place.begin(workerPool="build")
    place.waits("IntegrationNotReady", "Pool `build`: ", place.user.arn, "sts:AssumeRole")
    until = time.monotonic() + 7
    while time.monotonic() < until:
        assert condition(place.run(), "CredentialsIssued")["message"].startswith("Pool `build`: ")
        time.sleep(0.1)
    written = [event for event in place.events() if (event.verb, event.resource) == ("patch", "runs")]
    assert len(written) <= 2
    place.account.set_trust(role, place.trust())
    place.ends()


@scenario
def without_a_worker_the_controller_speaks_and_ends(place: Place) -> None:
    place.integration()
    place.begin(name="late", workerPool="build", startingDeadlineSeconds=1, ttlSecondsAfterFinished=6)
    place.begin(name="stopped", workerPool="build")
    place.begin(name="served", workerPool="build")
    for name in ("stopped", "served"):
        run = place.waits("NoWorker", "`build`", name=name)
        assert run["status"]["phase"] == "Queued"
    place.stage.objects.patch("Run", place.namespace, "stopped", {"spec": {"stop": True}})
    place.ends("Stopped", name="stopped")
    place.ends("Failed", "StartingDeadlineExceeded", name="late")
    place.stage.objects.wait("Run", place.namespace, "late", lambda run: run is None)
    place.worker(pool="build")
    place.ends(name="served")


@scenario
def a_run_goes_end_to_end_as_the_tenant(place: Place) -> None:
    """Under the tenant's identity and the external ID that is computed, with nothing of the controller in it."""
    own_id = f"{INSTALLATION}@{place.namespace}@prod"
    place.integration(place.trust(external_id=own_id))
    place.worker(pool="build")
    place.verdict("build", lambda entry: entry.get("reason") == "Verified", "verified")
    forged = {"status": {"externalId": "forged"}}
    place.stage.objects.patch("AwsIntegration", place.namespace, "prod", forged, subresource="status")
    child = place.begin("aws sts get-caller-identity --query Arn --output text", workerPool="build")
    run = place.ends()
    logs = place.stage.cluster.kubectl("logs", f"--namespace={place.namespace}", child).stdout
    assert f"arn:aws:sts::{TENANT}:assumed-role/" in logs
    assert run["status"]["runId"] in logs
    calls = place.stage.proxy.calls_of(Match(role_arn=place.role, session_name_prefix=run["status"]["runId"]))
    assert [call.external_id for call in calls] == [own_id]
    assert {call.access_key_id for call in calls} == {place.user.access_key_id}
    assert place.controllers() == []


@scenario
def the_specs_own_external_id(place: Place) -> None:
    place.integration(place.trust(external_id="chosen-by-us"), externalId="chosen-by-us")
    place.worker()
    place.begin()
    place.ends()


@scenario
def two_pools_under_two_identities(place: Place) -> None:
    """Both verdicts stand side by side; one pool's denial stops nobody else's Runs."""
    other = place.identity()
    place.integration()
    place.worker("good", pool="good")
    place.worker("bad", pool="bad", user=other)
    place.verdict("good", lambda entry: entry.get("reason") == "Verified", "verified")
    place.verdict("bad", lambda entry: entry.get("reason") == "AccessDenied", "denied")
    place.begin(name="for-bad", workerPool="bad")
    place.waits("IntegrationNotReady", "Pool `bad`: ", other.arn, name="for-bad")
    place.begin(workerPool="good")
    place.ends()
    verdicts = place.verdicts()
    assert {pool: entry["reason"] for pool, entry in verdicts.items()} == {"good": "Verified", "bad": "AccessDenied"}
    assert (verdicts["good"]["principal"], verdicts["bad"]["principal"]) == (place.user.arn, other.arn)


@scenario
def a_template_under_the_workers_account(place: Place) -> None:
    place.integration()
    place.worker()
    pod = {"serviceAccountName": SERVICE_ACCOUNT, "containers": [place.stage.container("true")]}
    place.begin(pod=pod)
    run = place.ends("Failed", "TemplateRefused")
    assert "the worker's own service account" in run["status"]["message"]


@scenario
def several_namespaces_one_of_which_is_deleted(place: Place) -> None:
    stage, home = place.stage, place.stage.namespace()
    other = Place(stage, place.account)
    place.integration()
    other.user = place.user
    other.integration(other.trust(place.user))
    worker = place.worker(home=home, serves=(place.namespace, other.namespace))
    other.begin("sleep 60")
    other.running()
    stage.objects.delete("Namespace", None, other.namespace)
    place.begin()
    place.ends()
    stage.objects.wait("Namespace", None, other.namespace, lambda body: body is None, timeout=60)
    assert worker.process.exit_code() is None
    place.begin(name="later")
    place.ends(name="later")


@scenario
def a_run_of_another_namespace(place: Place) -> None:
    elsewhere = place.stage.namespace()
    place.integration()
    place.worker(home=elsewhere, serves=(place.namespace, elsewhere))
    reference = {"name": "prod", "namespace": place.namespace}
    place.stage.run(elsewhere, "true", name="it", integrationRef=reference)
    other = Place(place.stage, place.account)
    other.namespace = elsewhere
    other.waits("WorkerModeIsNamespaced", place.namespace)


@scenario
def from_controller_to_worker_mode(place: Place) -> None:
    """A pod stays its maker's; what waits goes to the worker."""
    role = place.stage.role(place.stage.trust(place.stage.external_id(place.namespace, "prod")))
    place.stage.integration(place.namespace, trusted=False, roleArn=role)
    child = place.begin("sleep 4", name="running")
    place.running("running")
    place.worker()
    own = place.account.create_role(place.stage.fresh("deploy"), place.trust())
    place.edit(generateCredentialsInWorker=True, roleArn=own)
    waiting = place.begin(name="waiting")
    place.ends(name="waiting")
    place.ends(name="running")
    assert (place.executor(child), place.executor(waiting)) == ("controller", "worker")


@scenario
def from_worker_to_controller_mode(place: Place) -> None:
    """With Runs whose pod runs, whose Secret was issued, and that nobody has taken."""
    place.integration()
    worker = place.worker()
    child = place.begin("sleep 6", name="running")
    place.running("running")
    worker.stop()
    with without_pods(place) as kubeconfig:
        worker.start({"KUBECONFIG": kubeconfig})
        issued = place.begin(name="issued")
        place.stage.objects.wait("Secret", place.namespace, issued, bool)
        place.begin(name="nobody", workerPool="nobody")
        worker.kill()
    # Nobody trusts the controller yet: a Secret that is left would stay for as long as that lasts.
    place.edit(generateCredentialsInWorker=False)
    place.waits("IntegrationNotReady", name="issued")
    place.stage.objects.wait("Secret", place.namespace, issued, lambda secret: secret is None)
    place.to_controller()
    worker.start()
    for name in ("issued", "nobody", "running"):
        place.ends(name=name)
    assert (place.executor(child), place.executor(issued)) == ("worker", "controller")


@pytest.mark.parametrize("name", SCENARIOS)
def test_workers(played: dict[str, Future[None]], name: str) -> None:
    played[name].result(timeout=150)


def test_a_vanished_pod_that_nobody_else_can_speak_for(stage: Stage, played: dict[str, Future[None]]) -> None:
    """Made by the controller, switched to worker mode, pod deleted while the controller was away, and no worker."""
    for future in played.values():
        future.exception()
    place = Place(stage, stage.aws.account(TENANT))
    role = stage.role(stage.trust(stage.external_id(place.namespace, "prod")))
    stage.integration(place.namespace, trusted=False, roleArn=role)
    child = place.begin("sleep 60")
    place.running()
    stage.controller.kill()
    place.edit(generateCredentialsInWorker=True)
    stage.objects.delete("Pod", place.namespace, child, gracePeriodSeconds=0)
    stage.objects.wait("Pod", place.namespace, child, lambda pod: pod is None)
    stage.controller.start()
    place.ends("Failed", "PodDeleted")
