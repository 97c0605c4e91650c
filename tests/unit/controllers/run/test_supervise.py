"""Runs of a worker, as the controller looks after them: the worker has its turn first, and is not relied on."""

from dataclasses import replace
from typing import Any

import pytest

from spacelift_aws.controllers.run.actions import Decision, WriteStatus
from spacelift_aws.controllers.run.decide import decide
from spacelift_aws.controllers.run.state import PodSearch, Progress, SecretState

GRACE = 60.0


def names(decision: Decision) -> list[str]:
    return [type(action).__name__ for action in decision.actions]


def of_worker(kit: Any, after: float, **known: Any) -> Any:
    """What the controller sees of it."""
    return kit.seen(after, grant=kit.refusal("No worker."), takeover_grace=GRACE, **known)


def undone(kit: Any, since: float) -> Progress:
    return Progress(undone_since=kit.at(since))


def written(decision: Decision) -> Any:
    [action] = decision.actions
    assert isinstance(action, WriteStatus)
    return action.status


class TestWaiting:
    def test_its_executors_silence_is_told_after_some_seconds(self, kit: Any) -> None:
        early = decide(of_worker(kit, 2))
        assert (early.actions, early.again_at) == ((), kit.at(5))
        assert written(decide(of_worker(kit, 5))).message == "No worker."

    @pytest.mark.parametrize(("executor", "silent"), [("worker/build", True), ("controller", False), (None, False)])
    def test_a_workers_word_stands_whatever_it_says(self, kit: Any, executor: str | None, silent: bool) -> None:
        said = {"type": "CredentialsIssued", "status": "False", "reason": "NoWorker", "message": "x"}
        said["lastTransitionTime"] = kit.time(1)
        run = kit.run(status={"executor": executor, "conditions": [said]})
        assert (decide(of_worker(kit, 6, run=run)).actions == ()) is silent

    def test_nothing_but_that_is_written(self, kit: Any) -> None:
        inherited = Progress(unanswered_at=kit.at(0))
        run = kit.run(credentialsFor=["nobody"])
        status = written(decide(of_worker(kit, 6, run=run, progress=inherited)))
        assert status.phase == "Queued", "its Secret is not ours, and neither is the verdict on its template"
        assert status.executor is None


def running(kit: Any) -> Any:
    return kit.run(status={"phase": "Running", "executor": "worker/build"})


UNDONE = {
    "a waiting Run is stopped": lambda kit: {"run": kit.run(stop=True)},
    "it waits beyond its deadline": lambda kit: {"run": kit.run(startingDeadlineSeconds=9)},
    "its pod is stopped": lambda kit: {"run": kit.run(stop=True), "pod": kit.running()},
    "its pod is beyond its deadline": lambda kit: {"run": kit.run(activeDeadlineSeconds=9), "pod": kit.running()},
    "its pod never starts": lambda kit: {"run": kit.run(startingDeadlineSeconds=9), "pod": kit.pod()},
    "its pod has ended": lambda kit: {"run": running(kit), "pod": kit.ended()},
    "its pod is gone": lambda kit: {"run": running(kit), "pod": replace(kit.running(), gone=True)},
    "its pod was never seen": lambda kit: {"run": running(kit)},
    "its pod does not go": lambda kit: {"run": running(kit), "pod": replace(kit.running(), deletion=kit.at(9))},
    "another hand wrote its end": lambda kit: {"run": kit.run(status={"phase": "Finished"}), "pod": kit.running()},
}


@pytest.mark.parametrize("why", UNDONE)
def test_what_a_worker_leaves_undone_is_done_a_minute_later(kit: Any, why: str) -> None:
    known = UNDONE[why](kit)
    first = decide(of_worker(kit, 100, **known))
    assert (first.actions, first.progress) == ((), undone(kit, 100)), why
    assert names(decide(of_worker(kit, 159, progress=undone(kit, 100), **known))) in ([], ["WriteStatus"]), why
    after = decide(of_worker(kit, 160, progress=undone(kit, 100), **known))
    assert names(after)[0] in ("DeletePod", "DeleteSecret", "LookForPod", "WriteStatus"), why
    assert after.progress is None


def test_a_pod_that_its_executor_is_about_to_replace_is_not_missed(kit: Any) -> None:
    told = {"type": "LogsMasked", "status": "False", "reason": "ImageVolumeRefused", "message": "x"}
    run = kit.run(status={"phase": "Preparing", "conditions": [{**told, "lastTransitionTime": kit.time(1)}]})
    for pod in (None, replace(kit.pod(), gone=True)):
        assert decide(of_worker(kit, 900, run=run, pod=pod)) == Decision((), kit.at(86400))


def test_the_secret_of_a_pool_that_is_gone_goes_before_the_end_is_written(kit: Any) -> None:
    progress = replace(undone(kit, 100), pod_search=PodSearch.LOST)
    assert names(decide(of_worker(kit, 161, run=running(kit), pod=kit.ended(), progress=progress))) == ["DeleteSecret"]
    gone = replace(progress, secret=SecretState.GONE, deleted_at=kit.at(161))
    status = written(decide(of_worker(kit, 161, run=running(kit), pod=kit.ended(), progress=gone)))
    assert (status.phase, status.executor) == ("Finished", "worker/build")


def test_a_run_that_goes_on_is_left_alone(kit: Any) -> None:
    known = {"run": kit.run(activeDeadlineSeconds=5000, status={"phase": "Running"}), "pod": kit.running()}
    assert decide(of_worker(kit, 900, **known)) == Decision((), kit.at(5001))
    late = decide(of_worker(kit, 900, progress=undone(kit, 100), **known))
    assert late.progress == Progress(), "its worker was slow, and not gone"


def test_an_ended_run_is_deleted_after_its_time_to_live(kit: Any) -> None:
    times = {"finishedAt": kit.time(10), "phase": "Stopped"}
    run = kit.run(status=times, ttlSecondsAfterFinished=50)
    assert decide(of_worker(kit, 20, run=run)) == Decision((), kit.at(60))
    assert decide(of_worker(kit, 60, run=run)).progress == undone(kit, 60)
    assert names(decide(of_worker(kit, 121, run=run, progress=undone(kit, 60)))) == ["DeleteRun"]
    ours = undone(kit, -70)
    assert names(decide(of_worker(kit, 60, run=run, progress=ours))) == ["DeleteRun"], "one that we ended"
