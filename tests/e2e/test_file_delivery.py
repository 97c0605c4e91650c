"""`delivery: File` on a real node: a kubelet mounts, replaces and takes away, in a pod with as few rights as can be."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sandbox import controlplane, realnode
from sandbox.aws import start_aws
from sandbox.components import FOR_NODES
from sandbox.objects import Object, complete
from sandbox.program import CRDS
from sandbox.realnode import images
from sandbox.stage import Stage
from spacelift_aws.names import child_name

REFUSED = realnode.unavailable()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REFUSED is not None, reason=REFUSED or "")]

SETTINGS = {"SPACELIFT_AWS_RENEW_AFTER": "0.01"}
"""Of 900 seconds: a renewal every 9."""
KUBELET = {"syncFrequency": "2s"}

MOUNT = "/var/run/secrets/aws.spacelift.io"
READER = f"""
touch {MOUNT}/new 2>/dev/null && echo writable
process=$(sed -n 's/^credential_process = //p' $AWS_CONFIG_FILE) last= keys=0
while [ $keys -lt 3 ]; do
  printed=$($process) || exit 1
  case "$printed" in '{{'*'}}') ;; *) echo half; exit 1;; esac
  key=$(echo "$printed" | sed 's/.*"AccessKeyId": "\\([A-Z0-9]*\\)".*/\\1/')
  if [ "$key" != "$last" ]; then echo $key; last=$key keys=$((keys+1)); fi
done
"""
RIGHTS = {
    "runAsNonRoot": True,
    "runAsUser": 65534,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A control plane, a real node, an emulated AWS and a controller that renews after seconds."""
    with ExitStack() as stack:
        cluster = stack.enter_context(controlplane.start(crds=[CRDS], controllers=FOR_NODES))
        aws = stack.enter_context(start_aws(cluster.supervisor))
        proxy = stack.enter_context(aws.faults())
        stage = Stage.on(cluster, aws, proxy, SETTINGS)
        stage.controller.install()
        stack.enter_context(realnode.start_node(cluster, images=[images.busybox()], kubelet=KUBELET))
        stage.controller.start()
        yield stage


def container(name: str, script: str) -> Object:
    return {"name": name, "image": images.BUSYBOX, "command": ["sh", "-c", script], "securityContext": RIGHTS}


def test_a_pod_without_rights_reads_three_sessions_from_a_file_that_is_never_missing(stage: Stage) -> None:
    namespace = stage.namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    stage.integration(namespace, durationSeconds=900)
    beside = container("beside", f"ls {MOUNT} 2>/dev/null || echo nothing here")
    pod: dict[str, Any] = {
        "initContainers": [container("first", "cat $AWS_CONFIG_FILE")],
        "containers": [container("main", READER), beside],
    }
    name = stage.run(namespace, pod=pod, delivery="File", credentialsFor=["first", "main"])
    run = stage.objects.wait("Run", namespace, name, complete, timeout=120)
    child = child_name(run["status"]["runId"])

    def log(of: str) -> list[str]:
        return stage.cluster.kubectl("logs", f"--namespace={namespace}", child, f"--container={of}").stdout.split("\n")

    assert run["status"]["phase"] == "Finished", run["status"]["message"]
    *keys, _ = log("main")
    assert len(set(keys)) == len(keys) == 3
    assert log("first")[0] == "[default]"
    assert log("beside")[0] == "nothing here"
    assert stage.objects.get("Secret", namespace, child) is None
