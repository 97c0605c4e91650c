"""The controller beside Kubernetes' own Job controller, on one control plane and in turns.

    dev/uv run python bench/peers.py [--jobs 300] [--rounds 3] [--json FILE]

In each round as many Jobs of one pod are done as Runs: by the Job controller with the limits on its own requests as
it is shipped (20 a second), by the same without such limits, and by this project's controller. A Job issues no
credentials, so it needs fewer writes: the pod, its finalizer, three statuses. A kubelet of the benchmark's own reports
each pod as running, and as ended a second later. Kueue and Argo Workflows run their Jobs and pods through the same API
server, but their controllers come as images only, and no image runs here.
"""

import argparse
import asyncio
import sys
import time
from typing import Any, cast

from sandbox.bench import result
from sandbox.bench.load import (
    GROUP,
    Api,
    Kubelet,
    at_once,
    clear,
    look_until,
    new_run,
    pod_spec,
    ready_namespace,
    until_ended,
    watch_over,
)
from sandbox.controlplane import ControlPlane
from sandbox.node.apiserver import read_kubeconfig
from sandbox.parts import Parts, playing
from sandbox.stage import Stage, set_stage

MANAGER = "kube-controller-manager"
SHIPPED = ("--kube-api-qps=20", "--kube-api-burst=30")
UNLIMITED = ("--kube-api-qps=100000", "--kube-api-burst=100000")
STALLED_AFTER = 120.0


def main() -> int:
    parser = result.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=300, help="Jobs, and Runs, at once (default 300)")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    return result.run("peers", arguments, lambda: measure(arguments), _show)


def measure(arguments: argparse.Namespace) -> result.Facts:
    rates: dict[str, list[float]] = {"Job controller as shipped": [], "Job controller unlimited": [], "Runs": []}
    with set_stage() as stage:
        for _ in range(arguments.rounds):
            found = asyncio.run(_round(stage, arguments.jobs))
            print(f"a second: {found}", file=sys.stderr, flush=True)
            for name, rate in found.items():
                rates[name].append(rate)
    return {"jobs": arguments.jobs, "rates": rates}


def _show(figures: result.Facts) -> None:
    print(f"{figures['jobs']} at once: minimum, median, maximum")
    for name, rates in figures["rates"].items():
        result.line(name, rates, "a second")


async def _round(stage: Stage, count: int) -> dict[str, float]:
    async with Api(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        await asyncio.to_thread(_restart_manager, stage, SHIPPED)
        shipped = await _jobs(stage, api, count)
        await asyncio.to_thread(_restart_manager, stage, UNLIMITED)
        unlimited = await _jobs(stage, api, count)
        runs = await _runs(stage, api, count)
    return {"Job controller as shipped": shipped, "Job controller unlimited": unlimited, "Runs": runs}


def _restart_manager(stage: Stage, arguments: tuple[str, ...]) -> None:
    plane = cast("ControlPlane", stage.cluster)
    plane.stop_component(MANAGER)
    plane.start_component(MANAGER, arguments)


async def _jobs(stage: Stage, api: Api, count: int) -> float:
    namespace = await asyncio.to_thread(stage.namespace)
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    async def create(number: int) -> None:
        template = {"metadata": {"annotations": {"sandbox/hold": "true"}}, "spec": pod_spec()}
        spec = {"backoffLimit": 0, "template": template}
        await api.post(
            path, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"job-{number}"}, "spec": spec}
        )
        parts.counts["Jobs created"] += 1

    async with playing(stalled_after=STALLED_AFTER) as parts:
        await Kubelet.begin(api, namespace, parts)
        began = time.monotonic()
        parts.start("the creator of Jobs", at_once(count, create))
        await _all_complete(api, path, count, parts)
        seconds = time.monotonic() - began
    await api.delete(path, {"propagationPolicy": "Background"})
    await clear(api, namespace)
    return count / seconds


async def _all_complete(api: Api, path: str, count: int, parts: Parts) -> None:
    done: set[str] = set()

    def look(job: dict[str, Any]) -> None:
        conditions = job.get("status", {}).get("conditions") or ()
        name = job["metadata"]["name"]
        if name not in done and any(one["type"] == "Complete" and one["status"] == "True" for one in conditions):
            done.add(name)
            parts.counts["Jobs complete"] += 1

    await look_until(api, path, look, lambda: len(done) == count)


async def _runs(stage: Stage, api: Api, count: int) -> float:
    namespace = await ready_namespace(stage)

    async def create(number: int) -> None:
        await api.post(f"{GROUP}/namespaces/{namespace}/runs", new_run(f"run-{number}"))
        parts.counts["Runs created"] += 1

    async with playing() as parts:
        parts.start("the watch over the controller", watch_over(stage))
        await Kubelet.begin(api, namespace, parts)
        began = time.monotonic()
        parts.start("the creator of Runs", at_once(count, create))
        await until_ended(api, namespace, count, parts)
        seconds = time.monotonic() - began
    await asyncio.to_thread(stage.controller.stop)
    await clear(api, namespace)
    return count / seconds


if __name__ == "__main__":
    sys.exit(main())
