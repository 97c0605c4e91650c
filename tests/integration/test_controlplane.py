"""Real control planes: two side by side, what they enforce and record, and that nothing of them outlives its owner."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox import controlplane
from sandbox.audit import AuditEvent
from sandbox.binaries import KUBERNETES_VERSION
from sandbox.cluster import Cluster, ExistingCluster, KubectlError
from sandbox.controlplane import ControlPlane
from sandbox.process import ProcessError, wait_until

pytestmark = pytest.mark.slow

GADGETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.sandbox.test"},
    "spec": {
        "group": "sandbox.test",
        "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {}}},
            }
        ],
    },
}

OWNER = """
import json, sys, time
from sandbox import controlplane
cluster = controlplane.start()
told = {"folder": str(cluster.folder), "kubeconfig": str(cluster.kubeconfig), "server": cluster.server}
print(json.dumps(told), flush=True)
time.sleep(600)
"""


@dataclass(frozen=True)
class Rival:
    """A cluster that another Python process owns."""

    process: "subprocess.Popen[str]"
    folder: Path
    kubeconfig: Path
    server: str


@pytest.fixture(scope="module")
def rival_process() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def cluster(rival_process: "subprocess.Popen[str]", tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster of this process, started while the rival's starts."""
    crds = tmp_path_factory.mktemp("crds")
    (crds / "gadgets.json").write_text(json.dumps(GADGETS))
    with controlplane.start(crds=[crds]) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def rival(cluster: ControlPlane, rival_process: "subprocess.Popen[str]") -> Rival:
    assert rival_process.stdout is not None
    told = json.loads(rival_process.stdout.readline())
    return Rival(rival_process, Path(told["folder"]), Path(told["kubeconfig"]), told["server"])


def create(cluster: Cluster, *objects: dict[str, Any]) -> list[str]:
    """Create `objects`; their UIDs."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    created = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", input=json.dumps(listed)).stdout)
    return [item["metadata"]["uid"] for item in created.get("items", [created])]


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that name `folder`."""
    lines = subprocess.run(
        ["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in lines if str(folder) in line]


def test_two_clusters_know_nothing_of_each_other(cluster: ControlPlane, rival: Rival) -> None:
    create(cluster, config_map("mine"))
    assert cluster.server != rival.server
    assert cluster.kubectl("get", "configmap", "mine", "-o", "name").stdout == "configmap/mine\n"
    there = cluster.kubectl("get", "configmaps", "-o", "name", kubeconfig=rival.kubeconfig)
    assert there.stdout.split() == ["configmap/kube-root-ca.crt"]
    cluster.check()


def test_the_server_tells_its_version_and_kubectl_leaves_nothing_at_home(cluster: ControlPlane) -> None:
    version = json.loads(cluster.kubectl("version", "-o", "json").stdout)["serverVersion"]
    assert version["gitVersion"] == KUBERNETES_VERSION
    assert (cluster.folder / "kubectl-cache").is_dir()


def test_a_pod_is_admitted_with_a_token_of_its_service_account(cluster: ControlPlane) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "waiting"},
        "spec": {"containers": [{"name": "main", "image": "example.test/none"}]},
    }
    create(cluster, pod)
    volumes = cluster.kubectl("get", "pod", "waiting", "-o", "jsonpath={.spec.volumes[*].name}").stdout
    assert volumes.startswith("kube-api-access-")


def test_a_service_account_may_do_what_it_was_granted_and_the_audit_log_tells(cluster: ControlPlane) -> None:
    cluster.kubectl("create", "namespace", "team")
    cluster.kubectl("create", "serviceaccount", "reader", "-n", "team")
    cluster.kubectl("create", "role", "reader", "-n", "team", "--verb=list", "--resource=configmaps")
    cluster.kubectl("create", "rolebinding", "reader", "-n", "team", "--role=reader", "--serviceaccount=team:reader")
    reader = cluster.kubeconfig_for("team", "reader")
    assert reader.stat().st_mode & 0o777 == 0o600

    cluster.kubectl("get", "configmaps", kubeconfig=reader)
    with pytest.raises(KubectlError, match="Forbidden"):
        cluster.kubectl("get", "secrets", kubeconfig=reader)

    def requests() -> list[AuditEvent]:
        user = "system:serviceaccount:team:reader"
        return [event for event in cluster.audit_events() if event.user == user and event.resource]

    def codes() -> dict[str, int]:
        return {event.resource: event.code for event in requests()}

    wait_until(lambda: codes() == {"configmaps": 200, "secrets": 403}, timeout=30, what="both requests in the log")
    assert {(event.verb, event.namespace) for event in requests()} == {("list", "team")}
    assert all(event.received <= event.completed for event in requests())
    token = json.loads(reader.read_text())["users"][0]["user"]["token"]
    assert token not in cluster.audit_log.read_text()


