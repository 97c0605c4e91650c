"""What a scrape shows of what was last seen."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from spacelift_aws import metrics
from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.controllers.state_metrics import Source, StateCollector
from spacelift_aws.runtime.health import Health

NOW = datetime(2026, 1, 2, 3, 30, tzinfo=UTC)
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


def integration(name: str = "prod", worker: bool = False, **status: Any) -> AwsIntegration:
    metadata = {"name": name, "namespace": "team", "uid": name, "resourceVersion": "1"}
    body = {"metadata": {**metadata, "creationTimestamp": "2026-01-02T03:04:05Z"}, "status": status}
    return AwsIntegration.model_validate({**body, "spec": {"generateCredentialsInWorker": worker}})


def condition(type_: str, status: str, reason: str) -> dict[str, str]:
    times = {"lastTransitionTime": "2026-01-02T03:04:05Z"}
    return {"type": type_, "status": status, "reason": reason, "message": "", **times}


ISSUED = condition("CredentialsIssued", "True", "Issued")

Show = Callable[..., dict[str, list[tuple[tuple[str, ...], float]]]]


@pytest.fixture
def show(sight: Any) -> Show:
    """A scrape: for each gauge its values by labels."""
    source = Source(
        component="test",
        pool=None,
        stores=sight.stores,
        health=Health(),
        acts=lambda: True,
        queue=lambda: (2, 0.5),
        aws=lambda: None,
        clock=lambda: NOW,
    )

    def scrape(**changes: Any) -> dict[str, list[tuple[tuple[str, ...], float]]]:
        found = StateCollector(replace(source, **changes)).collect()
        return {
            family.name.removeprefix(metrics.PREFIX): [
                (tuple(sample.labels.values()), sample.value) for sample in family.samples
            ]
            for family in found
        }

    return scrape


def test_runs_are_counted_by_phase_and_leave_nothing_behind(sight: Any, show: Show) -> None:
    sight.stores.integrations.put(("team", "prod"), "prod", 1, integration())
    run = sight.run(phase="Running", conditions=[ISSUED], credentialsExpireAt="2026-01-02T04:04:05Z")
    sight.stores.put_run(run)
    sight.stores.put_run(sight.run(name="other", uid="uid-2", phase="Finished"))
    shown = show()
    assert sorted(shown["runs"]) == [
        (("team", "prod", "Task", "Finished"), 1),
        (("team", "prod", "Task", "Running"), 1),
    ]
    assert shown["credentials_live"] == [(("team", "prod"), 1)]
    assert shown["credentials_earliest_expiry_timestamp_seconds"] == [(("team", "prod"), CREATED + 3600)]
    assert "secrets_outliving_pod" not in shown
    sight.stores.remove_run(("team", "plan"), "uid-1")
    shown = show()
    assert shown["runs"] == [(("team", "prod", "Task", "Finished"), 1)]
    assert "credentials_live" not in shown


def test_a_secret_that_outlives_its_pod_shows(sight: Any, show: Show) -> None:
    sight.stores.integrations.put(("team", "prod"), "prod", 1, integration())
    run = sight.run(phase="Running", conditions=[ISSUED], credentialsExpireAt="2026-01-02T04:04:05Z")
    sight.stores.put_run(run)
    sight.stores.put_pod(sight.pod(run, phase="Running"))
    assert "secrets_outliving_pod" not in show()
    sight.stores.put_pod(sight.pod(run, phase="Succeeded", version=2))
    assert show()["secrets_outliving_pod"] == [(("team", "prod"), 1)]


def test_who_waits_shows_with_the_reason_and_since_when(sight: Any, show: Show) -> None:
    waits = condition("CredentialsIssued", "False", "NoWorker")
    sight.stores.put_run(sight.run(phase="Queued", conditions=[waits]))
    shown = show()
    # The integration does not exist: what a Run makes up is no label.
    assert shown["runs_waiting"] == [(("team", "", "NoWorker"), 1)]
    assert shown["runs_oldest_waiting_timestamp_seconds"] == [(("team", "", "NoWorker"), CREATED)]
    assert shown["runs_without_worker"] == [(("team", "default"), 1)]


def test_trust_shows_with_its_reason(sight: Any, show: Show) -> None:
    denied = integration(conditions=[condition("TrustVerified", "False", "AccessDenied")])
    sight.stores.integrations.put(("team", "prod"), "prod", 1, denied)
    assert show()["integration_trust"] == [(("team", "prod", "False", "AccessDenied"), 1)]


def test_a_worker_shows_its_own_pools_and_says_which(sight: Any, show: Show) -> None:
    found = [{"pool": "build", "reason": "Verified"}, {"pool": "other", "reason": "AccessDenied"}]
    sight.stores.integrations.put(("team", "prod"), "prod", 1, integration(worker=True, workers=found))
    sight.stores.put_run(sight.run())
    shown = show(pool="build")
    assert shown["integration_trust"] == [(("team", "prod", "True", "Verified", "build"), 1)]
    assert "runs" not in shown  # its pool is `default`
    assert show(pool="default")["runs"] == [(("team", "prod", "Task", "Queued", "default"), 1)]
    assert all(labels[-1] == "build" for samples in shown.values() for labels, _ in samples)


def test_a_replica_that_waits_shows_only_itself(sight: Any, show: Show) -> None:
    sight.stores.put_run(sight.run())
    shown = show(acts=lambda: False)
    assert shown["leader"] == [((), 0)]
    assert shown["work_queue_depth"] == [((), 2)]
    assert "runs" not in shown


def test_every_watch_shows_its_age(sight: Any, show: Show) -> None:
    now = [100.0]
    health = Health(lambda: now[0])
    health.asked("/api/v1/pods", None)
    now[0] = 130.0
    shown = show(health=health)
    assert shown["watch_age_seconds"] == [(("/api/v1/pods",), 30)]
    assert shown["watch_up"] == [(("/api/v1/pods",), 0)]


def test_what_was_counted_of_a_gone_namespace_goes_too(sight: Any, show: Show) -> None:
    sight.stores.integrations.put(("team", "prod"), "prod", 1, integration())
    metrics.RUNS_ENDED.labels("team", "prod", "Task", "Finished").inc()
    metrics.RUNS_ENDED.labels("team", "gone", "Task", "Finished").inc()
    assert [labels for labels, _ in show()["runs_ended"]] == [("team", "prod", "Task", "Finished")]
    metrics.RUNS_ENDED.clear()
