"""A release's life by Helm itself: installed, upgraded, rolled back, removed, for all namespaces or given ones."""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import charts
from sandbox.chartfiles import INSTALL
from sandbox.charts import OPERATOR, ChartError, helm
from sandbox.cluster import KubectlError
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, Controller
from sandbox.controlplane import ControlPlane
from sandbox.process import wait_until

from .releases import (
    CONTROLLER,
    DEFINITIONS,
    RELEASE,
    environment_of,
    get,
    install,
    make_namespace,
    make_run,
    may,
    names,
)

pytestmark = pytest.mark.slow


def test_an_installation_brings_all_that_is_in_the_chart_and_says_what_to_do_next(
    bare: ControlPlane, nothing_left: None
) -> None:
    said = install(bare, installation="acme-prod")
    assert f"helm test {RELEASE} --namespace {NAMESPACE}" in said
    assert "installation` is not set" not in said
    manifest = helm(bare, "get", "manifest", RELEASE, "--namespace", NAMESPACE)
    found = bare.kubectl("get", "--filename=-", "--output=name", input=manifest).stdout.split()
    assert len(found) == len(charts.documents(manifest)) > 10
    assert environment_of(bare)["SPACELIFT_AWS_INSTALLATION"] == "acme-prod"
    assert names(bare, "customresourcedefinitions") == [
        f"customresourcedefinition.apiextensions.k8s.io/{d}" for d in DEFINITIONS
    ]
    team = make_namespace(bare, "team")
    assert may(bare, CONTROLLER, "create", "secrets", team)
    assert not may(bare, CONTROLLER, "get", "secrets", team)


def test_an_upgrade_changes_a_value_and_a_rollback_changes_it_back(installed: ControlPlane) -> None:
    assert environment_of(installed)["SPACELIFT_AWS_LOG_LEVEL"] == "INFO"
    values = {"log": {"level": "DEBUG"}, "networkPolicy": {"create": False}}
    helm(installed, "upgrade", RELEASE, OPERATOR, "--namespace", NAMESPACE, values=values)
    assert environment_of(installed)["SPACELIFT_AWS_LOG_LEVEL"] == "DEBUG"
    assert names(installed, "networkpolicies", f"--namespace={NAMESPACE}") == []
    helm(installed, "rollback", RELEASE, "1", "--namespace", NAMESPACE)
    assert environment_of(installed)["SPACELIFT_AWS_LOG_LEVEL"] == "INFO"
    assert len(names(installed, "networkpolicies", f"--namespace={NAMESPACE}")) == 1


def test_an_upgrade_brings_back_what_was_switched_off_in_an_emergency(installed: ControlPlane) -> None:
    binding = ("validatingadmissionpolicybinding", "spacelift-aws-run-secrets")
    installed.kubectl("delete", *binding)
    helm(installed, "upgrade", RELEASE, OPERATOR, "--namespace", NAMESPACE)
    assert get(installed, *binding)["spec"]["validationActions"] == ["Deny"]


def test_an_upgrade_brings_a_new_field_of_a_definition(installed: ControlPlane, tmp_path: Path) -> None:
    team = make_namespace(installed, "team")
    make_run(installed, team, "before")
    with pytest.raises(KubectlError, match="unknown field"):
        make_run(installed, team, "early", brandNew="x")
    later = shutil.copytree(OPERATOR, tmp_path / "later")
    definition = later / "files" / "crds" / "runs.yaml"
    body = yaml.safe_load(definition.read_text())
    run = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    run["spec"]["properties"]["brandNew"] = {"type": "string"}
    definition.write_text(yaml.safe_dump(body))
    helm(installed, "upgrade", RELEASE, later, "--namespace", NAMESPACE)
    make_run(installed, team, "after", brandNew="x")
    assert get(installed, "run", "after", f"--namespace={team}")["spec"]["brandNew"] == "x"
    assert names(installed, "runs", f"--namespace={team}") == [f"run.aws.spacelift.io/{n}" for n in ("after", "before")]
    helm(installed, "rollback", RELEASE, "1", "--namespace", NAMESPACE)
    assert "brandNew" not in get(installed, "run", "after", f"--namespace={team}")["spec"]


def test_uninstalling_keeps_definitions_and_runs_and_installing_again_takes_them_over(installed: ControlPlane) -> None:
    team = make_namespace(installed, "team")
    make_run(installed, team, "kept")
    uid = get(installed, "run", "kept", f"--namespace={team}")["metadata"]["uid"]
    helm(installed, "uninstall", RELEASE, "--namespace", NAMESPACE)
    assert get(installed, "run", "kept", f"--namespace={team}")["metadata"]["uid"] == uid
    left = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    assert [name for name in names(installed, left) if "spacelift" in name] == []
    assert names(installed, "all,roles,rolebindings,networkpolicies", f"--namespace={NAMESPACE}") == []
    install(installed)
    assert get(installed, "run", "kept", f"--namespace={team}")["metadata"]["uid"] == uid


def test_definitions_can_be_left_out(bare: ControlPlane, nothing_left: None) -> None:
    install(bare, crds={"install": False})
    assert names(bare, "customresourcedefinitions") == []


