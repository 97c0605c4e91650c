"""What kstatus makes of both kinds: by it Flux and Helm decide whether to wait, to go on, or to give up.

Argo CD's health checks and Flux's expressions from `examples/` have to say the same of the same objects.
"""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.runs.play import FOREVER, HOLD, Play, container, phase, play

from sandbox import binaries, gitops
from sandbox.objects import Object, complete
from sandbox.stage import Stage


def judged(*bodies: Object) -> list[str]:
    """kstatus's own words, a line an object."""
    program = binaries.ensure("kstatus")["kstatus"]
    objects = "\n".join(json.dumps(body) for body in bodies)
    return subprocess.run([program], input=objects, capture_output=True, text=True, check=True).stdout.splitlines()


ARGO = {"InProgress": "Progressing", "Failed": "Degraded", "Current": "Healthy"}


def status(body: Object) -> str:
    """What all three say."""
    [line] = judged(body)
    verdict = line.partition(":")[0]
    assert gitops.argo_health(body)[0] == ARGO[verdict]
    assert gitops.flux_health(body) == verdict
    return verdict


RUNS: dict[str, tuple[dict[str, Any], Callable[[Object | None], bool], str]] = {
    # spec of the Run, the state that is waited for, what kstatus makes of it
    "Queued": ({"integration": "none"}, lambda run: "message" in (run or {})["status"], "InProgress"),
    "Preparing": ({"annotations": HOLD}, phase("Preparing"), "InProgress"),
    "Running": ({"script": FOREVER}, phase("Running"), "InProgress"),
    "Finished": ({}, complete, "Current"),
    "Failed": ({"script": "exit 3"}, complete, "Failed"),
    "Refused": ({"pod": {"containers": [container("main", env=[{"name": "AWS_PROFILE"}])]}}, complete, "Failed"),
}


@pytest.fixture(scope="module")
def scene(_stage: Stage) -> Play:
    made = play(_stage)
    for role, (spec, _, _) in RUNS.items():
        made.run(role, **spec)
    return made


@pytest.mark.parametrize("role", RUNS)
def test_each_phase_of_a_run(scene: Play, role: str) -> None:
    _, until, wanted = RUNS[role]
    assert status(scene.wait(role, until)) == wanted


def test_a_stopped_run_did_not_do_its_work(scene: Play) -> None:
    scene.run("stopped", FOREVER)
    scene.wait("stopped", phase("Running"))
    scene.patch("stopped", stop=True)
    assert scene.end("stopped") == ("Stopped", "Stopped")
    assert status(scene.wait("stopped")) == "Failed"


def test_a_change_of_an_ended_run_is_looked_at_again(scene: Play) -> None:
    """The time to live may change; the status is then about the newest generation, and the verdict the same."""
    scene.run("changed")
    scene.end("changed")
    scene.patch("changed", ttlSecondsAfterFinished=600)
    current = scene.wait("changed", lambda run: (run or {})["status"]["observedGeneration"] == 2)
    assert status(current) == "Current"


def test_nothing_is_ready_before_it_was_looked_at(scene: Play) -> None:
    """As the API server shows them at their creation."""
    scene.stage.controller.stop()
    try:
        run = scene.stage.objects.get("Run", scene.namespace, scene.run("unseen"))
        integration = scene.stage.integration(scene.namespace, "unseen")
        assert run is not None
        assert [status(run), status(integration)] == ["InProgress"] * 2
        scene.patch("unseen", stop=True)
    finally:
        scene.stage.controller.start()
    assert scene.end("unseen") == ("Stopped", "Stopped")


def reason(wanted: str) -> Callable[[Object | None], bool]:
    def is_said(body: Object | None) -> bool:
        conditions = (body or {}).get("status", {}).get("conditions", [])
        return any(one["type"] == "TrustVerified" and one["reason"] == wanted for one in conditions)

    return is_said


INTEGRATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "Verified": ({}, "Current"),
    "NotVerifiable": (
        {"generateCredentialsInWorker": True, "roleArn": "arn:aws:iam::222222222222:role/theirs"},
        "Current",
    ),
    # A role may appear, and its trust may be mended.
    "RoleNotSet": ({"trusted": False}, "InProgress"),
    "InvalidSessionPolicy": ({"sessionPolicy": '{"Version":"2012-10-17"}'}, "Failed"),
    "AccessDenied": ({"roleArn": "arn:aws:iam::222222222222:role/nobodys"}, "InProgress"),
}


@pytest.mark.parametrize("wanted", INTEGRATIONS)
def test_each_verdict_on_an_integration(scene: Play, wanted: str) -> None:
    spec, verdict = INTEGRATIONS[wanted]
    name = wanted.lower()
    scene.stage.integration(scene.namespace, name, **spec)
    body = scene.stage.objects.wait("AwsIntegration", scene.namespace, name, reason(wanted), what=wanted)
    assert status(body) == verdict
