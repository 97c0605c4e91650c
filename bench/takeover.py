"""How long nobody acts when the controller that leads goes away, with two replicas that compete for the Lease.

    dev/uv run python bench/takeover.py [--rounds 5]

In each round the leader is ended, once as a Deployment would (SIGTERM) and once as a lost node would (SIGKILL), a Run
is created at that instant, and the clock stops twice: when the other replica holds the Lease, and when that Run's pod
runs. The replica that went is then started again. The signal comes at any moment between two looks of the other at the
Lease. Everything shares the machine: control plane, node, emulated AWS.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import time

from sandbox.controller import NAMESPACE, Controller
from sandbox.process import wait_until
from sandbox.stage import Stage, set_stage
from spacelift_aws.kube.leader_election import Timing
from spacelift_aws.names import child_name

LONG = 60.0
TIMING = Timing()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each end is measured (default 5)")
    rounds = parser.parse_args().rounds
    measured: dict[signal.Signals, list[tuple[float, float]]] = {signal.SIGTERM: [], signal.SIGKILL: []}
    with set_stage() as stage:
        namespace = stage.namespace()
        stage.integration(namespace)
        environment = {**stage.controller.environment, "SPACELIFT_AWS_NAMESPACE": NAMESPACE}
        leader, other = (Controller(stage.cluster, environment, name) for name in ("one", "two"))
        print("starting two replicas", file=sys.stderr, flush=True)
        leader.start()
        wait_until(lambda: _leads(leader), timeout=LONG, what="a leader")
        other.start()
        stage.cluster.kubectl("wait", f"--namespace={namespace}", "--for=condition=Ready", "awsint/prod")
        for number in range(rounds):
            for sent, times in measured.items():
                held, runs = _take_over(stage, namespace, leader, other, sent)
                times.append((held, runs))
                print(
                    f"round {number + 1}, {sent.name}: Lease {held:.2f} s, Run {runs:.2f} s",
                    file=sys.stderr,
                    flush=True,
                )
                leader, other = other, leader
                other.start()
    print(f"\n{rounds} rounds: seconds from the signal, minimum, median, maximum")
    for sent, times in measured.items():
        for what, column in (("the other holds the Lease", 0), ("the pod of a Run created then runs", 1)):
            side = sorted(seconds[column] for seconds in times)
            print(f"  {sent.name}  {what:<35} {side[0]:6.2f} {statistics.median(side):6.2f} {side[-1]:6.2f}")
    return 0


def _leads(replica: Controller) -> bool:
    """ProcessError if it has ended."""
    replica.process.check()
    return replica.leads


def _take_over(
    stage: Stage, namespace: str, leader: Controller, other: Controller, sent: signal.Signals
) -> tuple[float, float]:
    # The other has looked at the Lease just now, as it began, and leaders too have their beat.
    time.sleep(random.uniform(0, 2 * TIMING.retry.total_seconds()))
    began = time.monotonic()
    name = stage.fresh("run")
    os.kill(leader.process.pid, sent)
    stage.run(namespace, "sleep 5", name=name)
    # `wait_until` looks less and less often, which these figures would show.
    while not _leads(other):
        if time.monotonic() - began > LONG:
            raise TimeoutError(f"nobody leads after {LONG:.0f} s")
        time.sleep(0.02)
    held = time.monotonic() - began
    # The Run's own status says a second later that its pod runs, and not at all if that is over by then.
    run = stage.objects.wait("Run", namespace, name, lambda run: (run or {})["status"].get("runId"), timeout=LONG)
    pod = child_name(run["status"]["runId"])
    stage.objects.wait("Pod", namespace, pod, lambda pod: pod and pod["status"]["phase"] == "Running", timeout=LONG)
    runs = time.monotonic() - began
    leader.stop()
    return held, runs


if __name__ == "__main__":
    sys.exit(main())
