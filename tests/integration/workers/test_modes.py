"""An integration's Runs, while it goes from the controller to workers and back."""

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from sandbox.stage import Stage
from sandbox.worker import TENANT

from .place import Place, side_by_side, without_pods

pytestmark = pytest.mark.slow


def from_controller_to_worker_mode(place: Place) -> None:
    """A pod stays its maker's; what waits goes to the worker."""
    role = place.stage.role(place.stage.trust(place.stage.external_id(place.namespace, "prod")))
    place.stage.integration(place.namespace, trusted=False, roleArn=role)
    gate = place.stage.gate()
    child = place.begin(gate.wait, name="running")
    place.running("running")
    place.worker()
    own = place.account.create_role(place.stage.fresh("deploy"), place.trust())
    place.edit(generateCredentialsInWorker=True, roleArn=own)
    waiting = place.begin(name="waiting")
    place.ends(name="waiting")
    gate.open()
    place.ends(name="running")
    assert (place.executor(child), place.executor(waiting)) == ("controller", "worker")


def from_worker_to_controller_mode(place: Place) -> None:
    """With Runs whose pod runs, whose Secret was issued, and that nobody has taken."""
    place.integration()
    worker = place.worker()
    gate = place.stage.gate()
    child = place.begin(gate.wait, name="running")
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
    gate.open()
    for name in ("issued", "nobody", "running"):
        place.ends(name=name)
    assert (place.executor(child), place.executor(issued)) == ("worker", "controller")


SCENARIOS = (
    from_controller_to_worker_mode,
    from_worker_to_controller_mode,
)


@pytest.fixture(scope="module")
def played(_stage: Stage) -> Iterator[dict[str, Future[None]]]:
    with side_by_side(_stage, SCENARIOS) as futures:
        yield futures


@pytest.mark.parametrize("name", [scenario.__name__ for scenario in SCENARIOS])
def test_runs_go_on_when_the_mode_changes(played: dict[str, Future[None]], name: str) -> None:
    played[name].result(timeout=150)


def test_a_vanished_pod_that_nobody_else_can_speak_for(stage: Stage, played: dict[str, Future[None]]) -> None:
    """Made by the controller, switched to worker mode, pod deleted while the controller was away, and no worker."""
    for future in played.values():
        future.exception()
    place = Place(stage, stage.aws.account(TENANT))
    role = stage.role(stage.trust(stage.external_id(place.namespace, "prod")))
    stage.integration(place.namespace, trusted=False, roleArn=role)
    child = place.begin("sleep 600")
    place.running()
    stage.controller.kill()
    place.edit(generateCredentialsInWorker=True)
    stage.objects.delete("Pod", place.namespace, child, gracePeriodSeconds=0)
    stage.objects.wait("Pod", place.namespace, child, lambda pod: pod is None)
    stage.controller.start()
    place.ends("Failed", "PodDeleted")
