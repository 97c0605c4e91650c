"""A tenant, who has nothing but `admin` in its own namespaces, installs a worker pool."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import charts
from sandbox.charts import OPERATOR, WORKER, ChartError, helm
from sandbox.controller import NAMESPACE
from sandbox.controlplane import ControlPlane

from .releases import RELEASE, make_namespace, may
from .values import few_and_all_values

pytestmark = pytest.mark.slow


@pytest.fixture
def tenant(installed: ControlPlane) -> Iterator[Path]:
    """Its kubeconfig; its namespaces are `research` and `research-workers`. What it installs is removed in the end."""
    for namespace in ("research", "research-workers"):
        make_namespace(installed, namespace)
        bind = ("create", "rolebinding", "tenant", "--clusterrole=admin", "--user=tenant", f"--namespace={namespace}")
        rendered = installed.kubectl(*bind, "--dry-run=client", "--output=yaml").stdout
        installed.kubectl("apply", "--filename=-", input=rendered)
    kubeconfig = installed.kubeconfig_for_user("tenant", "tenant")
    yield kubeconfig
    where = ("--namespace", "research-workers")
    for release in helm(installed, "list", "--short", *where, kubeconfig=kubeconfig).split():
        helm(installed, "uninstall", release, *where, kubeconfig=kubeconfig)


WORKERS = "system:serviceaccount:research-workers:spacelift-aws-worker-build"


POOL_VALUES = {"installation": "acme-prod", "pool": "build", "runNamespaces": ["research"]}


def test_a_tenant_installs_upgrades_and_removes_a_pool(installed: ControlPlane, tenant: Path) -> None:
    where = ("--namespace", "research-workers")
    said = helm(installed, "install", "build", WORKER, *where, values=POOL_VALUES, kubeconfig=tenant)
    assert "helm test build --namespace research-workers" in said
    assert may(installed, WORKERS, "create", "secrets", "research")
    assert may(installed, WORKERS, "patch", "runs.aws.spacelift.io/status", "research")
    assert may(installed, WORKERS, "list", "leases", "research-workers")
    for verb, resource, namespace in (
        ("get", "secrets", "research"),
        ("create", "secrets", "research-workers"),
        ("get", "leases", "research"),
        ("list", "runs.aws.spacelift.io", "team"),
    ):
        assert not may(installed, WORKERS, verb, resource, namespace)
    second = {**POOL_VALUES, "pool": "other", "runNamespaces": []}
    helm(installed, "install", "other", WORKER, *where, values=second, kubeconfig=tenant)
    assert may(installed, WORKERS.replace("build", "other"), "create", "secrets", "research-workers")
    wider = {**POOL_VALUES, "runNamespaces": ["research", "research-workers"], "log": {"level": "DEBUG"}}
    helm(installed, "upgrade", "build", WORKER, *where, values=wider, kubeconfig=tenant)
    assert may(installed, WORKERS, "create", "secrets", "research-workers")
    helm(installed, "uninstall", "build", *where, kubeconfig=tenant)
    assert not may(installed, WORKERS, "create", "secrets", "research")


def test_a_tenant_cannot_give_more_than_a_pools_rights_nor_elsewhere(installed: ControlPlane, tenant: Path) -> None:
    elsewhere = make_namespace(installed, "team")
    values = {**POOL_VALUES, "runNamespaces": [elsewhere]}
    with pytest.raises(ChartError, match=f'forbidden.* in the namespace "{elsewhere}"'):
        helm(installed, "install", "x", WORKER, "--namespace", "research-workers", values=values, kubeconfig=tenant)
    bind = ("create", "rolebinding", "x", "--namespace=research", "--user=tenant")
    for role in ("spacelift-aws-controller", "cluster-admin"):
        done = installed.kubectl(*bind, f"--clusterrole={role}", check=False, kubeconfig=tenant)
        assert "attempting to grant RBAC permissions not currently held" in done.stderr
    assert installed.kubectl(*bind, "--clusterrole=spacelift-aws-worker", kubeconfig=tenant).returncode == 0
    installed.kubectl("delete", "rolebinding", "x", "--namespace=research")


def test_without_the_right_to_bind_a_tenant_installs_nothing(installed: ControlPlane, tenant: Path) -> None:
    helm(installed, "upgrade", RELEASE, OPERATOR, "--namespace", NAMESPACE, values={"workerRole": {"create": False}})
    with pytest.raises(ChartError, match="spacelift-aws-worker"):
        helm(installed, "install", "x", WORKER, "-n", "research-workers", values=POOL_VALUES, kubeconfig=tenant)


def test_a_pool_needs_an_installation(bare: ControlPlane) -> None:
    with pytest.raises(ChartError, match="set `installation` to the same as the operator's"):
        charts.render(WORKER, "research")


@few_and_all_values
def test_nothing_of_a_pool_belongs_to_the_cluster(bare: ControlPlane, values: dict[Path, dict[str, Any]]) -> None:
    of_the_cluster = bare.kubectl("api-resources", "--namespaced=false", "--no-headers").stdout.splitlines()
    kinds = {line.split()[-1] for line in of_the_cluster}
    assert {"Namespace", "ClusterRole"} <= kinds
    documents = charts.documents(charts.render(WORKER, "research", values[WORKER]))
    assert [document["kind"] for document in documents if document["kind"] in kinds] == []
