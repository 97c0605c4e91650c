"""The Secret and the pod that a Run owns."""

import copy
from datetime import timedelta, timezone
from typing import Any

import pytest

from spacelift_aws.controllers.run.credentials.secret import build_secret
from spacelift_aws.controllers.run.pod.build import build_pod


def built(kit: Any, **run: Any) -> dict[str, Any]:
    return build_pod(kit.run(**run), kit.run_id, role_arn=kit.role, executor="controller", expires_at=kit.at(3600))


def values(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_the_secret_has_four_keys_a_type_an_owner_and_an_end(kit: Any) -> None:
    secret = build_secret(kit.run(), kit.run_id, kit.credentials())
    assert secret["stringData"] == {
        "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret-key",
        "AWS_SECURITY_TOKEN": "session-token",
        "AWS_SESSION_TOKEN": "session-token",
    }
    assert secret["type"] == "aws.spacelift.io/run-credentials"
    metadata = secret["metadata"]
    assert (metadata["name"], metadata["namespace"]) == (kit.name, "team")
    assert metadata["labels"]["velero.io/exclude-from-backup"] == "true"
    assert metadata["annotations"]["aws.spacelift.io/credentials-expire-at"] == kit.time(3600)
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Run", "plan", True)
    assert "blockOwnerDeletion" not in owner


def test_an_expiry_is_written_in_utc(kit: Any) -> None:
    there = kit.at(0).astimezone(timezone(timedelta(hours=2)))
    pod = build_pod(kit.run(), kit.run_id, role_arn=kit.role, executor="controller", expires_at=there)
    assert pod["metadata"]["annotations"]["aws.spacelift.io/credentials-expire-at"] == kit.time(0)


def test_credentials_come_last_and_only_where_they_are_asked_for(kit: Any) -> None:
    own = {"configMapRef": {"name": "mine"}}
    template = {
        "initContainers": [{"name": "first"}],
        "containers": [{"name": "main", "envFrom": [own]}, {"name": "other"}],
    }
    theirs = {"secretRef": {"name": kit.name}}
    spec = built(kit, pod=template)["spec"]
    assert [one.get("envFrom") for one in (*spec["initContainers"], *spec["containers"])] == [None, [own, theirs], None]
    spec = built(kit, pod=template, credentialsFor=["first", "other"])["spec"]
    assert [one.get("envFrom") for one in (*spec["initContainers"], *spec["containers"])] == [[theirs], [own], [theirs]]


def test_computed_variables_reach_every_container_and_never_win(kit: Any) -> None:
    own = {"name": "TF_VAR_spacelift_run_type", "value": "mine"}
    template = {"containers": [{"name": "main", "env": [own]}, {"name": "other"}]}
    main, other = built(kit, pod=template, stack="vpc", type="Tracked")["spec"]["containers"]
    computed = {
        "TF_VAR_spacelift_run_id": kit.run_id,
        "TF_VAR_spacelift_run_type": "Tracked",
        "TF_VAR_spacelift_stack_id": "vpc",
        "TF_VAR_spacelift_aws_role_arn": kit.role,
    }
    assert values(other) == computed
    assert values(main) == {**computed, "TF_VAR_spacelift_run_type": "mine"}
    assert main["env"][-1] == own, "so that it may refer to the computed ones"
    assert "TF_VAR_spacelift_stack_id" not in values(built(kit)["spec"]["containers"][0])


def test_the_template_decides_about_autoscalers_but_not_about_what_is_ours(kit: Any) -> None:
    template = {"metadata": {"labels": {"a": "b"}, "annotations": {"karpenter.sh/do-not-disrupt": "false"}}}
    metadata = built(kit, template=template)["metadata"]
    assert metadata["annotations"]["karpenter.sh/do-not-disrupt"] == "false"
    assert metadata["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert metadata["labels"] == {
        "a": "b",
        "aws.spacelift.io/run-id": kit.run_id,
        "aws.spacelift.io/executor": "controller",
    }


def test_the_rest_of_the_template_is_passed_on_and_the_run_stays_as_it_was(kit: Any) -> None:
    template = {"containers": [{"name": "main", "env": None}], "restartPolicy": "Always", "fieldOfTheFuture": [1]}
    run = kit.run(pod=template)
    before = copy.deepcopy(run.spec.template.spec)
    pod = build_pod(run, kit.run_id, role_arn=kit.role, executor="controller", expires_at=kit.at(1))
    assert pod["spec"]["fieldOfTheFuture"] == [1]
    assert pod["spec"]["restartPolicy"] == "Never"
    assert run.spec.template.spec == before


@pytest.mark.parametrize("name", [None, [], {"x": 1}, 3])
def test_names_that_are_none_are_left_to_the_api_server(kit: Any, name: Any) -> None:
    built(kit, pod={"containers": [{"name": "main", "env": [{"name": name}]}]})
