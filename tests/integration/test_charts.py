"""Both charts, by Helm itself, on a control plane that has nothing of ours yet.

There is no node here: what is tested are objects. The end-to-end tests see the pods.
"""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import binaries, charts, controlplane, schemas
from sandbox.chartfiles import INSTALL
from sandbox.charts import OPERATOR, WORKER, ChartError, helm
from sandbox.cluster import KubectlError
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, Controller
from sandbox.controlplane import ControlPlane
from sandbox.process import wait_until
from sandbox.program import CRDS

RELEASE = "spacelift-aws"
CONTROLLER = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
DEFINITIONS = ["awsintegrations.aws.spacelift.io", "runs.aws.spacelift.io"]
DIGEST = f"sha256:{'0' * 64}"

POD_VALUES: dict[str, Any] = {
    "installation": "acme-prod",
    "region": "eu-central-1",
    "log": {"format": "json", "level": "DEBUG"},
    "replicas": 3,
    "image": {"digest": DIGEST, "pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]},
    "helperImage": "example.org/helper:1",
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111111111111:role/x"}},
    "resources": {"limits": {"memory": "1Gi"}},
    "podDisruptionBudget": {"maxUnavailable": "50%"},
    "networkPolicy": {"egress": [{"ports": [{"port": 443}]}]},
    "healthPort": 9090,
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "x", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "priorityClassName": "system-cluster-critical",
    "terminationGracePeriodSeconds": 60,
    "extraEnv": [{"name": "SPACELIFT_AWS_RELIST_EVERY", "value": "60"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "podAnnotations": {"example.org/pod": "annotated"},
    "podLabels": {"example.org/pod": "labelled"},
    "commonAnnotations": {"example.org/all": "annotated"},
    "commonLabels": {"example.org/all": "labelled"},
}
"""Every value of a pod's that is not as it is by default."""
EVERY_VALUE: dict[Path, dict[str, Any]] = {
    OPERATOR: {
        **POD_VALUES,
        "principal": "arn:aws:iam::111111111111:role/x",
        "suggestedPolicies": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "admissionPolicies": {"otherControllers": ["system:serviceaccount:other:spacelift-aws-controller"]},
    },
    WORKER: {**POD_VALUES, "pool": "build", "runNamespaces": ["research"]},
}
FEWEST_VALUES: dict[Path, dict[str, Any]] = {OPERATOR: {}, WORKER: {"installation": "acme-prod"}}

pytestmark = pytest.mark.slow

both_charts = pytest.mark.parametrize("chart", [OPERATOR, WORKER], ids=lambda chart: chart.name)
few_and_all_values = pytest.mark.parametrize("values", [FEWEST_VALUES, EVERY_VALUE], ids=["fewest", "every"])


@pytest.fixture(scope="module")
def bare() -> Iterator[ControlPlane]:
    """A control plane of this module's own, without definitions."""
    with controlplane.start() as cluster:
        yield cluster


@pytest.fixture
def installed(bare: ControlPlane) -> Iterator[ControlPlane]:
    """The operator's chart is installed with default values; afterwards nothing of it is left."""
    install(bare)
    yield bare
    remove(bare)


@pytest.fixture
def nothing_left(bare: ControlPlane) -> Iterator[None]:
    """Whatever a test installs is removed after it."""
    yield
    remove(bare)


def install(cluster: ControlPlane, **values: Any) -> str:
    return helm(cluster, "install", RELEASE, OPERATOR, "--namespace", NAMESPACE, "--create-namespace", values=values)


def remove(cluster: ControlPlane) -> None:
    helm(cluster, "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found")
    cluster.kubectl("delete", "customresourcedefinition", "--ignore-not-found", *DEFINITIONS)


def get(cluster: ControlPlane, *words: str) -> Any:
    return json.loads(cluster.kubectl("get", *words, "--output=json").stdout)


def names(cluster: ControlPlane, *words: str) -> list[str]:
    return cluster.kubectl("get", *words, "--output=name").stdout.split()


def environment_of(cluster: ControlPlane) -> dict[str, str]:
    deployment = get(cluster, "deployment", "spacelift-aws-controller", f"--namespace={NAMESPACE}")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def may(cluster: ControlPlane, user: str, verb: str, resource: str, namespace: str) -> bool:
    resource, _, subresource = resource.partition("/")
    asked = (
        "auth",
        "can-i",
        verb,
        resource,
        f"--subresource={subresource}",
        f"--namespace={namespace}",
        f"--as={user}",
    )
    return cluster.kubectl(*asked, check=False).stdout.strip() == "yes"


def make_namespace(cluster: ControlPlane, name: str, **labels: str) -> str:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(body))
    cluster.kubectl("wait", "--for=create", f"--namespace={name}", "serviceaccount/default", "--timeout=30s")
    return name


def make_run(cluster: ControlPlane, namespace: str, name: str, **spec: Any) -> None:
    template = {"spec": {"containers": [{"name": "main", "image": "x"}]}}
    body = {
        "apiVersion": "aws.spacelift.io/v1beta1",
        "kind": "Run",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"integrationRef": {"name": "prod"}, "template": template, **spec},
    }
    cluster.kubectl("create", "--validate=strict", "--filename=-", input=json.dumps(body))


# --- A release's life.


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


# --- Given namespaces.


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

    def says(words: str) -> None:
        wait_until(lambda: words in refusal(), timeout=20, what=words)

    says("which only the operator and its workers make")
    first = {"admissionPolicies": {"otherControllers": [user]}}
    helm(installed, "upgrade", RELEASE, OPERATOR, "--namespace", NAMESPACE, values=first)
    # It is one of our own accounts now, and those try nothing out.
    says("deletes Secrets plainly and in the background")
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


# --- A tenant, who has nothing but `admin` in its own namespaces.


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


# --- What is rendered.


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
