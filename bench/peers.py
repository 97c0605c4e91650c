"""The controller beside Kubernetes' own Job controller and Kueue, on one control plane and in turns.

    dev/uv run python bench/peers.py [--jobs 300] [--rounds 3] [--json FILE]

In each round as many Jobs of one pod are done as Runs: by the Job controller, by the Job controller behind Kueue, each
with the limits on its own requests as it is shipped and without such limits, and by this project's controller. A Job
issues no credentials, so it needs fewer writes: the pod, its finalizer, three statuses; Kueue adds a Workload. A
kubelet of the benchmark's own reports each pod as running, and as ended a second later. Argo Workflows is not compared:
its controller comes as an image, no image runs here, and its Go module is not to be had everywhere.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

from sandbox import kueue
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
from sandbox.bench.manager import SHIPPED, UNLIMITED, limit_manager
from sandbox.node.apiserver import read_kubeconfig
from sandbox.parts import Parts, playing
from sandbox.stage import Stage, set_stage

STALLED_AFTER = 120.0
QUEUE_NAME = "infrastructure"
SIDES = (
    "Job controller as shipped",
    "Job controller unlimited",
    "Kueue as shipped, Job controller unlimited",
    "Kueue and Job controller unlimited",
    "Runs",
)


def main() -> int:
    parser = result.parser(__doc__)
    parser.add_argument("--jobs", type=int, default=300, help="Jobs, and Runs, at once (default 300)")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    return result.run("peers", arguments, lambda: measure(arguments), _show)


def measure(arguments: argparse.Namespace) -> result.Facts:
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    with set_stage() as stage:
        for _ in range(arguments.rounds):
            found = _round(stage, arguments.jobs)
            print(f"a second: {found}", file=sys.stderr, flush=True)
            for name, rate in found.items():
                rates[name].append(rate)
    return {"jobs": arguments.jobs, "rates": rates}


def _show(figures: result.Facts) -> None:
    print(f"{figures['jobs']} at once: minimum, median, maximum")
    for name, rates in figures["rates"].items():
        result.line(name, rates, "a second")


def _round(stage: Stage, count: int) -> dict[str, float]:
    limit_manager(stage, SHIPPED)
    shipped = _jobs(stage, stage.namespace(), count)
    limit_manager(stage, UNLIMITED)
    unlimited = _jobs(stage, stage.namespace(), count)
    queued = [_queued_jobs(stage, count, limits) for limits in (kueue.SHIPPED, UNLIMITED)]
    runs = asyncio.run(_finish_runs(stage, count))
    return dict(zip(SIDES, (shipped, unlimited, *queued, runs), strict=True))


def _queued_jobs(stage: Stage, count: int, limits: Mapping[str, int]) -> float:
    namespace = stage.namespace()
    with kueue.kueue(stage.cluster, limits):
        # With room for all.
        kueue.create_queue(stage.cluster, QUEUE_NAME, namespace, 1_000_000)
        return _jobs(stage, namespace, count, {kueue.QUEUE: QUEUE_NAME})


def _jobs(stage: Stage, namespace: str, count: int, labels: Mapping[str, str] | None = None) -> float:
    return asyncio.run(_finish_jobs(stage, namespace, count, labels or {}))


async def _finish_jobs(stage: Stage, namespace: str, count: int, labels: Mapping[str, str]) -> float:
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    async def create(number: int) -> None:
        template = {"metadata": {"annotations": {"sandbox/hold": "true"}}, "spec": pod_spec()}
        spec = {"backoffLimit": 0, "template": template}
        metadata = {"name": f"job-{number}", "labels": dict(labels)}
        await api.post(path, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
        parts.counts["Jobs created"] += 1

    async with Api(read_kubeconfig(stage.cluster.kubeconfig)) as api:
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


async def _finish_runs(stage: Stage, count: int) -> float:
    namespace = await ready_namespace(stage)

    async def create(number: int) -> None:
        await api.post(f"{GROUP}/namespaces/{namespace}/runs", new_run(f"run-{number}"))
        parts.counts["Runs created"] += 1

    async with Api(read_kubeconfig(stage.cluster.kubeconfig)) as api:
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
