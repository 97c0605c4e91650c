"""Worker pools whose processes come, go, hang and quarrel: who issues, who makes pods, who ends Runs."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from sandbox.process import wait_until
from sandbox.stage import Stage

from .place import Place, side_by_side, without_pods

pytestmark = pytest.mark.slow


def two_replicas_and_a_killed_leader(place: Place) -> None:
    """Only one acts; when it is killed, the other carries on once the Lease has run out."""
    place.integration()
    first = place.worker("first")
    place.begin(name="before")
    place.ends(name="before")
    second = place.worker("second")
    gate = place.stage.gate()
    place.begin(gate.wait, name="going")
    place.running("going")
    first.kill()
    gate.open()
    place.begin(name="after")
    wait_until(lambda: second.leads, timeout=30, what="another leader")
    place.ends(name="going")
    place.ends(name="after")


def a_leader_that_wakes_after_a_long_pause(place: Place) -> None:
    """Stopped in the midst of a Run, overtaken, woken: no second pod, no Secret after the end."""
    place.integration()
    first = place.worker("first")
    gate = place.stage.gate()
    place.begin(gate.wait, name="before")
    place.running("before")
    second = place.worker("second")
    os.kill(first.process.pid, signal.SIGSTOP)
    gate.open()
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
    assert second.leads


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


def killed_while_the_pod_goes_on(place: Place) -> None:
    """Back after the pod has ended."""
    place.integration()
    worker = place.worker()
    gate = place.stage.gate()
    child = place.begin(gate.wait)
    place.running()
    worker.kill()
    gate.open()
    place.stage.objects.wait("Pod", place.namespace, child, lambda pod: pod["status"]["phase"] == "Succeeded")  # type: ignore[index]
    assert place.run()["status"]["phase"] == "Running"
    worker.start()
    place.ends()


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


def deleted_while_the_worker_is_down(place: Place) -> None:
    """Also where only the worker can clear away: `--cascade=orphan`."""
    place.integration()
    worker = place.worker()
    children = {}
    for name in ("orphaned", "deleted"):
        children[name] = place.begin("sleep 600", name=name)
        place.running(name)
    worker.kill()
    for name, policy in (("orphaned", "Orphan"), ("deleted", "Background")):
        place.stage.objects.delete("Run", place.namespace, name, propagationPolicy=policy)
        place.stage.objects.wait("Run", place.namespace, name, lambda run: run is None)
    worker.start()
    for child in children.values():
        place.stage.objects.wait("Secret", place.namespace, child, lambda secret: secret is None, timeout=45)
        place.stage.objects.wait("Pod", place.namespace, child, lambda pod: pod is None, timeout=60)


def a_pool_that_is_renamed(place: Place) -> None:
    """What the old one began the new one ends; what waits for the old one says so and keeps no Secret."""
    place.integration()
    old = place.worker("old", pool="old")
    gate = place.stage.gate()
    place.begin(gate.wait, workerPool="old")
    place.running()
    old.stop()
    gate.open()
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


def a_pool_whose_namespace_is_deleted(place: Place) -> None:
    """Nobody of it is left, its Lease neither: the controller ends what it has begun, and leaves what goes on alone."""
    home = place.stage.namespace()
    place.integration()
    worker = place.worker(home=home, serves=(place.namespace,))
    place.begin("sleep 3", name="over")
    place.begin("sleep 600", name="late", activeDeadlineSeconds=25)
    for name in ("stopped", "goes-on"):
        place.begin("sleep 600", name=name)
    for name in ("late", "stopped", "goes-on"):
        place.running(name)
    worker.kill()  # as its pod goes with the namespace
    place.stage.objects.delete("Namespace", None, home)
    place.stage.objects.patch("Run", place.namespace, "stopped", {"spec": {"stop": True}})
    place.ends(name="over")
    place.ends("Failed", "DeadlineExceeded", name="late")
    stopped = place.ends("Stopped", name="stopped")
    assert stopped["status"]["executor"] == "worker/default"
    assert place.run("goes-on")["status"]["phase"] == "Running"
    assert len(place.secrets()) == 1


SCENARIOS = (
    a_pool_whose_namespace_is_deleted,
    two_replicas_and_a_killed_leader,
    a_leader_that_wakes_after_a_long_pause,
    two_that_act_at_once,
    killed_while_the_pod_goes_on,
    killed_between_secret_and_pod,
    deleted_while_the_worker_is_down,
    a_pool_that_is_renamed,
)
"""The longest first."""


@pytest.fixture(scope="module")
def played(_stage: Stage) -> Iterator[dict[str, Future[None]]]:
    with side_by_side(_stage, SCENARIOS) as futures:
        yield futures


@pytest.mark.parametrize("name", [scenario.__name__ for scenario in SCENARIOS])
def test_processes_of_a_pool_take_over_from_each_other(played: dict[str, Future[None]], name: str) -> None:
    played[name].result(timeout=150)
