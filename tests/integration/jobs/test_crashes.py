"""The controller is killed at every call that it makes for a Job, has a rival, and loses sight of the API server."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from sandbox.apiproxy import ApiProxy, Fault, Hold, Refuse, Withhold
from sandbox.controller import Controller
from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.stage import HAS_CREDENTIALS, Stage

from ..policies import PoliciesOnOthers
from .kit import FOREVER, Jobs, executed, failed, is_suspended

pytestmark = pytest.mark.slow

NAME = "it"
STATUS = ("PATCH", f"/jobs/{NAME}/status")
COLLECTIONS = ("/apis/batch/v1/jobs", "/apis/aws.spacelift.io/v1beta1/runs", "/api/v1/pods")


@dataclass(frozen=True)
class Moment:
    """A call in the life of a Job, and what the Job does when it is due."""

    method: str
    path_end: str
    when: str
    """`created`, `running`: its Run is stopped; `suspended`, `suspending`: its pod ends, too."""


MOMENTS = {
    "the Run is created": Moment("POST", "/runs", "created"),
    "the beginning is written": Moment(*STATUS, "created"),
    "the end is written": Moment(*STATUS, "running"),
    "the suspension is begun": Moment(*STATUS, "suspended"),
    "the Run is stopped": Moment("PATCH", f"/runs/{NAME}", "suspended"),
    "the Run is deleted": Moment("DELETE", f"/runs/{NAME}", "suspended"),
    "the suspension is written": Moment(*STATUS, "suspending"),
}
CASES = [(what, arrives) for what in MOMENTS for arrives in ("late", "unanswered")]
"""A call arrives after the death of who made it, or arrived before and was not answered."""


@dataclass
class Scene:
    """One Job a case, each in a namespace of its own."""

    jobs: dict[tuple[str, str], Jobs]

    def named(self, when: str) -> list[Jobs]:
        return [jobs for (what, _), jobs in self.jobs.items() if MOMENTS[what].when == when]


def goes(job: Object | None) -> bool:
    return bool((job or {}).get("status", {}).get("ready"))


def succeeded(pod: Object | None) -> bool:
    return bool((pod or {}).get("status", {}).get("phase") == "Succeeded")


def has_come(fault: Fault) -> bool:
    """Whether the call was met, and carried out if it is one that is not answered."""
    return bool(fault.carried_out if isinstance(fault.what, Withhold) else fault.used)


@pytest.fixture(scope="module", autouse=True)
def _on(_stage: Stage, on_others: PoliciesOnOthers) -> Iterator[None]:
    """The feature, switched on for the controller that `api` starts."""
    with executed(_stage, on_others):
        yield
    _stage.controller.start()


@pytest.fixture(scope="module", autouse=True)
def _by_proxy(_on: None, api: ApiProxy) -> ApiProxy:
    return api


@pytest.fixture(scope="module")
def scene(_stage: Stage, api: ApiProxy) -> Scene:
    """All the moments at once: one death of the controller, and one return."""
    scene = Scene({case: Jobs(_stage) for case in CASES})
    going = [*scene.named("running"), *scene.named("suspended"), *scene.named("suspending")]
    for jobs in going:
        jobs.create(NAME, FOREVER)
    for jobs in going:
        jobs.wait(NAME, goes)
    suspend = {"spec": {"suspend": True}}
    with ExitStack() as faults:
        # The stop that comes before the last call of a suspension is held, until that call is to be met.
        early = [
            Fault("PATCH", f"/namespaces/{jobs.namespace}/runs/{NAME}", Hold()) for jobs in scene.named("suspending")
        ]
        with ExitStack() as held:
            for fault in early:
                held.enter_context(api.fault(fault))
            for jobs in scene.named("suspending"):
                jobs.patch(NAME, suspend)
            for fault in early:
                wait_until(partial(has_come, fault), timeout=30, what="a stop that is held")
            met = meet(scene, api, faults)
        for jobs in scene.named("created"):
            jobs.create(NAME)
        for jobs in scene.named("running"):
            _stage.objects.patch("Run", jobs.namespace, NAME, {"spec": {"stop": True}})
        for jobs in scene.named("suspended"):
            jobs.patch(NAME, suspend)
        for case, fault in met.items():
            wait_until(partial(has_come, fault), timeout=60, what=f"the call of {case}")
        _stage.controller.kill()
    _stage.controller.start()
    return scene


def meet(scene: Scene, api: ApiProxy, faults: ExitStack) -> dict[tuple[str, str], Fault]:
    """From now on the calls meet their fate."""
    met = {}
    for (what, arrives), jobs in scene.jobs.items():
        moment = MOMENTS[what]
        path_end = f"/namespaces/{jobs.namespace}{moment.path_end}"
        met[what, arrives] = Fault(moment.method, path_end, Hold() if arrives == "late" else Withhold())
        faults.enter_context(api.fault(met[what, arrives]))
    return met


@pytest.mark.parametrize(("what", "arrives"), CASES)
def test_after_a_crash_a_job_goes_on_as_it_should(scene: Scene, what: str, arrives: str) -> None:
    jobs, when = scene.jobs[what, arrives], MOMENTS[what].when
    if when == "created":
        job = jobs.wait(NAME, timeout=60)
        assert (condition(job, "Complete").get("status"), job["status"]["succeeded"]) == ("True", 1)
    elif when == "running":
        jobs.wait(NAME, failed("Stopped"), timeout=60)
    else:
        jobs.wait(NAME, is_suspended, timeout=60)
        jobs.gone("Run", NAME)
        assert jobs.made("pods") == 1
        jobs.patch(NAME, {"spec": {"suspend": False}})
        jobs.running(NAME)
        _end(jobs)
    expected = 2 if when.startswith("suspen") else 1
    assert (jobs.made("runs"), jobs.made("pods")) == (expected, expected)
    assert jobs.stage.objects.list("Secret", jobs.namespace) == []


def _end(jobs: Jobs) -> None:
    jobs.stage.objects.patch("Run", jobs.namespace, NAME, {"spec": {"stop": True}})
    jobs.wait(NAME, failed("Stopped"))


def test_two_controllers_by_accident_execute_each_job_once(stage: Stage) -> None:
    jobs = Jobs(stage)
    rival = Controller(stage.cluster, stage.controller.environment, "rival")
    rival.start()
    try:
        names = [jobs.create(f"both-{number}", HAS_CREDENTIALS) for number in range(8)]
        for name in names:
            assert condition(jobs.wait(name), "Complete").get("status") == "True"
    finally:
        rival.stop()
    assert (jobs.made("runs"), jobs.made("pods")) == (len(names), len(names))
    assert jobs.stage.objects.list("Secret", jobs.namespace) == []


def test_an_outage_of_the_api_server_is_waited_for(stage: Stage, api: ApiProxy) -> None:
    jobs = Jobs(stage)
    jobs.create("stays", FOREVER)
    jobs.running("stays")
    gate = stage.gate()
    jobs.create("through", gate.wait)
    pod = jobs.run("through", lambda run: (run or {}).get("status", {}).get("podName"))["status"]["podName"]
    with ExitStack() as outage:
        for method in ("GET", "POST", "PATCH", "DELETE"):
            outage.enter_context(api.fault(Fault(method, "", Refuse(503, "ServiceUnavailable"))))
        for collection in COLLECTIONS:
            outage.enter_context(api.gap(collection))
        gate.open()
        stage.objects.wait("Pod", jobs.namespace, pod, succeeded)
        jobs.create("meanwhile")
        jobs.patch("stays", {"spec": {"suspend": True}})
    for name in ("through", "meanwhile"):
        assert condition(jobs.wait(name, timeout=60), "Complete").get("status") == "True"
    jobs.wait("stays", is_suspended, timeout=60)
    assert (jobs.made("runs"), jobs.made("pods")) == (3, 3)
