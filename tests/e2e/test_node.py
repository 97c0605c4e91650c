"""What a node can do to its Runs: start its services anew, run out of memory, start from nothing, and not come back.

In this order: the last one leaves no node behind.
"""

from sandbox.controller import NAMESPACE
from sandbox.node import start_node
from sandbox.objects import condition
from sandbox.process import wait_until
from sandbox.realnode.stage import RealStage

from .test_runs import FOREVER, WHO, assert_acted_as_itself, ended, reason, running


def test_a_run_outlives_a_restart_of_kubelet_and_containerd(stage: RealStage, namespace: str) -> None:
    run = stage.run(namespace, f"until [ -e /tmp/go ]; do sleep 0.2; done; {WHO}")
    pod = running(stage, namespace, run)["status"]["podName"]
    stage.restart_node()
    stage.node.wait_ready()
    command = ("exec", pod, f"--namespace={namespace}", "--", "touch", "/tmp/go")
    wait_until(lambda: stage.cluster.kubectl(*command, check=False).returncode == 0, timeout=60, what="exec")
    assert_acted_as_itself(stage, namespace, ended(stage, namespace, run))


def test_a_run_is_evicted_from_a_node_that_lacks_memory(stage: RealStage, namespace: str) -> None:
    run = stage.run(namespace, FOREVER)
    running(stage, namespace, run)
    # As if nearly all of the machine's memory were needed for something else. A hard threshold would also be taken off
    # what the node can give to pods, and a kubelet that starts refuses those that no longer fit.
    stage.restart_node(
        evictionSoft={"memory.available": "99%"},
        evictionSoftGracePeriod={"memory.available": "1s"},
        evictionMaxPodGracePeriod=1,
        evictionPressureTransitionPeriod="0s",
    )
    body = ended(stage, namespace, run, timeout=120)
    assert reason(body) == "Evicted", body["status"]
    assert "memory" in condition(body, "Succeeded")["message"]
    stage.restart_node()
    stage.node.wait_ready()
    stage.workloads_ready()


def test_a_run_fails_when_its_node_starts_from_nothing(stage: RealStage, namespace: str) -> None:
    run = stage.run(namespace, FOREVER)
    running(stage, namespace, run)
    stage.node.power_off()
    stage.node.power_on()
    stage.node.wait_ready()
    body = ended(stage, namespace, run, timeout=120)
    assert reason(body) == "ContainerFailed", body["status"]
    stage.workloads_ready()


def test_a_run_is_lost_with_its_node(stage: RealStage, namespace: str) -> None:
    run = stage.run(namespace, FOREVER)
    running(stage, namespace, run)
    # There is only one node that could run it: the controller goes on elsewhere.
    stage.cluster.kubectl("scale", "deployment", "--all", "--replicas=0", f"--namespace={NAMESPACE}", "--timeout=60s")
    stage.controller.start()
    # Kubernetes evicts nothing while no node at all answers: then it takes itself for what was cut off.
    with start_node(stage.cluster, name="healthy"):
        stage.node.power_off()
        body = ended(stage, namespace, run, timeout=180)
    assert reason(body) == "NodeLost", body["status"]
