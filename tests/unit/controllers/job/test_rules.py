"""Which Jobs are refused, and the Run that the others become."""

from typing import Any

import pytest

from spacelift_aws.controllers.job.build import build_run
from spacelift_aws.controllers.job.rules import exit_codes, refusal
from spacelift_aws.controllers.job.view import INTEGRATION

POD = {"containers": [{"name": "main"}]}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no integration": ({"annotations": {}}, "names no AwsIntegration"),
    "three parts": ({"annotations": {INTEGRATION: "a/b/c"}}, "write NAME, or NAMESPACE/NAME"),
    "an empty part": ({"annotations": {INTEGRATION: "/b"}}, "write NAME, or NAMESPACE/NAME"),
    "two completions": ({"completions": 2}, "spec.completions is 2"),
    "work queue": ({"completions": None}, "spec.completions is None"),
    "parallel": ({"parallelism": 3}, "spec.parallelism is 3"),
    "indexed": ({"completionMode": "Indexed"}, "Indexed"),
    "retries": ({"backoffLimit": 6}, "write `backoffLimit: 0`"),
    "failure policy": ({"podFailurePolicy": {"rules": []}}, "spec.podFailurePolicy"),
    "success policy": ({"successPolicy": {"rules": []}}, "spec.successPolicy"),
    "restarts": ({"template": {"spec": {**POD, "restartPolicy": "OnFailure"}}}, "write Never"),
    "type": ({"annotations": {INTEGRATION: "prod", "aws.spacelift.io/type": "Plan"}}, "write one of Proposed, Tracked"),
    "delivery": ({"annotations": {INTEGRATION: "prod", "aws.spacelift.io/delivery": "Env"}}, "Environment, File"),
    "codes": ({"annotations": {INTEGRATION: "prod", "aws.spacelift.io/success-exit-codes": "0;2"}}, "like `0,2`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_job_that_is_more_than_one_run_is_refused_with_what_to_write(kit: Any, case: str) -> None:
    fields, words = REFUSED[case]
    assert words in (refusal(kit.job(**fields)) or "")


def test_a_job_of_one_pod_is_not_refused(kit: Any) -> None:
    assert refusal(kit.job()) is None
    assert refusal(kit.job(activeDeadlineSeconds=5, ttlSecondsAfterFinished=5, suspend=True)) is None


@pytest.mark.parametrize(
    ("text", "codes"),
    [("0", [0]), ("2, 0", [0, 2]), ("", None), ("-1", None), ("256", None), ("²", None), ("9" * 5000, None)],
)
def test_exit_codes(text: str, codes: list[int] | None) -> None:
    assert exit_codes(text) == codes


def test_the_run_of_a_job(kit: Any) -> None:
    run = build_run(kit.job())
    assert run["metadata"]["name"] == "drift"
    assert run["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "drift", "uid": kit.job().uid, "controller": True}
    ]
    assert run["spec"]["integrationRef"] == {"name": "prod"}
    # By these labels `kubectl logs job/drift` finds the pod.
    assert run["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == kit.job().uid
    assert set(run["spec"]) == {"integrationRef", "template"}


def test_the_run_bears_the_name_of_who_created_the_job(kit: Any) -> None:
    requester = {"aws.spacelift.io/requested-by": "anna"}
    run = build_run(kit.job(annotations={INTEGRATION: "prod", **requester, "note": "x"}))
    assert run["metadata"]["annotations"] == requester
    assert build_run(kit.job())["metadata"]["annotations"] == {}


def test_the_annotations_become_fields(kit: Any) -> None:
    words = {
        INTEGRATION: "platform/prod",
        "aws.spacelift.io/type": "Proposed",
        "aws.spacelift.io/stack": "network",
        "aws.spacelift.io/delivery": "File",
        "aws.spacelift.io/worker-pool": "build",
        "aws.spacelift.io/credentials-for": "plan, apply",
        "aws.spacelift.io/success-exit-codes": "0,2",
    }
    spec = build_run(kit.job(annotations=words))["spec"]
    del spec["template"]
    assert spec == {
        "integrationRef": {"name": "prod", "namespace": "platform"},
        "type": "Proposed",
        "stack": "network",
        "delivery": "File",
        "workerPool": "build",
        "credentialsFor": ["plan", "apply"],
        "successExitCodes": [0, 2],
    }
