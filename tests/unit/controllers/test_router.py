"""Views of objects come in any order and any number of times: what is remembered, and what is queued."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.router import ANSWER_WITHIN, DepartedKey, IntegrationKey, RunKey
from spacelift_aws.controllers.run.pod.outcome import outcome_of
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.controllers.stores import Stores
from spacelift_aws.names import child_name
from spacelift_aws.runtime import store as store_module
from spacelift_aws.runtime.store import Store, version_of

PLAN = RunKey("team", "plan")


def test_an_older_view_never_replaces_a_newer_one(sight: Any) -> None:
    sight.router.saw_run(sight.run(version=5, phase="Running"))
    assert sight.take() == [PLAN]
    sight.router.saw_run(sight.run(version=4))
    sight.router.saw_run(sight.run(version=5))
    assert sight.take() == []
    assert sight.router.run(("team", "plan")).status.phase == "Running"


def test_what_was_deleted_does_not_come_back(sight: Any) -> None:
    run = sight.run(version=5)
    sight.router.saw_run(run)
    sight.router.lost_run(run)
    sight.take()
    sight.router.saw_run(sight.run(version=6))
    assert sight.router.run(("team", "plan")) is None
    assert sight.take() == []


def test_a_deletion_is_told_once(sight: Any) -> None:
    run = sight.run()
    sight.router.saw_run(run)
    sight.take()
    sight.router.lost_run(run)
    sight.router.lost_run(run)
    assert sight.take() == [OrphanKey("team", Stores.run_id(run), "plan")]


def test_a_late_deletion_does_not_take_the_next_of_its_name(sight: Any) -> None:
    first, second = sight.run(uid="uid-1", version=1), sight.run(uid="uid-2", version=9)
    sight.router.saw_run(first)
    sight.router.saw_run(second)
    sight.take()
    sight.router.lost_run(first)
    assert sight.router.run(("team", "plan")).metadata.uid == "uid-2"
    assert sight.take() == []


def test_a_run_made_anew_leaves_what_the_first_one_left(sight: Any) -> None:
    first, second = sight.run(uid="uid-1", version=1), sight.run(uid="uid-2", version=9)
    sight.router.saw_run(first)
    sight.take()
    sight.router.saw_run(second)
    assert sight.take() == [OrphanKey("team", Stores.run_id(first), "plan"), PLAN]
    sight.router.saw_run(first)
    assert sight.router.run(("team", "plan")).metadata.uid == "uid-2"


def test_a_pod_leads_to_its_run(sight: Any) -> None:
    run = sight.run()
    sight.router.saw_run(run)
    sight.take()
    sight.router.saw_pod(sight.pod(run))
    assert sight.take() == [PLAN]
    assert sight.router.pod_of(run).uid == "pod-1"


def test_a_replica_that_begins_asks_for_runs_that_ended_while_it_waited(sight: Any) -> None:
    for name in ("first", "second", "third"):
        sight.router.saw_run(sight.run(name=name, uid=name, phase="Running"))
        sight.router.run_left_watch(sight.run(name=name, uid=name, phase="Running", version=2))
    sight.router.saw_run(sight.run(name="second", uid="second", phase="Finished", version=3))
    sight.router.lost_run(sight.run(name="third", uid="third"))
    sight.later.clear()
    assert list(sight.router.all_keys()) == [RunKey("team", "second")]
    assert sight.later == [(DepartedKey("team", "first", "first"), 0.0)]


def test_a_pod_without_a_run_leads_to_what_is_left(sight: Any) -> None:
    run = sight.run()
    sight.router.saw_pod(sight.pod(run))
    assert sight.take() == [OrphanKey("team", Stores.run_id(run), "plan")]


def test_a_pod_is_nobodys_only_once_ended_runs_were_seen_too(fresh: Any) -> None:
    ended, gone = fresh.run(name="ended", phase="Finished"), fresh.run(name="gone", uid="uid-2")
    for number, run in enumerate((ended, gone)):
        fresh.router.saw_pod(fresh.pod(run, uid=f"pod-{number}"))
    assert fresh.take() == list(fresh.router.all_keys()) == []
    fresh.router.saw_run(ended)
    fresh.take()
    fresh.router.saw_everything()
    assert fresh.take() == [OrphanKey("team", Stores.run_id(gone), "gone")]


LONG_AGO, NOW = datetime(2026, 1, 2, 3, 5, 1, tzinfo=UTC), datetime.now(UTC)


def finished(sight: Any, run: Run, ended: datetime, uid: str = "pod-1") -> Pod:
    """A pod that ended then, a minute after it was made; its credentials lived for an hour."""
    created = ended - timedelta(minutes=1)
    terminated = {"exitCode": 0, "startedAt": created.isoformat(), "finishedAt": ended.isoformat()}
    statuses = [{"name": "main", "state": {"terminated": terminated}}]
    pod: Pod = sight.pod(run, uid=uid, phase="Succeeded", containerStatuses=statuses)
    return replace(pod, created=created, expires_at=created + timedelta(hours=1))


@pytest.mark.parametrize(("ended", "leads"), [(LONG_AGO, False), (NOW, True)])
def test_a_finished_pod_without_a_run_leads_nowhere_if_its_credentials_are_dead(
    sight: Any, ended: datetime, leads: bool
) -> None:
    run = sight.run()
    sight.router.saw_pod(finished(sight, run, ended))
    assert sight.take() == ([OrphanKey("team", Stores.run_id(run), "plan")] if leads else [])


@pytest.mark.parametrize("left_something", [False, True])
def test_the_finished_pod_of_a_run_whose_end_saw_to_everything_leads_nowhere(sight: Any, left_something: bool) -> None:
    run = sight.run(phase="Finished")
    pod = finished(sight, run, NOW)
    if not left_something:
        sight.router.on_lost_run(lambda _: None)
    sight.router.saw_run(run)
    sight.router.saw_pod(pod)
    sight.router.lost_run(run)
    sight.take()
    # As the garbage collector deletes it.
    sight.router.saw_pod(replace(pod, resource_version="2", deletion=NOW))
    orphans = [OrphanKey("team", Stores.run_id(run), "plan")]
    assert sight.take() == list(sight.router.all_keys()) == (orphans if left_something else [])
    # Nobody deletes it whose owner was taken off, as `--cascade=orphan` does.
    sight.router.saw_pod(replace(pod, resource_version="3", owner_uid=None))
    assert sight.take() == orphans
    # Another of its name and ID, such as a backup brings, is a stranger.
    sight.router.lost_pod(pod)
    sight.router.saw_pod(replace(pod, uid="pod-2", resource_version="4"))
    assert sight.take() == orphans


def test_the_last_view_of_a_pod_stays_while_its_run_does(sight: Any) -> None:
    run = sight.run()
    sight.router.saw_run(run)
    sight.router.saw_pod(sight.pod(run))
    sight.router.lost_pod(sight.pod(run, version=7, phase="Succeeded"))
    last = sight.router.pod_of(run)
    assert (last.gone, last.phase) == (True, "Succeeded")
    sight.router.saw_pod(sight.pod(run, version=6, phase="Running"))
    assert sight.router.pod_of(run).gone
    sight.router.lost_run(run)
    assert sight.router.pod_of(run) is None


@pytest.mark.parametrize("gone", [False, True], ids=["held by a finalizer", "gone"])
def test_a_pod_that_its_kubelet_was_slow_to_finish_was_deleted_when_that_was_first_asked_for(
    sight: Any, gone: bool
) -> None:
    run = sight.run()
    sight.router.saw_run(run)
    terminated = {"exitCode": 0, "startedAt": "2026-01-02T03:04:10Z", "finishedAt": "2026-01-02T03:05:01Z"}
    ended = {"phase": "Succeeded", "containerStatuses": [{"name": "main", "state": {"terminated": terminated}}]}
    asked = sight.pod(run, version=2, **ended)
    asked = replace(asked, deletion=datetime(2026, 1, 2, 3, 5, 30, tzinfo=UTC), grace=timedelta(seconds=30))
    sight.router.saw_pod(asked)
    # The kubelet is done a minute later: the API server writes that time and a grace of zero.
    final = replace(asked, resource_version="3", deletion=datetime(2026, 1, 2, 3, 6, tzinfo=UTC), grace=timedelta())
    (sight.router.lost_pod if gone else sight.router.saw_pod)(final)
    pod = sight.stores.pod_of(run)
    assert pod.gone is gone
    assert outcome_of(pod).reason == "PodDeleted"


def test_a_stranger_with_a_runs_label_is_not_its_pod(sight: Any) -> None:
    run = sight.run()
    sight.router.saw_run(run)
    sight.take()
    stranger = sight.pod(run, name="stranger")
    sight.router.saw_pod(stranger)
    assert sight.take() == []
    sight.router.lost_pod(stranger)
    assert sight.router.pod_of(run) is None
    assert sight.router.pod_named("team", Stores.run_id(run)) is None


def test_runs_are_found_by_their_integration_while_they_are_there(sight: Any) -> None:
    run = sight.run()
    sight.router.saw_run(run)
    sight.take()
    assert sight.router.awaited(("team", "prod"))
    sight.router.wake_runs_of(("team", "prod"))
    assert sight.take() == [PLAN]
    sight.router.lost_run(run)
    assert not sight.router.awaited(("team", "prod"))
    assert sight.stores.runs_of(("team", "prod")) == ()


def test_who_begins_to_act_looks_at_all_and_first_at_what_waits(sight: Any) -> None:
    sight.router.saw_run(sight.run(name="ended", uid="uid-2", phase="Finished"))
    sight.router.saw_run(sight.run())
    orphaned = sight.run(name="gone", uid="uid-3")
    sight.router.saw_pod(sight.pod(orphaned))
    sight.router.saw_pod(finished(sight, sight.run(name="long-gone", uid="uid-4"), LONG_AGO, uid="pod-4"))
    orphan = OrphanKey("team", Stores.run_id(orphaned), "gone")
    assert list(sight.router.all_keys()) == [PLAN, RunKey("team", "ended"), orphan]


def test_who_leaves_the_watch_is_asked_for_unless_its_end_is_known(sight: Any) -> None:
    run = sight.run(version=5, phase="Running")
    sight.router.saw_run(run)
    sight.take()
    sight.router.run_left_watch(sight.run(version=6, phase="Running"))
    assert sight.later == [(DepartedKey("team", "plan", "uid-1"), ANSWER_WITHIN)]
    sight.router.saw_run(sight.run(version=6, phase="Finished"))
    sight.take()
    sight.router.run_left_watch(sight.run(version=6, phase="Running"))
    sight.router.run_left_watch(sight.run(uid="another", version=7))
    assert len(sight.later) == 1


def test_only_what_a_list_should_have_shown_is_missing_from_it() -> None:
    shelf: Store[str] = Store()
    shelf.put(("team", "old"), "uid-1", 5, "old")
    shelf.put(("team", "listed"), "uid-2", 5, "listed")
    shelf.put(("team", "newer"), "uid-3", 11, "newer")
    assert shelf.missing_from({"uid-2"}, 10) == [(("team", "old"), "old")]


def test_tombstones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "TOMBSTONES", 2)
    shelf: Store[str] = Store()
    for number in range(3):
        shelf.remove(("team", str(number)), f"uid-{number}")
    assert shelf.put(("team", "0"), "uid-0", 1, "forgotten by then")
    assert not shelf.put(("team", "2"), "uid-2", 1, "late echo")


@pytest.mark.parametrize(("text", "version"), [("17", 17), ("opaque", 0), ("", 0)])
def test_versions_are_numbers(text: str, version: int) -> None:
    assert version_of(text) == version


def test_children_are_named_after_the_run(sight: Any) -> None:
    run = sight.run()
    assert sight.pod(run).name == child_name(Stores.run_id(run))


def integration(version: int, role: str = "arn:aws:iam::222222222222:role/a", **status: Any) -> AwsIntegration:
    return AwsIntegration.model_validate(
        {
            "metadata": {
                **{"name": "prod", "namespace": "team", "uid": "uid-i", "resourceVersion": str(version)},
                "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": {"roleArn": role},
            "status": status,
        }
    )


def test_a_status_write_of_an_integration_wakes_no_run(sight: Any) -> None:
    sight.router.saw_integration(integration(1))
    sight.router.saw_run(sight.run())
    sight.take()
    sight.router.saw_integration(integration(2, externalId="x"))
    assert sight.take() == [IntegrationKey("team", "prod")]
    sight.router.saw_integration(integration(3, "arn:aws:iam::222222222222:role/b"))
    assert sight.take() == [IntegrationKey("team", "prod"), PLAN]


def test_many_runs_are_not_woken_in_one_turn(sight: Any) -> None:
    for number in range(3_000):
        sight.router.saw_run(sight.run(name=f"run-{number}", uid=f"uid-{number}"))
    sight.take()
    sight.router.wake_runs_of(("team", "prod"))
    at_once, later = sight.take(), sight.later
    assert len(at_once) == 50
    assert len({*at_once, *(key for key, _ in later)}) == 3_000
    assert max(seconds for _, seconds in later) < 2
