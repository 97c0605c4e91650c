"""What happens to a Run, or to an AwsIntegration, from its beginning to its end, whatever befalls its executor."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sandbox.crashpoints.calls import Call, Scope, Tape, WatchFault, What
from sandbox.crashpoints.rules import Rules
from sandbox.objects import Object, complete, condition
from sandbox.stage import Stage

Trusting = Callable[[str], Object]
"""What an AwsIntegration in a namespace says so that it is trusted: the `spec` of one with a role of its own."""

RUN, INTEGRATION = "it", "prod"
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
HELD = {"sandbox/hold": "true"}
"""The stand-in node leaves such a pod alone."""
PATIENCE = 90.0
"""Seconds for one thing to come about, a restart and a busy machine included."""


@dataclass(frozen=True)
class Place:
    """A namespace, and the executor that does the work in it."""

    namespace: str
    trusting: Trusting
    rules: Rules
    """Of the account whose calls are judged."""


@dataclass
class Scene:
    """A place, and what is done in it."""

    stage: Stage
    tape: Tape
    place: Place
    covers: Callable[[str], bool]
    at: dict[Call, What] = field(default_factory=dict)
    scope: Scope = field(init=False)

    def __post_init__(self) -> None:
        self.scope = Scope(self.covers, dict(self.at))

    @property
    def namespace(self) -> str:
        return self.place.namespace

    @property
    def patience(self) -> float:
        """Seconds for one thing to come about. That a watch is silent is noticed after a minute and a half."""
        return PATIENCE * (3 if WatchFault.SILENT in self.at.values() else 1)

    def counted(self) -> None:
        """The life begins: from here on calls are counted."""
        self.tape.begin(self.namespace, self.scope)

    def integration(self, **spec: Any) -> Object:
        """An AwsIntegration with a role that trusts it; its calls to STS are known by the role."""
        trusted = self.place.trusting(self.namespace)
        self.tape.own(trusted["roleArn"], self.namespace)
        return self.stage.integration(self.namespace, INTEGRATION, **{**trusted, **spec})

    def verified(self, status: str = "True") -> None:
        """Wait until the integration is, or is not, ready."""
        self.wait("AwsIntegration", INTEGRATION, lambda body: condition(body, "Ready").get("status") == status)

    def run(self, script: str = "true", **spec: Any) -> None:
        """Create the Run. Logs are not masked unless a life is about that."""
        self.stage.run(self.namespace, script, name=RUN, **{"maskLogs": "Never", **spec})

    def wait(self, kind: str, name: str, until: Callable[[Object | None], object]) -> Object:
        return self.stage.objects.wait(kind, self.namespace, name, until, timeout=self.patience)

    def phase(self, *phases: str) -> Object:
        """Wait until the Run is in one of these. AssertionError if it ends before."""

        def phase(run: Object | None) -> str:
            return str((run or {}).get("status", {}).get("phase"))

        run = self.wait("Run", RUN, lambda run: phase(run) in phases or complete(run))
        assert phase(run) in phases, f"ended {phase(run)} before it was {' or '.join(phases)}"
        return run

    def ended(self) -> None:
        self.wait("Run", RUN, complete)

    def gone(self) -> None:
        self.wait("Run", RUN, lambda run: run is None)

    def change(self, **spec: Any) -> None:
        self.stage.objects.patch("Run", self.namespace, RUN, {"spec": spec})

    def pod(self, until: Callable[[Object], object] = bool) -> Object:
        """The Run's pod, once there is one as wanted; empty where the Run has ended without."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            pods = self.stage.objects.list("Pod", self.namespace, "aws.spacelift.io/run-id")
            if pods and until(pods[0]):
                return pods[0]
            if complete(self.stage.objects.get("Run", self.namespace, RUN)):
                return {}
            time.sleep(0.05)
        raise AssertionError(f"Run {self.namespace}/{RUN}: no pod")

    def let_go(self) -> None:
        """The node takes up a pod that it was to leave alone."""
        if pod := self.pod():
            name, annotations = pod["metadata"]["name"], {"metadata": {"annotations": {"sandbox/hold": None}}}
            self.stage.objects.patch("Pod", self.namespace, name, annotations)


