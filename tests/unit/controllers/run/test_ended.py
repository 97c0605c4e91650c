"""What is kept of Runs that have ended, and when one has to be looked at whole."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spacelift_aws.api.run import Run
from spacelift_aws.controllers.job.view import Job
from spacelift_aws.controllers.router import RunKey
from spacelift_aws.controllers.run.ended import EndedRun, ended_of, parse_run, read_ended
from spacelift_aws.controllers.run.reconciler import RunReconciler
from spacelift_aws.kube.errors import NotFound
from spacelift_aws.names import ANNOTATION_ENDED, LABEL_NO_BACKUP, run_id

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OVER = CREATED + timedelta(minutes=1)
KEY = ("team", "plan")


def body(version: int = 7, ttl: int | None = None) -> dict[str, Any]:
    """A Run that has ended, as the API server has it."""

    def condition(type_: str, status: str, reason: str) -> dict[str, Any]:
        words = {"reason": reason, "message": "over", "lastTransitionTime": "2026-01-02T03:05:05Z"}
        return {"type": type_, "status": status, **words, "observedGeneration": 3}

    spec = {"integrationRef": {"name": "prod"}, "type": "Tracked", "workerPool": "build"}
    return {
        "metadata": {
            "name": "plan",
            "namespace": "team",
            "uid": "uid-1",
            "resourceVersion": str(version),
            "generation": 3,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": {ANNOTATION_ENDED: run_id(CREATED, "uid-1")},
            "labels": {LABEL_NO_BACKUP: "true"},
        },
        "spec": {
            **spec,
            "template": {"spec": {"containers": [{"name": "main"}]}},
            **({} if ttl is None else {"ttlSecondsAfterFinished": ttl}),
        },
        "status": {
            "phase": "Failed",
            "observedGeneration": 3,
            "finishedAt": "2026-01-02T03:05:04Z",
            "conditions": [
                condition("Complete", "True", "Failed"),
                condition("Succeeded", "False", "ContainerFailed"),
                condition("Stalled", "True", "ContainerFailed"),
            ],
        },
    }


@pytest.mark.parametrize("ttl", [None, 60])
def test_what_is_kept_is_the_same_from_a_list_and_from_the_whole(ttl: int | None) -> None:
    kept = read_ended(body(ttl=ttl))
    assert kept is not None
    assert kept == ended_of(Run.model_validate(body(ttl=ttl)), kept.run_id)
    assert (kept.type, kept.worker_pool, kept.integration) == ("Tracked", "build", ("team", "prod"))
    assert kept.expires_at == (OVER + timedelta(seconds=ttl) if ttl is not None else None)


def _without(kind: str) -> Callable[[dict[str, Any]], None]:
    def change(run: dict[str, Any]) -> None:
        run["status"]["conditions"] = [one for one in run["status"]["conditions"] if one["type"] != kind]

    return change


SOMETHING_TO_DO: dict[str, Callable[[dict[str, Any]], object]] = {
    "it runs": lambda run: run["status"].update(phase="Running"),
    "it has no status": lambda run: run.pop("status"),
    "it bears no mark": lambda run: run["metadata"]["annotations"].pop(ANNOTATION_ENDED),
    "backups take it": lambda run: run["metadata"]["labels"].pop(LABEL_NO_BACKUP),
    "it is being deleted": lambda run: run["metadata"].update(deletionTimestamp="2026-01-02T03:06:05Z"),
    "its spec has changed": lambda run: run["metadata"].update(generation=4),
    "a condition is about an older spec": lambda run: run["status"]["conditions"][1].update(observedGeneration=2),
    "its end has no time": lambda run: run["status"].pop("finishedAt"),
    "another hand wrote the phase": _without("Complete"),
    "nobody says whether it succeeded": _without("Succeeded"),
    "kstatus does not know": _without("Stalled"),
    "it is under way": lambda run: run["status"]["conditions"][2].update(type="Reconciling"),
    "a tool would make it again": lambda run: (
        run["metadata"]["annotations"].update({"argocd.argoproj.io/tracking-id": "x"}),
        run["spec"].update(ttlSecondsAfterFinished=5),
    ),
}


@pytest.mark.parametrize("what", SOMETHING_TO_DO)
def test_where_something_is_to_be_done_a_run_is_kept_whole(what: str) -> None:
    changed = deepcopy(body())
    SOMETHING_TO_DO[what](changed)
    assert isinstance(parse_run(changed), Run)


def test_either_form_takes_the_place_of_an_older_view(sight: Any) -> None:
    sight.router.saw_run(sight.run(version=5, phase="Running"))
    sight.take()
    sight.router.saw_listed_run(parse_run(body(version=7)))
    assert sight.take() == [RunKey(*KEY)]
    assert (sight.router.run(KEY), sight.router.ended(KEY) is not None) == (None, True)
    sight.router.saw_run(sight.run(version=6, phase="Running"))
    assert sight.router.run(KEY) is None, "an older view came back"
    sight.router.saw_run(Run.model_validate(body(version=7)))
    assert sight.router.run(KEY) is not None, "the whole of the same view is taken"
    assert sight.stores.runs_of(("team", "prod")) == (KEY,)


def test_one_that_has_ended_is_found_by_its_pod_and_goes(sight: Any) -> None:
    run = Run.model_validate(body())
    sight.router.saw_listed_run(parse_run(body()))
    pod = sight.pod(run)
    sight.router.saw_pod(pod)
    assert sight.stores.run_of(pod) == KEY
    assert list(sight.router.all_keys()) == []
    assert sight.later == [(RunKey(*KEY), 0.0)]
    sight.router.lost_run(sight.router.ended(KEY))
    assert len(sight.stores.runs) == 0
    assert sight.stores.run_of(pod) is None


def test_at_the_start_only_those_with_a_pod_or_a_time_to_live_are_looked_at(sight: Any) -> None:
    sight.router.saw_listed_run(parse_run(body()))
    assert list(sight.router.all_keys()) == sight.later == []
    sight.router.saw_listed_run(parse_run(body(version=8, ttl=60)))
    assert list(sight.router.all_keys()) == []
    assert sight.later == [(RunKey(*KEY), 0.0)], "a hundred a second"


@dataclass
class Fake:
    """The executor and the API server."""

    sight: Any
    is_done: bool = True
    whole: dict[str, Any] | None = None
    now: datetime = OVER
    shown: list[Run | None] = field(default_factory=list)
    """What the executor was to bring forward."""

    def is_done_with(self, ended: EndedRun, *, decided: bool = False) -> bool:
        return self.is_done or decided

    def put_away(self, ended: EndedRun) -> None:
        pass

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        self.shown.append(self.sight.router.run(key))
        return None

    async def get(self, *_: object) -> dict[str, Any]:
        if self.whole is None:
            raise NotFound(404, "NotFound", "gone")
        return self.whole

    async def go(self) -> float | None:
        reconciler = RunReconciler(self, self.sight.router, self, lambda: self.now)  # type: ignore[arg-type]
        return await reconciler.reconcile(KEY)


async def test_one_that_is_done_with_costs_no_call_until_its_time_is_over(sight: Any) -> None:
    sight.router.saw_listed_run(parse_run(body(ttl=60)))
    fake = Fake(sight)
    assert await fake.go() == 60
    assert fake.shown == []
    fake.now, fake.whole = OVER + timedelta(seconds=60), body(ttl=60)
    await fake.go()
    assert [run is not None for run in fake.shown] == [True], "the executor deletes it, and sees it whole"


async def test_where_something_is_left_it_is_read_and_put_away_again(sight: Any) -> None:
    sight.router.saw_listed_run(parse_run(body()))
    fake = Fake(sight, is_done=False, whole=body())
    await fake.go()
    assert [run is not None for run in fake.shown] == [True]
    assert sight.router.ended(KEY) is not None


async def test_one_that_is_gone_is_known_to_be(sight: Any) -> None:
    sight.router.saw_listed_run(parse_run(body()))
    await Fake(sight, is_done=False).go()
    assert len(sight.stores.runs) == 0


async def test_a_run_is_kept_whole_while_a_job_waits_for_its_end(sight: Any) -> None:
    sight.router.saw_job(Job("team", "plan", "job-1", "1", CREATED, False, True, {}, {}, {}))
    sight.router.saw_run(Run.model_validate(body()))
    await Fake(sight).go()
    assert sight.router.run(KEY) is not None
    sight.take()
    sight.router.lost_job(sight.router.job(KEY))
    assert sight.take() == [RunKey(*KEY)]
    await Fake(sight).go()
    assert sight.router.ended(KEY) is not None
