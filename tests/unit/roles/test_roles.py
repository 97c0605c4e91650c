"""Which Runs and integrations are whose."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.awsintegration.by_role import plan_for, writes_about
from spacelift_aws.roles.controller import ControllerRole
from spacelift_aws.roles.pool_leases import OtherPools
from spacelift_aws.roles.worker import WorkerRole
from spacelift_aws.runtime.role import LeaseName, Role

MINUTE = timedelta(minutes=1)


@dataclass
class MadeBy:
    executor: str


def _metadata(name: str, namespace: str) -> dict[str, Any]:
    times = {"creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "1", "generation": 1}
    return {"name": name, "namespace": namespace, "uid": name, **times}


def integration(*, in_worker: bool, namespace: str = "team") -> AwsIntegration:
    spec = {"roleArn": "arn:aws:iam::222222222222:role/r", "generateCredentialsInWorker": in_worker}
    return AwsIntegration.model_validate({"metadata": _metadata("prod", namespace), "spec": spec})


def run(pool: str = "build", namespace: str = "team") -> Run:
    spec = {
        "integrationRef": {"name": "prod", "namespace": namespace},
        "workerPool": pool,
        "template": {"spec": {"containers": [{"name": "main"}]}},
    }
    return Run.model_validate({"metadata": _metadata("plan", "team"), "spec": spec})


def worker(silent: str | None = None) -> WorkerRole:
    now = 0.0
    others = OtherPools("build", MINUTE, lambda: now)
    if silent is not None:
        others.note(silent, "renewed once")
        now = 120.0
    return WorkerRole("build", ("team",), LeaseName("team", "build"), others)


CONTROLLER = ControllerRole(worker_first=MINUTE)


@pytest.mark.parametrize("role", [CONTROLLER, worker()], ids=["controller", "worker"])
@pytest.mark.parametrize("in_worker", [False, True])
def test_each_judges_integrations_of_its_mode(role: Role, in_worker: bool) -> None:
    found = integration(in_worker=in_worker)
    own = in_worker == (role.pool is not None)
    assert role.judges(found) == own
    assert (plan_for(role, found, "demo") is not None) == own
    # The conditions are the controller's to write in both modes.
    assert writes_about(role, found) == (own or role.pool is None)


@pytest.mark.parametrize(
    ("why", "pod", "grace"),
    [
        ("nobody has begun it", None, MINUTE),
        ("the controller's own pod", MadeBy("controller"), timedelta(0)),
        ("a worker's pod", MadeBy("worker/build"), MINUTE),
    ],
)
def test_the_controller_ends_a_workers_run_last(why: str, pod: MadeBy | None, grace: timedelta) -> None:
    found = integration(in_worker=True)
    assert CONTROLLER.owns(run(), found, pod), why
    assert CONTROLLER.takeover_grace(run(), found, pod) == grace, why


@pytest.mark.parametrize(
    ("why", "found", "foreign"),
    [
        ("there is no integration", None, False),
        ("controller mode", integration(in_worker=False), False),
        ("worker mode", integration(in_worker=True), True),
    ],
)
def test_what_the_controller_leaves_to_workers(why: str, found: AwsIntegration | None, foreign: bool) -> None:
    assert CONTROLLER.is_foreign(run(), found) == foreign, why


def test_no_worker_executes_runs_of_another_namespaces_integration() -> None:
    found = integration(in_worker=True, namespace="owner")
    assert not CONTROLLER.is_foreign(run(namespace="owner"), found)
    assert not worker().owns(run(namespace="owner"), found, None)


@pytest.mark.parametrize(
    ("why", "role", "of", "in_worker", "pod", "owned"),
    [
        ("its pool", worker(), "build", True, None, True),
        ("another pool", worker(), "other", True, None, False),
        ("a pool that has fallen silent", worker(silent="other"), "other", True, None, True),
        ("controller mode", worker(), "build", False, None, False),
        ("its own pod, whatever the mode is by now", worker(), "build", False, MadeBy("worker/build"), True),
        ("the controller's pod", worker(), "build", True, MadeBy("controller"), False),
        ("a silent pool's pod", worker(silent="other"), "build", True, MadeBy("worker/other"), True),
    ],
)
def test_what_a_worker_executes(
    why: str, role: WorkerRole, of: str, in_worker: bool, pod: MadeBy | None, owned: bool
) -> None:
    assert role.owns(run(of), integration(in_worker=in_worker), pod) == owned, why


def test_without_an_integration_a_worker_does_nothing() -> None:
    assert not worker().owns(run(), None, None)
    assert not worker().is_foreign(run(), None)
    assert worker().is_foreign(run(), integration(in_worker=False))
