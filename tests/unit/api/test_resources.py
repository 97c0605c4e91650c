"""Objects as the API server sends them, read and written again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import AwsIntegration, NamespacesFrom, ProbeAnswer, ProbeName, SessionPolicies
from spacelift_aws.api.run import Delivery, MaskLogs, Phase, Run, RunType

METADATA: dict[str, Any] = {
    "name": "apply-1",
    "namespace": "team-a",
    "uid": "0c8f6b5e-2f0e-4b9e-8a3b-0d6c3a0f5b11",
    "resourceVersion": "4711",
    "generation": 2,
    "creationTimestamp": "2026-01-02T03:04:05Z",
    "labels": {"a": "b"},
    "ownerReferences": [
        {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "1", "controller": True}
    ],
    "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    "selfLink": "no longer sent",
}
POD_SPEC = {"containers": [{"name": "plan", "image": "terraform", "aFieldOfTheFuture": [1, {"b": "c"}]}]}
SPEC = {"integrationRef": {"name": "prod"}, "template": {"spec": POD_SPEC}}


def run(spec: dict[str, Any] | None = None, **parts: Any) -> Run:
    return Run.model_validate({"metadata": METADATA, "spec": SPEC | (spec or {}), **parts})


def integration(spec: dict[str, Any] | None = None, **parts: Any) -> AwsIntegration:
    return AwsIntegration.model_validate({"metadata": METADATA, "spec": spec or {}, **parts})


def wire(model: Run | AwsIntegration) -> dict[str, Any]:
    return model.model_dump(by_alias=True, exclude_none=True, mode="json")


def test_metadata_is_read_as_far_as_it_matters() -> None:
    metadata = run().metadata
    assert (metadata.name, metadata.namespace, metadata.resource_version) == ("apply-1", "team-a", "4711")
    assert metadata.creation_timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert metadata.deletion_timestamp is None
    assert metadata.owner_references[0].controller is True
    assert metadata.annotations == {}


def test_a_run_has_the_defaults_of_the_contract() -> None:
    spec = run().spec
    assert (spec.type, spec.delivery, spec.mask_logs) == (RunType.TASK, Delivery.ENVIRONMENT, MaskLogs.AUTO)
    assert (spec.worker_pool, spec.starting_deadline_seconds, spec.stop) == ("default", 86400, False)
    assert spec.integration_ref.namespace is None
    assert spec.credentials_for is None
    assert run().status.phase is Phase.QUEUED


def test_an_integration_has_the_defaults_of_the_contract() -> None:
    spec = AwsIntegration.model_validate({"metadata": METADATA}).spec
    assert spec == integration({}).spec
    assert (spec.duration_seconds, spec.verify_every) == (3600, timedelta(days=1))
    assert spec.allowed_namespaces.from_ is NamespacesFrom.SAME
    assert (spec.generate_credentials_in_worker, spec.tag_assume_role, spec.source_identity) == (False, False, False)
    assert (spec.role_arn, spec.allowed_stacks, spec.proposed) == (None, None, None)


def test_an_empty_proposed_is_another_word_than_none() -> None:
    assert integration({"proposed": {}}).spec.proposed == SessionPolicies()


@pytest.mark.parametrize("pod_spec", [POD_SPEC, {}, [], 5, "text", {"containers": [{"name": "a", "tty": None}]}])
def test_a_template_travels_as_it_came_whatever_it_is(pod_spec: object) -> None:
    read = run({"template": {"spec": pod_spec, "metadata": {"labels": {"x": "y"}}}})
    assert read.spec.template.spec == pod_spec
    assert read.spec.template.metadata is not None
    assert read.spec.template.metadata.labels == {"x": "y"}


def test_fields_of_a_newer_definition_are_ignored_everywhere() -> None:
    read = run(
        {"fromTheFuture": True, "integrationRef": {"name": "prod", "kind": "Other"}},
        status={"phase": "Running", "more": 1, "conditions": []},
    )
    assert read.spec == run().spec
    assert read.status.phase is Phase.RUNNING


def test_bounds_are_the_api_servers_to_judge() -> None:
    """An object that a looser definition let in is served all the same."""
    assert integration({"durationSeconds": 60, "roleArn": "x"}).spec.duration_seconds == 60


def test_a_full_run_is_the_same_after_a_round_trip() -> None:
    full = run(
        {
            "type": "Proposed",
            "stack": "network",
            "credentialsFor": ["plan"],
            "delivery": "File",
            "maskLogs": "Required",
            "activeDeadlineSeconds": 60,
            "ttlSecondsAfterFinished": 0,
            "stop": True,
        },
        status={
            "phase": "Failed",
            "exitCode": 137,
            "credentialsExpireAt": "2026-01-02T04:04:05Z",
            "cloudTrailUrl": "https://console.aws.amazon.com/cloudtrailv2",
            "conditions": [
                {
                    "type": "Complete",
                    "status": "True",
                    "reason": "Failed",
                    "message": "",
                    "lastTransitionTime": "2026-01-02T04:00:00Z",
                    "observedGeneration": 2,
                }
            ],
        },
    )
    assert Run.model_validate(wire(full)) == full
    assert wire(full)["spec"]["ttlSecondsAfterFinished"] == 0
    assert wire(full)["status"]["exitCode"] == 137


def test_a_full_integration_is_the_same_after_a_round_trip() -> None:
    probe = {"name": "None", "result": "Denied", "requestId": "r-1", "time": "2026-01-02T03:04:05Z"}
    full = integration(
        {
            "roleArn": "arn:aws:iam::123456789012:role/deploy",
            "allowedNamespaces": {
                "from": "Selector",
                "selector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]},
            },
            "verifyEvery": "1h30m",
            "proposed": {"sessionPolicyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]},
        },
        status={
            "probes": [probe],
            "workers": [{"pool": "default", "probes": [probe]}],
            "nextVerifyTime": probe["time"],
        },
    )
    assert AwsIntegration.model_validate(wire(full)) == full
    assert wire(full)["spec"]["allowedNamespaces"]["from"] == "Selector"
    assert full.status.probes[0].name is ProbeName.NONE
    assert full.status.workers[0].probes[0].result is ProbeAnswer.DENIED


def test_phases_are_ranked_in_time_and_the_ends_are_equal() -> None:
    assert [phase.rank for phase in Phase] == [0, 1, 2, 3, 3, 3]
    assert [phase for phase in Phase if phase.terminal] == [Phase.FINISHED, Phase.FAILED, Phase.STOPPED]
