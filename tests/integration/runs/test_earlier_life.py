"""Runs that a backup or a tool brings back: none is executed twice."""

import json
from typing import Any

import pytest
from tests.integration.runs.play import Play, play

from sandbox.objects import Object, complete, condition
from sandbox.process import wait_until
from sandbox.stage import Stage

ENDED, EXCLUDED = "aws.spacelift.io/ended", "velero.io/exclude-from-backup"
SERVERS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


@pytest.fixture(scope="module")
def scene(_stage: Stage) -> Play:
    made = play(_stage)

    def stamps() -> bool:
        """A policy takes a moment to act."""
        run = made.stage.objects.get("Run", made.namespace, made.run("stamped"))
        return "aws.spacelift.io/requested-by" in (run or {})["metadata"].get("annotations", {})

    wait_until(stamps, timeout=20, what="the policy that stamps Runs", interval=0.5)
    return made


def marked(run: Object | None) -> bool:
    return complete(run) and ENDED in (run or {})["metadata"].get("annotations", {})


def brought_back(scene: Play, run: Object, *dropped: str) -> Object:
    """As a backup restores a Run: deleted, and created as it was but for what the API server gives."""
    metadata = {key: value for key, value in run["metadata"].items() if key not in SERVERS}
    metadata["annotations"] = {k: v for k, v in metadata.get("annotations", {}).items() if k not in dropped}
    scene.stage.objects.delete("Run", scene.namespace, metadata["name"])
    scene.stage.objects.wait("Run", scene.namespace, metadata["name"], lambda body: body is None)
    return scene.stage.objects.create({**run, "metadata": metadata, "status": {}})


def pods(scene: Play, name: str) -> list[str]:
    found = scene.stage.cluster.kubectl("get", "pods", f"--namespace={scene.namespace}", "--output=json").stdout
    items: list[dict[str, Any]] = json.loads(found)["items"]
    return [
        pod["metadata"]["name"] for pod in items if pod["metadata"]["annotations"].get("aws.spacelift.io/run") == name
    ]


def test_an_ended_run_is_marked_and_left_out_of_backups(scene: Play) -> None:
    scene.run("ended")
    run = scene.wait("ended", marked)
    assert run["metadata"]["annotations"][ENDED] == run["status"]["runId"]
    assert run["metadata"]["labels"][EXCLUDED] == "true"


@pytest.mark.parametrize("role", ["by its end's mark", "by the stamp of its creation"])
def test_a_run_that_a_backup_brings_back_is_not_executed_again(scene: Play, role: str) -> None:
    dropped = "aws.spacelift.io/requested-by" if "end" in role else ENDED
    scene.run(role)
    first = scene.wait(role, marked)
    brought_back(scene, first, dropped)
    assert scene.end(role) == ("Failed", "Restored")
    message = scene.wait(role)["status"]["message"]
    assert "was restored or copied" in message
    assert "without annotations under aws.spacelift.io/" in message
    assert pods(scene, first["metadata"]["name"]) == []


def test_a_copy_without_the_marks_is_executed(scene: Play) -> None:
    scene.run("copied")
    first = scene.wait("copied", marked)
    brought_back(scene, first, ENDED, "aws.spacelift.io/requested-by")
    assert scene.end("copied") == ("Finished", "Finished")


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"argocd.argoproj.io/tracking-id": "apps:aws.spacelift.io/Run:team/x"}},
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}},
    ],
    ids=["Argo CD", "Flux"],
)
def test_what_a_tool_would_make_again_is_not_deleted_but_its_pod_is(scene: Play, metadata: dict[str, Any]) -> None:
    role = f"tracked {metadata}"
    spec = {"ttlSecondsAfterFinished": 1}
    name = scene.runs[role] = scene.stage.fresh("tracked")
    template = {"spec": {"containers": [scene.stage.container("true")]}}
    scene.stage.objects.create(
        {
            "apiVersion": "aws.spacelift.io/v1beta1",
            "kind": "Run",
            "metadata": {"namespace": scene.namespace, "name": name, **metadata},
            "spec": {"integrationRef": {"name": "prod"}, "template": template, **spec},
        }
    )
    run = scene.wait(role, lambda run: "time to live deletes only the pod" in (run or {})["status"].get("message", ""))
    assert condition(run, "Succeeded")["status"] == "True"
    wait_until(lambda: not pods(scene, name), timeout=20, what="the pod's end")
    assert scene.wait(role)["metadata"]["uid"] == run["metadata"]["uid"]


def test_what_is_not_tracked_is_deleted_in_time(scene: Play) -> None:
    name = scene.run("untracked", ttlSecondsAfterFinished=1)
    scene.stage.objects.wait("Run", scene.namespace, name, lambda run: run is None)