@dataclass(frozen=True)
class Life:
    """A story and its only right end."""

    name: str
    play: Callable[[Scene], None]
    ends: frozenset[tuple[str, str]] = frozenset()
    """Phase and reason of the Run's end; empty: the Run is gone."""
    pods: tuple[int, int] = (1, 1)
    """How many pods are ever made, from and to."""
    has_integration: bool = True
    rights_end: bool = False
    """Whether a worker's rights, which are bound in the namespace, go with it."""
    of_run: bool = True
    """Whether a Run's calls are counted, or an AwsIntegration's."""
    open_ended: bool = False
    """Whether what is called depends on how long it takes: sessions are renewed all along."""

    @property
    def workers_have_a_part(self) -> bool:
        """Integrations are the controller's, and so are Runs that have none."""
        return self.has_integration and self.of_run

    def covers(self, name: str) -> bool:
        """Whether a call is one of this life."""
        of_integration = "awsintegrations" in name or name.endswith("by a probe")
        return of_integration is not self.of_run or name.endswith(("POST events", "PATCH events/*"))


def _trusted(scene: Scene, script: str = "true", **spec: Any) -> None:
    scene.integration()
    scene.verified()
    scene.counted()
    scene.run(script, **spec)


def _finished(scene: Scene) -> None:
    _trusted(scene, "aws sts get-caller-identity")
    scene.ended()


def _failed(scene: Scene) -> None:
    _trusted(scene, "exit 3")
    scene.ended()


def _refused(scene: Scene) -> None:
    """Its template sets one of the four variables."""
    variable = {"name": "AWS_ACCESS_KEY_ID", "value": "x"}
    container = {"name": "main", "image": "sandbox", "command": ["true"], "env": [variable]}
    scene.integration()
    scene.verified()
    scene.counted()
    scene.run(pod={"containers": [container]})
    scene.ended()


def _stopped_while_queued(scene: Scene) -> None:
    scene.counted()
    scene.run()
    scene.wait("Run", RUN, lambda run: condition(run, "CredentialsIssued"))
    scene.change(stop=True)
    scene.ended()


def _stopped_while_preparing(scene: Scene) -> None:
    _trusted(scene, annotations=HELD)
    scene.phase("Preparing")
    scene.change(stop=True)
    scene.ended()


def _stopped_while_running(scene: Scene) -> None:
    _trusted(scene, FOREVER)
    scene.phase("Running")
    scene.change(stop=True)
    scene.ended()


def _deadline(scene: Scene) -> None:
    _trusted(scene, FOREVER, activeDeadlineSeconds=2)
    scene.ended()


def _starting_deadline(scene: Scene) -> None:
    scene.counted()
    scene.run(startingDeadlineSeconds=2)
    scene.ended()


def _file_renewed(scene: Scene) -> None:
    """It ends once its session was renewed, which its status tells."""
    _trusted(scene, FOREVER, delivery="File")
    first = scene.phase("Running", "Failed", "Finished")["status"].get("credentialsExpireAt", "")
    scene.wait("Run", RUN, lambda run: complete(run) or (run or {})["status"].get("credentialsExpireAt", "") > first)
    scene.change(stop=True)
    scene.ended()


def _renewed_before_its_start(scene: Scene) -> None:
    """Its Secret is lost while its pod waits: the kubelet says so, and a new session is issued."""
    _trusted(scene, "aws sts get-caller-identity", annotations=HELD)
    pod = scene.pod()
    name = pod["metadata"]["name"]
    scene.stage.objects.wait("Secret", scene.namespace, name, bool, timeout=scene.patience)
    scene.stage.objects.delete("Secret", scene.namespace, name)
    waiting = {"reason": "CreateContainerConfigError", "message": f'secret "{name}" not found'}
    status = {"phase": "Pending", "containerStatuses": [_state(waiting=waiting)]}
    scene.stage.objects.patch("Pod", scene.namespace, name, {"status": status}, subresource="status")
    scene.stage.objects.wait("Secret", scene.namespace, name, bool, timeout=scene.patience)
    scene.let_go()
    scene.ended()


