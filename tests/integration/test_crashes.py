"""The controller is killed with Runs at every stage, things happen while it is away, and a new one takes over."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from time import sleep

import pytest

from sandbox.apiproxy import ApiProxy, Deafen, Fault, Hold, Lose, Refuse
from sandbox.controller import Controller
from sandbox.faults import Match, Rule
from sandbox.objects import Object, complete, condition
from sandbox.process import wait_until
from sandbox.stage import HAS_CREDENTIALS, Stage
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.pod.outcome import CLOCK_SKEW
from spacelift_aws.names import child_name, run_id

pytestmark = pytest.mark.slow

MOMENTS = (
    *("issuing", "secret made", "pod made", "running", "pod ended"),
    *("pod deleted", "orphaned", "stopped", "integration deleted", "pod made and gone", "collected"),
)


def identifier(run: Object) -> str:
    parsed = Run.model_validate(run)
    return run_id(parsed.metadata.creation_timestamp, parsed.metadata.uid)


def pods_made(stage: Stage, namespace: str) -> int:
    """How many pods were ever created in a namespace."""
    return sum(
        (event.verb, event.resource, event.subresource, event.code) == ("create", "pods", "", 201)
        for event in stage.cluster.audit_events(namespace)
    )


def issuing(stage: Stage, namespace: str) -> Match:
    """The calls that issue credentials for a namespace's integration: unlike probes they deny themselves nothing."""
    integration = stage.objects.get("AwsIntegration", namespace, "prod")
    assert integration is not None
    return Match(role_arn=integration["spec"]["roleArn"], absent=["Policy"])


@dataclass
class Scene:
    """Runs by what happened to them, each in a namespace of its own."""

    stage: Stage
    namespaces: dict[str, str] = field(default_factory=dict)
    identifiers: dict[str, str] = field(default_factory=dict)

    def set_up(self, what: str) -> str:
        namespace = self.namespaces[what] = self.stage.namespace()
        self.stage.integration(namespace)
        self.stage.objects.wait(
            "AwsIntegration", namespace, "prod", lambda body: condition(body, "Ready").get("status") == "True"
        )
        return namespace

    def begin(self, what: str, script: str = "true") -> str:
        """Create the Run; the name of its children."""
        self.stage.run(self.namespaces[what], script, name="it")
        run = self.stage.objects.get("Run", self.namespaces[what], "it")
        assert run is not None
        self.identifiers[what] = identifier(run)
        return child_name(self.identifiers[what])

    def running(self, what: str) -> None:
        self.stage.objects.wait(
            "Run", self.namespaces[what], "it", lambda run: (run or {})["status"]["phase"] == "Running"
        )

    def ended(self, what: str) -> Object:
        return self.stage.objects.wait("Run", self.namespaces[what], "it", complete)

    def secrets(self, what: str) -> list[str]:
        return [secret["metadata"]["name"] for secret in self.stage.objects.list("Secret", self.namespaces[what])]


@pytest.fixture(scope="module")
def scene(_stage: Stage, api: ApiProxy) -> Scene:
    """All the moments at once: one death of the controller, and one return."""
    stage, objects = _stage, _stage.objects
    scene = Scene(stage)
    spaces = {what: scene.set_up(what) for what in MOMENTS}
    gate, soon = stage.gate(), stage.gate()
    for what, script in (("running", gate.wait), ("pod ended", soon.wait), ("pod deleted", "sleep 600")):
        scene.begin(what, script)
    for what, script in (("orphaned", "sleep 600"), ("stopped", "sleep 600"), ("integration deleted", gate.wait)):
        scene.begin(what, script)
    for what in ("running", "pod deleted", "orphaned", "stopped", "integration deleted"):
        scene.running(what)

    no_pod = Fault("POST", f"/namespaces/{spaces['secret made']}/pods", Hold())
    unseen = ("pod made", "pod made and gone", "collected")
    no_status = [Fault("PATCH", f"/namespaces/{spaces[what]}/runs/it/status", Hold()) for what in unseen]
    slow = Rule(issuing(stage, spaces["issuing"]), delay=60)
    with api.fault(no_pod), ExitStack() as faults:
        secret = scene.begin("secret made")
        objects.wait("Secret", spaces["secret made"], secret, bool)
        for what, script, fault in zip(unseen, (soon.wait, "sleep 600", soon.wait), no_status, strict=True):
            pod = scene.begin(what, script)
            objects.wait("Pod", spaces[what], pod, bool)
            # The mark before the pod is written; what follows is not.
            faults.enter_context(api.fault(fault))
        stage.proxy.add(slow)
        scene.begin("issuing")
        wait_until(lambda: slow.used > 0, timeout=30, what="the call that issues credentials")
        stage.controller.kill()
    stage.proxy.remove(slow)

    soon.open()
    name = child_name(scene.identifiers["pod ended"])
    objects.wait(
        "Pod", spaces["pod ended"], name, lambda pod: (pod or {}).get("status", {}).get("phase") == "Succeeded"
    )
    name = child_name(scene.identifiers["collected"])
    objects.wait(
        "Pod", spaces["collected"], name, lambda pod: (pod or {}).get("status", {}).get("phase") == "Succeeded"
    )
    # What ended just before a deletion may have ended by it.
    sleep(CLOCK_SKEW.total_seconds() + 1)
    for what in ("pod made and gone", "collected"):
        assert (objects.get("Run", spaces[what], "it") or {})["status"]["phase"] == "Queued"
        objects.delete("Pod", spaces[what], child_name(scene.identifiers[what]), gracePeriodSeconds=0)
    objects.delete("Pod", spaces["pod deleted"], child_name(scene.identifiers["pod deleted"]), gracePeriodSeconds=0)
    objects.delete("Run", spaces["orphaned"], "it", propagationPolicy="Orphan")
    objects.wait("Run", spaces["orphaned"], "it", lambda run: run is None)
    objects.patch("Run", spaces["stopped"], "it", {"spec": {"stop": True}})
    objects.delete("AwsIntegration", spaces["integration deleted"], "prod")
    stage.controller.start()
    gate.open()
    return scene