def test_without_helm_one_file_is_the_same_and_helm_can_take_over(bare: ControlPlane, nothing_left: None) -> None:
    try:
        for _ in range(2):
            bare.kubectl("apply", f"--filename={INSTALL}")
        assert may(bare, CONTROLLER, "create", "secrets", "default")
        assert environment_of(bare)["SPACELIFT_AWS_LOG_LEVEL"] == "INFO"
        with pytest.raises(ChartError, match="cannot be imported into the current release"):
            install(bare)
        taking_over = ("--take-ownership", "--force-conflicts")
        helm(bare, "install", RELEASE, OPERATOR, "--namespace", NAMESPACE, *taking_over)
        helm(bare, "uninstall", RELEASE, "--namespace", NAMESPACE)
        assert len(names(bare, "customresourcedefinitions")) == 2
    finally:
        bare.kubectl("delete", f"--filename={INSTALL}", "--ignore-not-found", "--timeout=60s")
    assert names(bare, "customresourcedefinitions") == []


def test_with_given_namespaces_the_controller_has_roles_there_and_nothing_in_the_cluster(
    bare: ControlPlane, nothing_left: None
) -> None:
    one, two, other = (make_namespace(bare, name) for name in ("one", "two", "other"))
    install(bare, watchNamespaces=[one, two], installation="acme-prod")
    for place in (one, two):
        assert may(bare, CONTROLLER, "create", "secrets", place)
        assert may(bare, CONTROLLER, "patch", "runs.aws.spacelift.io/status", place)
    for place in (other, NAMESPACE, "kube-system"):
        assert not may(bare, CONTROLLER, "create", "secrets", place)
        assert not may(bare, CONTROLLER, "list", "runs.aws.spacelift.io", place)
    assert not may(bare, CONTROLLER, "list", "namespaces", one)
    bindings = get(bare, "clusterrolebindings")["items"]
    assert SERVICE_ACCOUNT not in json.dumps([binding.get("subjects") for binding in bindings])
    settings = {key: value for key, value in environment_of(bare).items() if key != "SPACELIFT_AWS_HEALTH_PORT"}
    assert json.loads(settings["SPACELIFT_AWS_NAMESPACES"]) == [one, two]
    assert_a_controller_starts_and_is_found(bare, settings)


def test_a_second_release_leaves_to_the_first_what_there_is_only_once(installed: ControlPlane) -> None:
    home, team = make_namespace(installed, "second"), make_namespace(installed, "seconds-team")
    values: dict[str, Any] = {"installation": "second", "watchNamespaces": [team], "crds": {"install": False}}
    values |= {key: {"create": False} for key in ("admissionPolicies", "userRoles", "workerRole")}
    helm(installed, "install", "second", OPERATOR, "--namespace", home, values=values)
    user = f"system:serviceaccount:{home}:{SERVICE_ACCOUNT}"
    owner = {"apiVersion": "aws.spacelift.io/v1beta1", "kind": "Run", "name": "x", "uid": str(uuid.uuid4())}
    metadata = {"namespace": team, "name": "aws-run-" + "0" * 26, "ownerReferences": [{**owner, "controller": True}]}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "aws.spacelift.io/run-credentials"}

    def refusal() -> str:
        attempt = ("create", "--filename=-", "--dry-run=server", f"--as={user}")
        return installed.kubectl(*attempt, input=json.dumps(body), check=False).stderr

    told = "Only the operator and its workers may create them"
    wait_until(lambda: told in refusal(), timeout=20, what=told)
    first = {"admissionPolicies": {"otherControllers": [user]}}
    helm(installed, "upgrade", RELEASE, OPERATOR, "--namespace", NAMESPACE, values=first)
    # It is one of our own accounts now.
    wait_until(lambda: refusal() == "", timeout=20, what="a Secret that may be created")
    helm(installed, "uninstall", "second", "--namespace", home)


def test_given_namespaces_need_an_installation(bare: ControlPlane) -> None:
    with pytest.raises(ChartError, match="set `installation`"):
        install(bare, watchNamespaces=["one"])


def test_what_helm_test_asks_is_whether_a_replica_acts(installed: ControlPlane) -> None:
    settings = environment_of(installed)
    assert_a_controller_starts_and_is_found(installed, {"SPACELIFT_AWS_LOG_LEVEL": settings["SPACELIFT_AWS_LOG_LEVEL"]})


def assert_a_controller_starts_and_is_found(cluster: ControlPlane, settings: Mapping[str, str]) -> None:
    """One with the Deployment's settings, under the chart's account; nothing is refused to it on its way."""
    controller = Controller(
        cluster, {**settings, "SPACELIFT_AWS_NAMESPACE": NAMESPACE, "AWS_EC2_METADATA_DISABLED": "true"}
    )
    controller.start()
    kubeconfig = cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT)
    checked = subprocess.run(
        [sys.executable, "-m", "spacelift_aws", "check", "controller"],
        env={"KUBECONFIG": str(kubeconfig), **controller.environment},
        capture_output=True,
        text=True,
    )
    assert controller.process.stop(grace=10) == 0, controller.logs
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"acts: it renews Lease {NAMESPACE}/spacelift-aws-controller" in checked.stdout
    refused = [
        f"{event.verb} {event.uri}"
        for event in cluster.audit_events()
        if event.user == CONTROLLER and event.code == 403
    ]
    assert refused == []
