"""Jobs that wait in Kueue's queues and are executed as Runs, with Kueue itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import binaries
from sandbox.gobuild import BuildError
from sandbox.kueue import API_VERSION, QUEUE, create_queue, kueue
from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.stage import Stage

from ..policies import PoliciesOnOthers
from .kit import FOREVER, Jobs, executed, is_suspended, job_of, runs

pytestmark = pytest.mark.slow

QUEUE_NAME = "infrastructure"
WORKLOAD = "workloads.kueue.x-k8s.io"


@pytest.fixture(scope="module")
def jobs(_stage: Stage, on_others: PoliciesOnOthers) -> Iterator[Jobs]:
    """A namespace with a queue that has room for one Job at a time."""
    try:
        binaries.ensure("kueue")
    except BuildError as error:
        pytest.skip(f"Kueue cannot be built, AND IS NOT TRIED: {error}")
    with executed(_stage, on_others), kueue(_stage.cluster):
        _stage.controller.stop()
        _stage.controller.start()
        jobs = Jobs(_stage)
        urgent = {
            "apiVersion": API_VERSION,
            "kind": "WorkloadPriorityClass",
            "metadata": {"name": "urgent"},
            "value": 100,
        }
        create_queue(_stage.cluster, QUEUE_NAME, jobs.namespace, 1, {"pool": "spot"})
        _stage.cluster.kubectl("create", "--filename=-", input=json.dumps(urgent))
        yield jobs
        # Kueue holds what it has admitted with a finalizer.
        _stage.cluster.kubectl("delete", "jobs", "--all", f"--namespace={jobs.namespace}", "--timeout=60s")
        _stage.controller.stop()
    _stage.controller.start()


def create(jobs: Jobs, name: str, script: str = "true", **labels: str) -> None:
    """A Job in the queue that needs all of its room."""
    body = job_of(jobs.stage, jobs.namespace, name, script, suspend=True)
    body["metadata"]["labels"] = {QUEUE: QUEUE_NAME, **labels}
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    jobs.stage.objects.create(body)


def workload(jobs: Jobs, name: str) -> Object:
    """What Kueue has made of a Job."""
    shown = jobs.stage.cluster.kubectl("get", WORKLOAD, f"--namespace={jobs.namespace}", "--output=json")
    made = [one for one in json.loads(shown.stdout)["items"] if one["metadata"]["ownerReferences"][0]["name"] == name]
    assert len(made) == 1
    found: dict[str, Any] = made[0]
    return found


def test_a_job_is_admitted_runs_with_credentials_and_leaves_the_queue(jobs: Jobs) -> None:
    create(jobs, "whoami", "aws sts get-caller-identity --query Arn --output text")
    job, run = jobs.wait("whoami"), jobs.run("whoami")
    assert condition(job, "Complete").get("status") == "True"
    said = jobs.stage.cluster.kubectl("logs", f"--namespace={jobs.namespace}", run["status"]["podName"]).stdout
    assert said.strip().endswith("/" + run["status"]["runId"])
    pod = jobs.stage.objects.get("Pod", jobs.namespace, run["status"]["podName"])
    assert pod is not None
    assert pod["spec"]["nodeSelector"] == {"pool": "spot"}
    wait_until(
        lambda: condition(workload(jobs, "whoami"), "Finished").get("status") == "True", timeout=20, what="its Workload"
    )
    assert jobs.stage.objects.list("Secret", jobs.namespace) == []


def test_a_job_for_which_there_is_no_room_has_no_run(jobs: Jobs) -> None:
    create(jobs, "first", FOREVER)
    jobs.running("first")
    create(jobs, "second")
    jobs.wait("second", is_suspended)
    assert jobs.stage.objects.get("Run", jobs.namespace, "second") is None
    jobs.stage.objects.delete("Job", jobs.namespace, "first", propagationPolicy="Background")
    assert condition(jobs.wait("second"), "Complete").get("status") == "True"


def test_a_job_that_is_preempted_stops_and_runs_again_under_another_id(jobs: Jobs) -> None:
    create(jobs, "patient", FOREVER)
    first = jobs.running("patient")
    create(jobs, "urgent", "sleep 1", **{"kueue.x-k8s.io/priority-class": "urgent"})
    assert condition(jobs.wait("urgent"), "Complete").get("status") == "True"
    second = jobs.run("patient", lambda run: runs(run) and (run or {})["metadata"]["uid"] != first["metadata"]["uid"])
    assert second["status"]["runId"] != first["status"]["runId"]
    pods = jobs.stage.objects.list("Pod", jobs.namespace)
    assert [pod["metadata"]["name"] for pod in pods].count(first["status"]["podName"]) == 0
    jobs.stage.objects.delete("Job", jobs.namespace, "patient", propagationPolicy="Background")
    jobs.gone("Run", "patient")
