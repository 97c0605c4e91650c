"""An integration that was verified: what is done to it, and to the Runs that wait for it."""

import time
from collections.abc import Callable

from sandbox.faultproxy import Call
from sandbox.objects import Object, complete, condition

from .probes import OWN, SPELLING, is_probe, probe_of
from .scene import CONDITIONS, Scene, events_of


def verify_now(scene: Scene, value: str) -> None:
    body = {"metadata": {"annotations": {"aws.spacelift.io/verify": value}}}
    scene.stage.objects.patch("AwsIntegration", scene.namespace, scene.name, body)


def break_trust(scene: Scene) -> None:
    scene.stage.customer.set_trust(scene.role_name, scene.stage.trust("somebody@else"))


def rounds(scene: Scene) -> list[Call]:
    """The first call of every round so far; a round that ends well ends with the same question."""
    calls = [call for call in scene.calls if is_probe(call)]
    before = [None, *map(probe_of, calls)]
    own = [(call, last) for call, last in zip(calls, before, strict=False) if probe_of(call) == OWN]
    return [call for call, last in own if last != SPELLING]


def since_when(body: Object | None) -> list[tuple[str, str]]:
    """Each condition's status, and since when."""
    return [(condition(body, type_)["status"], condition(body, type_)["lastTransitionTime"]) for type_ in CONDITIONS]


def run_of(scene: Scene, name: str) -> Object:
    return scene.stage.objects.get("Run", scene.namespace, name) or {}


def finish(scene: Scene, name: str) -> Object:
    done = scene.stage.objects.wait("Run", scene.namespace, name, complete)
    assert done["status"]["phase"] == "Finished"
    return done


def wait_for_refusal(scene: Scene, name: str, reason: str = "IntegrationNotReady") -> Object:
    return scene.stage.objects.wait(
        "Run", scene.namespace, name, lambda run: condition(run, "CredentialsIssued").get("reason") == reason
    )


def calls_of_run(scene: Scene, run: Object) -> list[Call]:
    return [call for call in scene.calls if call.session_name == run["status"]["runId"]]


def told(scene: Scene) -> list[Object]:
    return events_of(scene.stage, scene.namespace, scene.name)


def stay(holds: Callable[[], object], what: str, seconds: float = 1.0) -> None:
    """What must not change is looked at for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert holds(), what
        time.sleep(0.05)


FORGED = [
    {
        "type": type_,
        "status": "True",
        "reason": "Verified",
        "message": "Trust me.",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    for type_ in CONDITIONS
]
