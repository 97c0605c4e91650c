"""What a cluster's own webhooks and queues do to the pods of runs."""

import json
from collections.abc import Iterator

import pytest
from tests.integration.runs.admission import PODS, admission, bound_policy, until
from tests.integration.runs.play import FOREVER, Play, gone, play, says

from sandbox.objects import Object, condition
from sandbox.stage import Stage


@pytest.fixture(scope="module")
def scene(_stage: Stage) -> Play:
    return play(_stage)


@pytest.fixture
def webhook_that_is_down(scene: Play) -> Iterator[str]:
    """Nobody listens there, and nothing is admitted without it. Its configuration's name."""
    name, cluster = scene.stage.fresh("down"), scene.stage.cluster
    webhook: Object = {
        "name": "down.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [PODS],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    admission(scene, "ValidatingWebhookConfiguration", name, webhooks=[webhook])
    until(scene, "failed calling webhook")
    yield name
    cluster.kubectl("delete", "validatingwebhookconfiguration", name, "--ignore-not-found")
    until(scene, "failed calling webhook", told=False)


def test_a_webhook_that_is_down_is_told_and_no_secret_waits_for_it(scene: Play, webhook_that_is_down: str) -> None:
    scene.run("stuck")
    run = scene.wait("stuck", says("failed calling webhook"))
    issued = condition(run, "CredentialsIssued")
    assert (run["status"]["phase"], issued["reason"]) == ("Queued", "Retrying")
    assert 'failed calling webhook "down.example.com"' in issued["message"]
    assert "connection refused" in issued["message"]
    assert scene.secret("stuck") is None
    scene.stage.cluster.kubectl("delete", "validatingwebhookconfiguration", webhook_that_is_down)
    assert scene.end("stuck") == ("Finished", "Finished")


@pytest.fixture
def policy_that_denies(scene: Play) -> Iterator[str]:
    """Denies every pod, as one does whose registry cannot be asked just now. Its name, and its binding's."""
    words = "the image's signature cannot be looked up"
    denial: Object = {"validations": [{"expression": "false", "message": words}]}
    with bound_policy(scene, "ValidatingAdmissionPolicy", words, denial, validationActions=["Deny"]) as name:
        yield name


def test_a_denial_that_passes_delays_a_run_and_does_not_fail_it(scene: Play, policy_that_denies: str) -> None:
    scene.run("denied")
    run = scene.wait("denied", says("the image's signature cannot be looked up"))
    assert run["status"]["phase"] == "Queued"
    assert scene.secret("denied") is None
    scene.stage.cluster.kubectl("delete", "validatingadmissionpolicybinding", policy_that_denies)
    assert scene.end("denied") == ("Finished", "Finished")


@pytest.fixture
def mesh(scene: Play) -> Iterator[None]:
    """Gives every pod a container that never ends by itself."""
    command = ", ".join(json.dumps(word) for word in ("sh", "-c", FOREVER))
    proxy = f"Object.spec.containers{{name: 'istio-proxy', image: 'sandbox', command: [{command}]}}"
    expression = f"[JSONPatch{{op: 'add', path: '/spec/containers/-', value: {proxy}}}]"
    adds: Object = {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]}
    with bound_policy(scene, "MutatingAdmissionPolicy", "istio-proxy", {"reinvocationPolicy": "Never", **adds}):
        yield


def test_a_sidecar_that_is_left_over_does_not_hold_a_run(scene: Play, mesh: None) -> None:
    scene.run("meshed", "exit 7")
    assert scene.end("meshed") == ("Failed", "ContainerFailed")
    assert scene.wait("meshed")["status"]["exitCode"] == 7
    scene.stage.objects.wait("Pod", scene.namespace, scene.child("meshed"), gone, what="ended")


def test_a_pod_that_waits_for_a_gate_has_no_session(scene: Play) -> None:
    gate = "kueue.x-k8s.io/admission"
    scene.run("gated", pod={"schedulingGates": [{"name": gate}], "containers": [scene.stage.container("true")]})
    run = scene.wait("gated", says(f"scheduling gate `{gate}`"))
    assert run["status"]["phase"] == "Preparing"
    assert scene.secret("gated") is None
    assert run["status"].get("credentialsExpireAt") is None
    pod = {"spec": {"schedulingGates": None}}
    scene.stage.objects.patch("Pod", scene.namespace, scene.child("gated"), pod)
    assert scene.end("gated") == ("Finished", "Finished")
    assert scene.wait("gated")["status"]["credentialsExpireAt"]
