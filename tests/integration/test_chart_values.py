"""Every value of the charts does what its description says: looked at in what Helm renders, without a cluster."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.charts import OPERATOR, WORKER, ChartError, Document, documents, render
from spacelift_aws.controllers.run.pod.helper import Helper
from spacelift_aws.names import executor_labels, pool_executor
from spacelift_aws.settings import Settings

pytestmark = pytest.mark.slow

NEEDED = {OPERATOR: {}, WORKER: {"installation": "acme-prod"}}
both_charts = pytest.mark.parametrize("chart", [OPERATOR, WORKER], ids=lambda chart: chart.name)


def rendered(chart: Path, values: Mapping[str, Any]) -> list[Document]:
    return documents(_rendered(chart, json.dumps({**NEEDED[chart], **values})))


@cache
def _rendered(chart: Path, values: str) -> str:
    return render(chart, "home", json.loads(values), tests=True)


def only(found: list[Document], kind: str) -> Document:
    [document] = [document for document in found if document["kind"] == kind]
    return document


def pods(found: list[Document]) -> list[Document]:
    """The Deployment's template and the test's pod."""
    return [only(found, "Deployment")["spec"]["template"], only(found, "Pod")]


def variables(pod: Document) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0]["env"]}


@both_charts
@pytest.mark.parametrize(
    ("value", "given", "field"),
    [
        ("nodeSelector", {"a": "b"}, "nodeSelector"),
        ("tolerations", [{"key": "x", "operator": "Exists"}], "tolerations"),
        ("priorityClassName", "high", "priorityClassName"),
        ("extraVolumes", [{"name": "more", "emptyDir": {}}], "volumes"),
        ("hostNetwork", True, "hostNetwork"),
    ],
)
def test_what_a_pod_is_given_is_in_both_pods(chart: Path, value: str, given: Any, field: str) -> None:
    for pod in pods(rendered(chart, {})):
        assert field not in pod["spec"]
    for pod in pods(rendered(chart, {value: given})):
        assert pod["spec"][field] == given


@both_charts
@pytest.mark.parametrize(
    ("value", "given", "field"),
    [
        ("affinity", {"nodeAffinity": {}}, "affinity"),
        ("topologySpreadConstraints", [{"maxSkew": 1}], "topologySpreadConstraints"),
        ("terminationGracePeriodSeconds", 60, "terminationGracePeriodSeconds"),
    ],
)
def test_what_replicas_are_given_is_in_their_pods(chart: Path, value: str, given: Any, field: str) -> None:
    assert pods(rendered(chart, {value: given}))[0]["spec"][field] == given


@both_charts
def test_replicas_are_rather_on_different_nodes(chart: Path) -> None:
    deployment = only(rendered(chart, {}), "Deployment")["spec"]
    [term] = deployment["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert term["podAffinityTerm"]["labelSelector"] == deployment["selector"]


@both_charts
@pytest.mark.parametrize(
    ("value", "given", "field"),
    [
        ("resources", {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}, "resources"),
        ("extraVolumeMounts", [{"name": "more", "mountPath": "/more"}], "volumeMounts"),
    ],
)
def test_what_a_container_is_given_is_in_both_pods(chart: Path, value: str, given: Any, field: str) -> None:
    for pod in pods(rendered(chart, {value: given})):
        assert pod["spec"]["containers"][0][field] == given


@both_charts
@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "ghcr.io/spacelift-io/spacelift-aws-operator:0.1.0"),
        ({"tag": "edge"}, "ghcr.io/spacelift-io/spacelift-aws-operator:edge"),
        ({"repository": "example.org/a", "tag": "edge"}, "example.org/a:edge"),
        (
            {"digest": f"sha256:{'0' * 64}", "tag": "edge"},
            f"ghcr.io/spacelift-io/spacelift-aws-operator@sha256:{'0' * 64}",
        ),
    ],
)
def test_the_image_is_told_by_tag_or_digest_and_is_its_own_helpers(
    chart: Path, image: dict[str, str], reference: str
) -> None:
    values = {"image": {**image, "pullPolicy": "Always", "pullSecrets": [{"name": "s"}]}}
    for pod in pods(rendered(chart, values)):
        [container] = pod["spec"]["containers"]
        assert (container["image"], container["imagePullPolicy"]) == (reference, "Always")
        assert pod["spec"]["imagePullSecrets"] == [{"name": "s"}]
        assert variables(pod)["SPACELIFT_AWS_HELPER_IMAGE"] == reference
    other = pods(rendered(chart, {**values, "maskHelper": {"image": "example.org/helper:1"}}))[0]
    assert variables(other)["SPACELIFT_AWS_HELPER_IMAGE"] == "example.org/helper:1"


COMMON: dict[str, tuple[Any, str]] = {
    "installation": ("acme-test", "acme-test"),
    "region": ("eu-central-1", "eu-central-1"),
    "log.format": ("json", "json"),
    "log.level": ("DEBUG", "DEBUG"),
    "audit.log": ("/audit/trail.jsonl", "/audit/trail.jsonl"),
    "metrics.port": (9100, "9100"),
    "healthPort": (9090, "9090"),
    "maskHelper.delivery": ("InitContainer", "InitContainer"),
    "maskHelper.resources": (
        {"limits": {"memory": "64Mi"}},
        '{"limits":{"cpu":"100m","memory":"64Mi"},"requests":{"cpu":"100m","memory":"32Mi"}}',
    ),
}
SETTINGS: dict[Path, dict[str, tuple[Any, str]]] = {
    OPERATOR: {
        **COMMON,
        "principal": ("arn:aws:iam::1:role/x", "arn:aws:iam::1:role/x"),
        "suggestedPolicies": (["arn:aws:iam::aws:policy/x"], '["arn:aws:iam::aws:policy/x"]'),
    },
    WORKER: {**COMMON, "pool": ("build", "build")},
}
NAMES = {
    "log.format": "LOG_FORMAT",
    "log.level": "LOG_LEVEL",
    "audit.log": "AUDIT_LOG",
    "metrics.port": "METRICS_PORT",
    "healthPort": "HEALTH_PORT",
    "suggestedPolicies": "SUGGESTED_POLICIES",
    "maskHelper.delivery": "HELPER_DELIVERY",
    "maskHelper.resources": "HELPER_RESOURCES",
}


def settings() -> Iterator[Any]:
    for chart, values in SETTINGS.items():
        for value, (given, wanted) in values.items():
            yield pytest.param(chart, value, given, wanted, id=f"{chart.name}-{value}")


@pytest.mark.parametrize(("chart", "value", "given", "wanted"), list(settings()))
def test_a_setting_is_a_variable(chart: Path, value: str, given: Any, wanted: str) -> None:
    group, _, key = value.partition(".")
    name = "SPACELIFT_AWS_" + NAMES.get(value, value.upper())
    before = pods(rendered(chart, {}))
    assert variables(before[0]).get(name) != wanted
    for pod in pods(rendered(chart, {group: {key: given} if key else given})):
        assert variables(pod)[name] == wanted


@both_charts
def test_what_the_chart_says_of_the_helper_is_the_programs_own_default(chart: Path) -> None:
    told, default = variables(pods(rendered(chart, {}))[0]), Helper("image")
    assert json.loads(told["SPACELIFT_AWS_HELPER_RESOURCES"]) == default.resources
    assert json.loads(told["SPACELIFT_AWS_HELPER_SECURITY_CONTEXT"]) == default.security_context
    assert told["SPACELIFT_AWS_HELPER_DELIVERY"] == Settings.model_fields["helper_delivery"].default


@both_charts
def test_further_variables_come_last_and_so_win(chart: Path) -> None:
    entry = {"name": "SPACELIFT_AWS_LOG_LEVEL", "value": "WARNING"}
    for pod in pods(rendered(chart, {"extraEnv": [entry]})):
        assert pod["spec"]["containers"][0]["env"][-1] == entry


@both_charts
def test_the_health_port_is_what_probes_and_policy_name(chart: Path) -> None:
    found = rendered(chart, {"healthPort": 9090})
    [container] = pods(found)[0]["spec"]["containers"]
    assert {"name": "health", "containerPort": 9090} in container["ports"]
    probes = [container[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")]
    assert probes == [{"path": path, "port": "health"} for path in ("/healthz", "/readyz")]
    policy = only(found, "NetworkPolicy")["spec"]
    assert (policy["ingress"][0], policy["policyTypes"]) == ({"ports": [{"port": "health"}]}, ["Ingress"])


@both_charts
def test_who_may_be_connected_to_can_be_told(chart: Path) -> None:
    egress = [{"ports": [{"port": 443}]}]
    policy = only(rendered(chart, {"networkPolicy": {"egress": egress}}), "NetworkPolicy")["spec"]
    assert (policy["policyTypes"], policy["egress"]) == (["Ingress", "Egress"], egress)


@both_charts
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"networkPolicy": {"create": False}}, "NetworkPolicy"),
        ({"podDisruptionBudget": {"create": False}}, "PodDisruptionBudget"),
        ({"replicas": 1}, "PodDisruptionBudget"),
        ({"serviceAccount": {"create": False}}, "ServiceAccount"),
    ],
)
def test_what_can_be_left_out(chart: Path, values: dict[str, Any], kind: str) -> None:
    assert kind in {document["kind"] for document in rendered(chart, {})}
    assert kind not in {document["kind"] for document in rendered(chart, values)}


def test_a_budget_of_runs_is_in_each_of_the_namespaces_and_selects_their_pods() -> None:
    executor = executor_labels(pool_executor("build"))
    asked: dict[Path, tuple[dict[str, Any], str]] = {
        OPERATOR: ({"runDisruptionBudget": {"namespaces": ["red", "blue"]}}, "aws.spacelift.io/run-id"),
        WORKER: (
            {"pool": "build", "runNamespaces": ["red", "blue"], "runDisruptionBudget": {"create": True}},
            "aws.spacelift.io/worker-pool",
        ),
    }
    for chart, (values, key) in asked.items():
        found = [body for body in rendered(chart, values) if body["metadata"]["name"].startswith("spacelift-aws-runs")]
        assert [body["metadata"]["namespace"] for body in found] == ["red", "blue"]
        for body in found:
            (selects,) = body["spec"]["selector"]["matchExpressions"]
            assert selects["key"] == key
            assert selects.get("values", ["build"]) == [executor["aws.spacelift.io/worker-pool"]]


@pytest.mark.parametrize("value", ["admissionPolicies", "workerRole"])
def test_what_of_the_clusters_can_be_left_out(value: str) -> None:
    left = rendered(OPERATOR, {value: {"create": False}})
    names = {(document["kind"], document["metadata"]["name"]) for document in left}
    with_it = {(document["kind"], document["metadata"]["name"]) for document in rendered(OPERATOR, {})}
    gone = with_it - names
    if value == "workerRole":
        assert gone == {("ClusterRole", "spacelift-aws-worker"), ("ClusterRole", "spacelift-aws-bind-worker")}
    else:
        assert {kind for kind, _ in gone} >= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
        assert not any(kind.startswith("ValidatingAdmissionPolicy") for kind, _ in names)


@both_charts
def test_the_service_account_can_be_another(chart: Path) -> None:
    name = "spacelift-aws-worker-of-us"
    values = {"serviceAccount": {"name": name, "annotations": {"eks.amazonaws.com/role-arn": "arn"}}}
    found = rendered(chart, values)
    account = only(found, "ServiceAccount")
    assert account["metadata"]["name"] == name
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn"}
    assert {pod["spec"]["serviceAccountName"] for pod in pods(found)} == {name}
    subjects = [subject["name"] for document in found for subject in document.get("subjects", ())]
    assert set(subjects) == {name}
    users = json.dumps([document for document in found if document["kind"] == "ValidatingAdmissionPolicy"])
    assert "system:serviceaccount:home:spacelift-aws-controller" not in users
    assert ("system:serviceaccount:home:" + name in users) == (chart == OPERATOR)


@both_charts
def test_labels_and_annotations_reach_what_they_are_meant_for(chart: Path) -> None:
    extra = {"example.org/x": "y"}
    found = rendered(chart, {"commonLabels": extra, "commonAnnotations": extra})
    template = pods(found)[0]
    everything = {f"{d['kind']} {d['metadata']['name']}": d["metadata"] for d in found} | {"pod": template["metadata"]}
    without = [
        (name, field)
        for name, metadata in everything.items()
        for field in ("labels", "annotations")
        if metadata.get(field, {}).get("example.org/x") != "y"
    ]
    assert without == []
    metadata = pods(rendered(chart, {"podLabels": extra, "podAnnotations": extra}))[0]["metadata"]
    assert metadata["labels"]["example.org/x"] == metadata["annotations"]["example.org/x"] == "y"
    assert "example.org/x" not in only(found, "Deployment")["spec"]["selector"]["matchLabels"]


def test_a_pools_namespaces_are_bound_and_told() -> None:
    found = rendered(WORKER, {"runNamespaces": ["one", "two"]})
    bound = [d["metadata"]["namespace"] for d in found if d.get("roleRef", {}).get("kind") == "ClusterRole"]
    assert bound == ["one", "two"]
    assert json.loads(variables(pods(found)[0])["SPACELIFT_AWS_NAMESPACES"]) == bound
    alone = rendered(WORKER, {})
    assert [d["metadata"]["namespace"] for d in alone if d.get("roleRef", {}).get("kind") == "ClusterRole"] == ["home"]


@pytest.mark.parametrize(
    ("chart", "values", "told"),
    [
        (OPERATOR, {"instalation": "x"}, "instalation"),
        (OPERATOR, {"installation": "Acme"}, "/installation"),
        (OPERATOR, {"image": {"digest": "latest"}}, "/image/digest"),
        (OPERATOR, {"log": {"level": "info"}}, "/log/level"),
        (OPERATOR, {"watchNamespaces": ["a", "a"]}, "/watchNamespaces"),
        (OPERATOR, {"replicas": "two"}, "/replicas"),
        (OPERATOR, {"suggestedPolicies": ["ReadOnlyAccess"]}, "/suggestedPolicies"),
        (WORKER, {"serviceAccount": {"name": "mine"}}, "/serviceAccount/name"),
        (WORKER, {"pool": "Build"}, "/pool"),
        (WORKER, {"watchNamespaces": ["a"]}, "watchNamespaces"),
    ],
)
def test_a_wrong_value_is_named(chart: Path, values: dict[str, Any], told: str) -> None:
    with pytest.raises(ChartError, match=told):
        rendered(chart, values)


@both_charts
def test_the_schema_knows_every_value_and_no_other(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    known = set(keys(schema))
    assert known - {"global"} == set(keys_of(yaml.safe_load((chart / "values.yaml").read_text()), known))


def keys(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield path + name
        if field.get("type") == "object":
            yield from keys(field, f"{path}{name}.")


def keys_of(values: dict[str, Any], known: set[str], path: str = "") -> Iterator[str]:
    """What is inside a value that the schema leaves open is no value of its own."""
    for name, value in values.items():
        yield path + name
        if isinstance(value, dict) and any(key.startswith(f"{path}{name}.") for key in known):
            yield from keys_of(value, known, f"{path}{name}.")