@pytest.mark.parametrize(
    ("what", "phase", "reason"),
    [
        ("issuing", "Finished", "Finished"),
        ("secret made", "Finished", "Finished"),
        ("pod made", "Finished", "Finished"),
        ("running", "Finished", "Finished"),
        ("pod ended", "Finished", "Finished"),
        ("pod deleted", "Failed", "PodDeleted"),
        ("pod made and gone", "Failed", "PodDeleted"),
        ("collected", "Finished", "Finished"),
        ("stopped", "Stopped", "Stopped"),
        ("integration deleted", "Finished", "Finished"),
    ],
)
def test_after_a_crash_a_run_ends_as_it_should(scene: Scene, what: str, phase: str, reason: str) -> None:
    run = scene.ended(what)
    assert (run["status"]["phase"], condition(run, "Succeeded")["reason"]) == (phase, reason)
    assert run["status"]["runId"] == scene.identifiers[what]
    assert scene.secrets(what) == []
    assert pods_made(scene.stage, scene.namespaces[what]) == 1


def test_the_pod_of_a_run_that_was_orphaned_meanwhile_leads_to_the_secret(scene: Scene) -> None:
    name = child_name(scene.identifiers["orphaned"])
    namespace = scene.namespaces["orphaned"]
    scene.stage.objects.wait("Secret", namespace, name, lambda secret: secret is None)
    scene.stage.objects.wait("Pod", namespace, name, lambda pod: pod is None, timeout=45)


def test_a_creation_that_arrives_after_the_crash_leaves_no_secret(stage: Stage, api: ApiProxy) -> None:
    scene = Scene(stage)
    namespace = scene.set_up("late")
    late = Fault("POST", f"/namespaces/{namespace}/secrets", Lose(after=3), times=1)
    with api.fault(late):
        scene.begin("late")
        wait_until(lambda: late.used > 0, timeout=30, what="the Secret's creation")
        stage.controller.kill()
    stage.objects.patch("Run", namespace, "it", {"spec": {"stop": True}})
    stage.controller.start()
    assert scene.ended("late")["status"]["phase"] == "Stopped"
    created = [
        event.code
        for event in stage.cluster.audit_events(namespace)
        if (event.verb, event.resource) == ("create", "secrets")
    ]
    assert created == [201], "the creation did not arrive, which is what this test is about"
    assert scene.secrets("late") == []


def test_two_controllers_by_accident_make_one_pod_and_leave_no_secret(stage: Stage, api: ApiProxy) -> None:
    rival = Controller(stage.cluster, stage.controller.environment, "rival")
    rival.start()
    try:
        scene = Scene(stage)
        namespace = scene.set_up("both")
        names = [stage.run(namespace, HAS_CREDENTIALS) for _ in range(12)]
        for name in names:
            run = stage.objects.wait("Run", namespace, name, complete)
            assert run["status"]["phase"] == "Finished"
        assert scene.secrets("both") == []
        assert pods_made(stage, namespace) == len(names)
    finally:
        rival.stop()


def test_a_signal_ends_the_controller_at_once_and_well(stage: Stage, api: ApiProxy) -> None:
    scene = Scene(stage)
    slow = stage.proxy.add(Rule(issuing(stage, scene.set_up("stop")), delay=60))
    scene.begin("stop")
    wait_until(lambda: slow.used > 0, timeout=10, what="a call of STS that hangs")
    assert stage.controller.process.stop(grace=3) == 0
    stage.proxy.remove(slow)
    assert "Traceback" not in stage.controller.logs
    stage.controller.start()
    assert scene.ended("stop")["status"]["phase"] == "Finished"


def test_a_controller_that_finds_no_definitions_says_so_and_waits(stage: Stage, api: ApiProxy) -> None:
    early = Controller(stage.cluster, stage.controller.environment, "early")
    with api.fault(Fault("GET", "/apis/aws.spacelift.io/v1beta1", Refuse(404, "NotFound"))):
        early.start(wait=False)
        wait_until(lambda: "apply the CRDs" in early.logs, timeout=20, what="a word about the definitions")
    try:
        wait_until(lambda: "ready as installation" in early.logs, timeout=20, what="the controller to go on")
    finally:
        assert early.process.stop(grace=20) == 0, early.logs


def test_a_controller_of_which_a_part_dies_ends(stage: Stage, api: ApiProxy) -> None:
    broken = Controller(stage.cluster, stage.controller.environment, "broken")
    # A list that is none: no code is prepared for that.
    with api.fault(Fault("GET", "/api/v1/namespaces", Deafen(200))):
        broken.start(wait=False)
        wait_until(lambda: broken.process.exit_code() is not None, timeout=20, what="the end")
    assert broken.process.exit_code() == 1
    assert "the process cannot go on" in broken.logs