def _masked(scene: Scene) -> None:
    """The stand-in node runs no images: what a kubelet would write is written for it."""
    _trusted(scene, maskLogs="Required", annotations=HELD)
    name = scene.pod()["metadata"]["name"]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    over = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
    for phase, state in (("Running", {"running": {"startedAt": now}}), ("Succeeded", {"terminated": over})):
        status = {"phase": phase, "startTime": now, "containerStatuses": [_state(**state)]}
        scene.stage.objects.patch("Pod", scene.namespace, name, {"status": status}, subresource="status")
        if phase == "Running":
            scene.phase("Running")
    scene.ended()


def _state(**state: Any) -> Object:
    return {
        "name": "main",
        "image": "sandbox",
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _deleted(scene: Scene) -> None:
    _trusted(scene, FOREVER)
    scene.phase("Running")
    scene.stage.objects.delete("Run", scene.namespace, RUN)
    scene.gone()


def _pod_deleted(scene: Scene) -> None:
    _trusted(scene, FOREVER)
    scene.phase("Running")
    scene.stage.objects.delete("Pod", scene.namespace, scene.pod()["metadata"]["name"])
    scene.ended()


def _namespace_deleted(scene: Scene) -> None:
    _trusted(scene, FOREVER)
    scene.phase("Running")
    scene.stage.objects.delete("Namespace", None, scene.namespace)
    scene.stage.objects.wait("Namespace", None, scene.namespace, lambda body: body is None, timeout=scene.patience)


def _time_to_live(scene: Scene) -> None:
    _trusted(scene, ttlSecondsAfterFinished=1)
    scene.gone()


def _integration(scene: Scene) -> None:
    """Without a role, with one that trusts it, with one that does not, again with the first, and gone."""
    scene.counted()
    scene.stage.integration(scene.namespace, INTEGRATION, trusted=False)
    scene.wait("AwsIntegration", INTEGRATION, lambda body: condition(body, "TrustVerified").get("reason"))
    own = scene.stage.external_id(scene.namespace, INTEGRATION)
    for external_id, status in ((own, "True"), ("another", "False"), (own, "True")):
        role = scene.stage.role(scene.stage.trust(external_id))
        scene.tape.own(role, scene.namespace)
        scene.stage.objects.patch("AwsIntegration", scene.namespace, INTEGRATION, {"spec": {"roleArn": role}})
        scene.wait("AwsIntegration", INTEGRATION, partial(_settled, status))
    scene.stage.objects.delete("AwsIntegration", scene.namespace, INTEGRATION)


def _settled(status: str, body: Object | None) -> bool:
    shown = condition(body, "Ready")
    generation = (body or {}).get("metadata", {}).get("generation")
    return shown.get("status") == status and shown.get("observedGeneration") == generation


def _end(phase: str, reason: str | None = None) -> frozenset[tuple[str, str]]:
    return frozenset({(phase, reason or phase)})


LIVES = (
    Life("finished", _finished, _end("Finished")),
    Life("failed", _failed, _end("Failed", "ContainerFailed")),
    Life("template refused", _refused, _end("Failed", "TemplateRefused"), pods=(0, 0)),
    Life("stopped while queued", _stopped_while_queued, _end("Stopped"), pods=(0, 0), has_integration=False),
    Life("stopped while preparing", _stopped_while_preparing, _end("Stopped")),
    Life("stopped while running", _stopped_while_running, _end("Stopped")),
    Life("deadline", _deadline, _end("Failed", "DeadlineExceeded")),
    Life(
        "starting deadline",
        _starting_deadline,
        _end("Failed", "StartingDeadlineExceeded"),
        pods=(0, 0),
        has_integration=False,
    ),
    Life("file, renewed", _file_renewed, _end("Stopped"), open_ended=True),
    Life("renewed before its start", _renewed_before_its_start, _end("Finished")),
    Life("masked", _masked, _end("Finished")),
    Life("deleted", _deleted),
    Life("pod deleted", _pod_deleted, _end("Failed", "PodDeleted")),
    Life("namespace deleted", _namespace_deleted, rights_end=True),
    Life("time to live", _time_to_live),
    Life("integration", _integration, pods=(0, 0), of_run=False, open_ended=True),
)