def test_what_a_custom_object_owns_is_collected_after_it(cluster: ControlPlane) -> None:
    [uid] = create(cluster, {"apiVersion": "sandbox.test/v1", "kind": "Gadget", "metadata": {"name": "owner"}})
    owner = {"apiVersion": "sandbox.test/v1", "kind": "Gadget", "name": "owner", "uid": uid}
    create(cluster, config_map("owned", ownerReferences=[owner]))
    cluster.kubectl("delete", "gadget", "owner")
    wait_until(
        lambda: cluster.kubectl("get", "configmap", "owned", check=False).returncode != 0,
        timeout=15,
        what="the garbage collector",
    )


def test_a_namespace_goes_with_all_that_is_in_it(cluster: ControlPlane) -> None:
    cluster.kubectl("create", "namespace", "short-lived")
    create(cluster, config_map("inside", namespace="short-lived"))
    cluster.kubectl("delete", "namespace", "short-lived", "--timeout=20s")


def test_the_api_server_comes_back_on_its_port_with_its_data_but_without_old_events(cluster: ControlPlane) -> None:
    listed = json.loads(cluster.kubectl("get", "--raw", "/api/v1/configmaps?limit=1").stdout)
    create(cluster, config_map("durable"))
    cluster.stop_component("kube-apiserver")
    assert "refused" in cluster.kubectl("get", "configmaps", check=False).stderr
    cluster.start_component("kube-apiserver")
    cluster.kubectl("get", "configmap", "durable")
    before = listed["metadata"]["resourceVersion"]
    watch = f"/api/v1/configmaps?watch=1&timeoutSeconds=2&resourceVersion={before}"
    event = json.loads(cluster.kubectl("get", "--raw", watch).stdout)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_the_current_context_serves_as_an_existing_cluster(
    cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("USE_EXISTING_CLUSTER", "true")
    with controlplane.cluster() as existing:
        assert isinstance(existing, ExistingCluster)
        assert existing.server == cluster.server
        assert list(existing.audit_events()) == []
        default = existing.kubeconfig_for("default", "default")
        whoami = existing.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=default)
        assert whoami.stdout == "system:serviceaccount:default:default"
    assert not existing.folder.exists()
    cluster.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stays_until_it_is_interrupted(cluster: ControlPlane, number: signal.Signals) -> None:
    """On the cluster that runs already: what is asked here is how the command ends."""
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "USE_EXISTING_CLUSTER": "true"}
    with subprocess.Popen([sys.executable, "-m", "sandbox"], stdout=subprocess.PIPE, env=env, text=True) as command:
        assert command.stdout is not None
        printed = Path(command.stdout.readline().strip().removeprefix("export KUBECONFIG="))
        assert cluster.kubectl("auth", "whoami", kubeconfig=printed).returncode == 0
        command.send_signal(number)
        assert command.wait(10) == 0
    assert not printed.parent.exists()


def test_a_component_that_cannot_start_is_named_with_its_last_words() -> None:
    with pytest.raises(ProcessError, match=r"(?s)kube-apiserver ended with exit code 1.*unknown flag: --no-such-flag"):
        controlplane.start(apiserver_args=["--no-such-flag"])


def test_nothing_outlives_a_killed_owner(cluster: ControlPlane, rival: Rival) -> None:
    assert len(processes_of(rival.folder)) == 3
    os.kill(rival.process.pid, signal.SIGKILL)
    rival.process.wait()
    wait_until(lambda: not processes_of(rival.folder), timeout=30, what="the end of every process")
    wait_until(lambda: not rival.folder.exists(), timeout=30, what="the end of the folder")
    cluster.check()
    cluster.kubectl("get", "--raw", "/readyz")
