"""What the charts render: manifests that the API server takes, and pods that Pod Security lets in."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sandbox import binaries, charts, schemas
from sandbox.charts import OPERATOR, helm
from sandbox.controlplane import ControlPlane
from sandbox.program import CRDS

from .releases import install, make_namespace, remove
from .values import EVERY_VALUE, FEWEST_VALUES, both_charts, few_and_all_values

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def locations(bare: ControlPlane) -> str:
    """Where kubeconform finds the schemas of this API server, our own definitions' included."""
    install(bare)
    try:
        bare.wait_for_crds([CRDS])
        schemas.write(bare, bare.folder / "schemas")
    finally:
        remove(bare)
    return f"{bare.folder / 'schemas'}/{schemas.LOCATION}"


def conform(locations: str, rendered: str) -> list[str]:
    """kubeconform's complaints."""
    done = subprocess.run(
        [
            binaries.ensure("kubeconform")["kubeconform"],
            "-strict",
            "-output=json",
            f"-schema-location={locations}",
            "-",
        ],
        input=rendered,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)["resources"]
    complaints = [f"{each['kind']} {each['name']}: {each['status']} {each['msg']}" for each in told]
    assert (done.returncode == 0) == (complaints == [])
    return complaints


@both_charts
@few_and_all_values
def test_manifests_conform_to_the_api_servers_schemas(
    locations: str, chart: Path, values: dict[Path, dict[str, Any]]
) -> None:
    assert conform(locations, charts.render(chart, "research", values[chart])) == []


def test_what_does_not_conform_is_found(locations: str) -> None:
    rendered = charts.render(OPERATOR, "research")
    assert "statusInvalid" in str(conform(locations, rendered.replace("livenessProbe:", "livenesProbe:")))
    assert "statusInvalid" in str(conform(locations, rendered.replace("replicas: 2", "replicas: two")))


@both_charts
def test_helm_finds_nothing_to_complain_about(bare: ControlPlane, chart: Path) -> None:
    assert "0 chart(s) failed" in helm(bare, "lint", "--strict", chart, values=FEWEST_VALUES[chart])


@both_charts
def test_a_packed_chart_is_the_same(bare: ControlPlane, chart: Path, tmp_path: Path) -> None:
    helm(bare, "package", chart, "--destination", tmp_path)
    [packed] = tmp_path.glob("*.tgz")
    values = EVERY_VALUE[chart]
    assert charts.render(packed, "research", values) == charts.render(chart, "research", values)


@both_charts
@few_and_all_values
def test_pod_security_restricted_lets_the_pods_in(
    bare: ControlPlane, chart: Path, values: dict[Path, dict[str, Any]]
) -> None:
    for pod in pods_of(chart, values[chart]):
        assert create_restricted(bare, pod) == ""


@both_charts
def test_on_the_nodes_network_they_are_refused_there(bare: ControlPlane, chart: Path) -> None:
    for pod in pods_of(chart, {**FEWEST_VALUES[chart], "hostNetwork": True}):
        assert 'violates PodSecurity "restricted:latest": host namespaces' in create_restricted(bare, pod)


def pods_of(chart: Path, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pods of a chart, as its Deployment would make them, and its test's."""
    documents = charts.documents(charts.render(chart, "restricted", values, tests=True))
    [deployment] = [document for document in documents if document["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    template["metadata"] |= {"name": "one", "namespace": "restricted"}
    [test] = [document for document in documents if document["kind"] == "Pod"]
    return [{"apiVersion": "v1", "kind": "Pod", **template}, test]


def create_restricted(cluster: ControlPlane, pod: Mapping[str, Any]) -> str:
    """What the API server says against a pod where it enforces `restricted`; empty where it creates it."""
    make_namespace(cluster, "restricted", **{"pod-security.kubernetes.io/enforce": "restricted"})
    account = pod["spec"]["serviceAccountName"]
    cluster.kubectl("create", "serviceaccount", account, "--namespace=restricted", check=False)
    done = cluster.kubectl("create", "--validate=strict", "--filename=-", input=json.dumps(pod), check=False)
    cluster.kubectl("delete", "pods", "--all", "--namespace=restricted", "--now")
    return done.stderr
