"""The stand-in node on a real control plane: pods from their creation to their removal, and nothing left of them."""

import asyncio
import base64
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import controlplane
from sandbox.controlplane import ControlPlane
from sandbox.node import start_node
from sandbox.node.apiserver import MERGE, ApiServer, read_kubeconfig

pytestmark = pytest.mark.slow

Pod = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
NUMBERS = itertools.count(1)
LONG = ["sleep", "1000"]

OWNER = """
import sys, time
from sandbox.process import Supervisor
supervisor = Supervisor("sandbox-node-test-")
ready = supervisor.folder / "ready"
argv = [sys.executable, "-m", "sandbox.node", "--kubeconfig", sys.argv[1], "--name", "doomed"]
argv += ["--ready-file", str(ready)]
node = supervisor.start("node", argv)
node.wait_ready(ready.exists, 30)
print(node.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANDBOX_TEST_INHERITED", "a secret of the parent")
        yield from _cluster_with_node()


def _cluster_with_node() -> Iterator[ControlPlane]:
    with controlplane.start() as cluster, start_node(cluster, path=["/opt/extra"], variables={"GIVEN": "by the node"}):
        yield cluster


@pytest.fixture
async def api(cluster: ControlPlane) -> AsyncIterator[ApiServer]:
    async with ApiServer(read_kubeconfig(cluster.kubeconfig)) as api:
        yield api


def container(*command: str, name: str = "main", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "none", "command": list(command), **fields}


def shell(script: str, **fields: Any) -> dict[str, Any]:
    return container("sh", "-c", script, **fields)


async def create(
    api: ApiServer, *containers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any
) -> str:
    """Create a pod; its name."""
    name = f"pod-{next(NUMBERS)}"
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations or {}, "labels": {"app": "test"}},
        "spec": {"restartPolicy": "Never", "containers": list(containers), **spec},
    }
    await api.post(PODS, body)
    return name


async def until(api: ApiServer, name: str, condition: Callable[[Pod], bool], within: float = 45) -> Pod:
    """The pod once `condition` holds for it."""
    seen: Pod = {}
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        seen = await api.get(f"{PODS}/{name}")
        if condition(seen):
            return seen
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited {within} s in vain for pod {name}: {seen.get('status')}")


async def until_phase(api: ApiServer, name: str, *phases: str) -> Pod:
    return await until(api, name, lambda pod: pod["status"]["phase"] in phases)


async def until_gone(api: ApiServer, name: str) -> None:
    async with asyncio.timeout(15):
        while True:
            pods = (await api.get(PODS, fieldSelector=f"metadata.name={name}"))["items"]
            if not pods:
                return
            await asyncio.sleep(0.02)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - processes and files send no events
            await asyncio.sleep(0.02)


def state(pod: Pod, index: int = 0, kind: str = "containerStatuses") -> dict[str, Any]:
    found: dict[str, Any] = pod["status"][kind][index]["state"]
    return found


async def log_of(cluster: ControlPlane, name: str, *arguments: str) -> str:
    done = await asyncio.to_thread(cluster.kubectl, "logs", name, *arguments)
    return done.stdout


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def working_folder(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


def processes(word: str) -> set[int]:
    """The processes with `word` among the words of their command line."""
    found = set()
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and word.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.add(int(process.name))
        except OSError:
            continue
    return found


async def test_the_node_is_ready_and_takes_pods(api: ApiServer) -> None:
    node = await api.get("/api/v1/nodes/sandbox-node")
    assert not node["spec"].get("taints")
    assert {one["type"]: one["status"] for one in node["status"]["conditions"]} == {"Ready": "True"}
    assert (await api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/sandbox-node"))["spec"]


async def test_a_pod_that_succeeds(api: ApiServer) -> None:
    name = await create(api, shell("sleep 0.2"))
    running = await until_phase(api, name, "Running")
    assert state(running).keys() == {"running"}
    assert conditions(running) == dict.fromkeys(
        ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"], "True"
    )
    pod = await until_phase(api, name, "Succeeded")
    assert pod["spec"]["nodeName"] == "sandbox-node"
    ended = state(pod)["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    assert pod["status"]["startTime"] <= ended["startedAt"] <= ended["finishedAt"]
    assert ended["containerID"] == pod["status"]["containerStatuses"][0]["containerID"]
    assert (conditions(pod)["Ready"], conditions(pod)["Initialized"]) == ("False", "True")


def conditions(pod: Pod) -> dict[str, str]:
    return {one["type"]: one["status"] for one in pod["status"]["conditions"]}


@pytest.mark.parametrize(
    ("what", "code", "reason"),
    [
        (shell("exit 3"), 3, "Error"),
        (shell("kill -KILL $$$$"), 137, "Error"),
        (container("/no/such/command"), 128, "StartError"),
    ],
)
async def test_pods_that_fail(api: ApiServer, what: dict[str, Any], code: int, reason: str) -> None:
    pod = await until_phase(api, await create(api, what), "Failed", "Succeeded")
    assert pod["status"]["phase"] == "Failed"
    ended = state(pod)["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (code, reason)
    if reason == "StartError":
        assert 'exec: "/no/such/command": stat /no/such/command: no such file or directory' in ended["message"]


async def test_the_environment_of_a_container(api: ApiServer, cluster: ControlPlane) -> None:
    await api.post(
        "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "env"}, "data": {"A": "map", "B": "map"}}
    )
    secret = {"metadata": {"name": "env"}, "data": {"B": base64.b64encode(b"hush").decode()}}
    await api.post("/api/v1/namespaces/default/secrets", secret)
    script = 'env; echo "arguments $0 $1"; pwd'
    what = shell(
        script,
        args=["$(B)", "$(UID_OF_POD)"],
        workingDir="/usr",
        envFrom=[{"configMapRef": {"name": "env"}}, {"prefix": "S_", "secretRef": {"name": "env"}}],
        env=[
            {"name": "B", "value": "own"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "env", "key": "B"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "env", "key": "X", "optional": True}}},
            {"name": "UID_OF_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
    )
    name = await create(api, what)
    pod = await until_phase(api, name, "Succeeded")
    lines = (await log_of(cluster, name)).splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    scratch = variables.pop("HOME")
    assert scratch == variables.pop("TMPDIR")
    assert variables.pop("SANDBOX_CONTAINER_ID")
    assert {key: variables[key] for key in variables.keys() - {"PWD", "OLDPWD", "_", "SHLVL"}} == {
        "A": "map",
        "B": "own",
        "S_B": "hush",
        "KEY": "hush",
        "UID_OF_POD": pod["metadata"]["uid"],
        "LABEL": "test",
        "NODE": "sandbox-node",
        "HOSTNAME": name,
        "GIVEN": "by the node",
        "PATH": "/opt/extra:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    assert f"arguments own {pod['metadata']['uid']}" in lines
    assert lines[-1] == "/usr"


async def test_a_missing_secret_is_waited_for(api: ApiServer, cluster: ControlPlane) -> None:
    name = await create(api, shell("echo $LATE", envFrom=[{"secretRef": {"name": "late"}}]))
    pod = await until(api, name, lambda pod: bool(pod["status"].get("containerStatuses")))
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "late" not found'}
    assert (pod["status"]["phase"], state(pod)) == ("Pending", {"waiting": waiting})
    secret = {"metadata": {"name": "late"}, "stringData": {"LATE": "here"}}
    await api.post("/api/v1/namespaces/default/secrets", secret)
    await until_phase(api, name, "Succeeded")
    assert await log_of(cluster, name) == "here\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a volume for a local process")
async def test_a_secret_is_mounted_in_its_container_alone_and_kept_while_it_is_replaced(
    api: ApiServer, cluster: ControlPlane
) -> None:
    path = "/var/run/secrets/sandbox-test"
    secrets, secret = "/api/v1/namespaces/default/secrets", {"metadata": {"name": "mounted"}}
    name = await create(
        api,
        shell(
            f"cd {path}; touch x 2>/dev/null && echo writable; until grep -q 2 a; do cat a; done; cat a",
            volumeMounts=[{"name": "v", "mountPath": path, "readOnly": True}],
        ),
        shell(f"ls {path} 2>/dev/null || echo nothing here", name="other"),
        volumes=[{"name": "v", "secret": {"secretName": "mounted", "defaultMode": 0o444}}],
    )
    pod = await until(api, name, lambda pod: bool(pod["status"].get("containerStatuses")))
    assert state(pod) == {"waiting": {"reason": "ContainerCreating"}}
    await api.post(secrets, {**secret, "stringData": {"a": "1\n"}})
    await until_phase(api, name, "Running")
    await api.delete(f"{secrets}/mounted", {})
    await api.post(secrets, {**secret, "stringData": {"a": "2\n"}})
    await until_phase(api, name, "Succeeded")
    assert set((await log_of(cluster, name, "-c", "main")).split("\n")) == {"1", "2", ""}
    assert await log_of(cluster, name, "-c", "other") == "nothing here\n"


async def test_init_containers_run_in_order_and_sidecars_end_last(api: ApiServer, cluster: ControlPlane) -> None:
    side = shell("trap 'echo told; exit 0' TERM; while :; do sleep 0.05; done", name="side", restartPolicy="Always")
    inits = [shell("date +%s%N", name="first"), side, shell("date +%s%N", name="second")]
    name = await create(api, shell("date +%s%N; sleep 0.3; exit 4"), initContainers=inits)
    pod = await until_phase(api, name, "Failed", "Succeeded")
    assert pod["status"]["phase"] == "Failed"
    assert state(pod)["terminated"]["exitCode"] == 4
    names = ["first", "second", "main"]
    times = [int(await log_of(cluster, name, f"--container={one}")) for one in names]
    assert times == sorted(times)
    # The shell may remark that its `sleep` was terminated: the whole group is told.
    assert (await log_of(cluster, name, "--container=side")).endswith("told\n")
    assert state(pod, 1, "initContainerStatuses")["terminated"]["exitCode"] == 0


async def test_a_sidecar_that_ends_is_started_again(api: ApiServer) -> None:
    script = "[ -e ~/before ] && exec sleep 1000; touch ~/before; exit 1"
    side = shell(script, name="side", restartPolicy="Always")
    name = await create(api, shell("sleep 0.6"), initContainers=[side])
    pod = await until_phase(api, name, "Failed", "Succeeded")
    assert pod["status"]["phase"] == "Succeeded"
    status = pod["status"]["initContainerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert status["state"]["terminated"]["exitCode"] == 143


async def test_a_failed_init_container_fails_the_pod(api: ApiServer) -> None:
    name = await create(api, shell("exit 0"), initContainers=[shell("exit 5", name="init")])
    pod = await until_phase(api, name, "Failed", "Succeeded")
    assert pod["status"]["phase"] == "Failed"
    assert state(pod, 0, "initContainerStatuses")["terminated"]["exitCode"] == 5
    assert state(pod) == {"waiting": {"reason": "PodInitializing"}}


@pytest.mark.parametrize(
    ("script", "phase", "code"),
    [
        ("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done", "Succeeded", 0),
        ("trap '' TERM; echo ready; while :; do sleep 0.05; done", "Failed", 137),
    ],
)
async def test_a_deleted_pod_ends_with_grace_and_reports_its_end(
    api: ApiServer, cluster: ControlPlane, script: str, phase: str, code: int
) -> None:
    name = await create(api, shell(script), terminationGracePeriodSeconds=1)
    pod = await until_phase(api, name, "Running")
    async with asyncio.timeout(10):
        while "ready" not in await log_of(cluster, name):  # noqa: ASYNC110 - a log sends no events
            await asyncio.sleep(0.02)
    await api.delete(f"{PODS}/{name}", {})
    last = pod
    async with asyncio.timeout(10):
        async for kind, seen in api.watch(PODS, pod["metadata"]["resourceVersion"]):
            if seen["metadata"].get("name") == name:
                last = seen
                if kind == "DELETED":
                    break
    assert last["status"]["phase"] == phase
    assert state(last)["terminated"]["exitCode"] == code


async def test_a_pod_deleted_before_it_could_start_goes_at_once(api: ApiServer) -> None:
    name = await create(api, shell("exit 0", envFrom=[{"secretRef": {"name": "never"}}]))
    await until(api, name, lambda pod: bool(pod["status"].get("containerStatuses")))
    await api.delete(f"{PODS}/{name}", {})
    await until_gone(api, name)


async def test_a_pod_deleted_by_force_leaves_no_process(api: ApiServer) -> None:
    name = await create(api, container("sleep", "1234.5"))
    await until_phase(api, name, "Running")
    assert processes("1234.5")
    await api.delete(f"{PODS}/{name}", {"gracePeriodSeconds": 0})
    await eventually(lambda: not processes("1234.5"))


async def test_a_deadline(api: ApiServer) -> None:
    name = await create(api, container(*LONG), activeDeadlineSeconds=1)
    pod = await until_phase(api, name, "Failed", "Succeeded")
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"
    assert state(pod)["terminated"]["exitCode"] == 143


async def test_what_the_node_cannot_do_fails_the_pod_and_is_told(api: ApiServer) -> None:
    name = await create(api, container("true"), volumes=[{"name": "data", "hostPath": {"path": "/tmp"}}])
    pod = await until_phase(api, name, "Failed", "Succeeded")
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "UnsupportedBySandboxNode")
    assert pod["status"]["message"].startswith("spec.volumes[0] (data)")
    events = await api.get("/api/v1/namespaces/default/events", fieldSelector=f"involvedObject.name={name}")
    assert [event["reason"] for event in events["items"]] == ["UnsupportedBySandboxNode"]


async def test_pods_that_are_held_back_stay_unbound(api: ApiServer) -> None:
    held = await create(api, container("true"), annotations={"sandbox/hold": "true"})
    gated = await create(api, container("true"), schedulingGates=[{"name": "test.example/wait"}])
    foreign = await create(api, container("true"), schedulerName="other")
    elsewhere = await create(api, container("true"), nodeName="elsewhere")
    later = await create(api, container("true"))
    await until_phase(api, later, "Succeeded")
    for name in (held, gated, foreign, elsewhere):
        pod = await api.get(f"{PODS}/{name}")
        assert (pod["spec"].get("nodeName"), pod["status"]["phase"]) in [(None, "Pending"), ("elsewhere", "Pending")]
    await api.patch(f"{PODS}/{held}", {"metadata": {"annotations": {"sandbox/hold": None}}}, MERGE)
    await api.patch(f"{PODS}/{gated}", {"spec": {"schedulingGates": None}}, MERGE)
    await until_phase(api, held, "Succeeded")
    await until_phase(api, gated, "Succeeded")


async def test_an_end_written_by_another_hand_stands(api: ApiServer) -> None:
    name = await create(api, container("sleep", "1234.25"))
    await until_phase(api, name, "Running")
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    await api.patch(f"{PODS}/{name}/status", {"status": evicted}, MERGE)
    await eventually(lambda: not processes("1234.25"))
    await until_phase(api, await create(api, container("true")), "Succeeded")
    pod = await api.get(f"{PODS}/{name}")
    assert {key: pod["status"][key] for key in evicted} == evicted
    await api.delete(f"{PODS}/{name}", {})
    await until_gone(api, name)


async def test_logs_are_followed_to_their_end(api: ApiServer, cluster: ControlPlane) -> None:
    name = await create(api, shell("for i in 1 2 3; do echo out $i; sleep 0.2; done; echo err >&2"))
    await until_phase(api, name, "Running")
    assert await log_of(cluster, name, "--follow") == "out 1\nout 2\nout 3\nerr\n"
    assert await log_of(cluster, name, "--tail=2") == "out 3\nerr\n"
    refused = await asyncio.to_thread(cluster.kubectl, "logs", name, "--since=1s", check=False)
    assert refused.returncode == 1
    assert "sinceSeconds is not supported" in refused.stderr


async def test_three_hundred_pods_at_once(api: ApiServer) -> None:
    names = await asyncio.gather(*(create(api, container("true")) for _ in range(300)))
    async with asyncio.timeout(60):
        while True:
            pods = (await api.get(PODS))["items"]
            mine = [pod["status"]["phase"] for pod in pods if pod["metadata"]["name"] in set(names)]
            if mine.count("Succeeded") == 300:
                break
            assert "Failed" not in mine
            await asyncio.sleep(0.25)


@pytest.mark.parametrize("victim", ["owner", "node", "keeper"])
async def test_nothing_outlives_a_crash(cluster: ControlPlane, api: ApiServer, victim: str) -> None:
    """Killed: whoever started the node, the node, or the parent of its containers. The pod is then lost, not over."""
    arguments = [sys.executable, "-c", OWNER, str(cluster.kubeconfig)]
    owner = await asyncio.to_thread(subprocess.Popen, arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        node = int(await asyncio.to_thread(owner.stdout.readline))
        keeper = child_of(node)
        seconds = f"1234.{keeper}"
        name = await create(api, shell(f"setsid sleep {seconds} & sleep {seconds}; exit 0"), nodeName="doomed")
        await until_phase(api, name, "Running")
        await eventually(lambda: len(processes(seconds)) == 2)
        folder = working_folder(min(processes(seconds))).parents[1]
        assert folder.name.startswith("spacelift-aws-sandbox-pods-")

        os.kill({"owner": owner.pid, "node": node, "keeper": keeper}[victim], signal.SIGKILL)

        await eventually(lambda: not processes(seconds))
        await eventually(lambda: not Path(f"/proc/{keeper}").exists() and not folder.exists())
        await eventually(lambda: victim == "node" or not processes("doomed"))
        assert (await api.get(f"{PODS}/{name}"))["status"]["phase"] == "Running"
    finally:
        owner.kill()
        owner.communicate()
    with start_node(cluster, name="doomed"):
        pod = await until_phase(api, name, "Failed", "Succeeded")
    assert pod["status"]["phase"] == "Failed"
    assert state(pod)["terminated"]["reason"] == "ContainerStatusUnknown"
