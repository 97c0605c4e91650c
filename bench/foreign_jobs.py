"""What Jobs of others cost a controller that executes Jobs, beside one that does not, in one run.

    dev/uv run python bench/foreign_jobs.py [--jobs 10000] [--updates 1000] [--rounds 3]

The API server cannot select Jobs by `managedBy`, so all of them are listed and watched. Each round starts the
controller twice on one control plane, without and with SPACELIFT_AWS_JOBS, while Jobs of somebody else are there, and
then changes some of them. CPU and memory are the controller's process's own, from proc(5).
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

from sandbox.bench.usage import usage
from sandbox.node.apiserver import MERGE, ApiServer, read_kubeconfig
from sandbox.stage import Stage, set_stage

AT_ONCE = 32
SETTLED = 2.0
"""Seconds after the last change in which the controller catches up."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """Of one controller: CPU seconds until it was ready, and for the changes; MiB at the end; seconds to be ready."""

    start: float
    changes: float
    memory: float
    ready_after: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000, help="Jobs of others (default 10000)")
    parser.add_argument("--updates", type=int, default=1_000, help="changes of them (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (default 3)")
    arguments = parser.parse_args()
    with set_stage() as stage:
        stage.controller.install({"jobs": {"enabled": True}})
        off, on = asyncio.run(_measure(stage, arguments))
    print(f"\n{arguments.jobs} Jobs of others, {arguments.rounds} rounds, {os.cpu_count()} cores: medians")
    print("                           off       on")
    for title, name in (
        ("CPU until ready, s", "start"),
        ("seconds until ready", "ready_after"),
        (f"CPU for {arguments.updates} changes, s", "changes"),
        ("memory, MiB", "memory"),
    ):
        sides = [statistics.median(getattr(cost, name) for cost in side) for side in (off, on)]
        print(f"  {title:<24} {sides[0]:6.2f}   {sides[1]:6.2f}")
    return 0


async def _measure(stage: Stage, arguments: argparse.Namespace) -> tuple[list[Cost], list[Cost]]:
    namespace = await asyncio.to_thread(stage.namespace)
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    sides: tuple[list[Cost], list[Cost]] = ([], [])
    async with ApiServer(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        await _in_turns(arguments.jobs, "Jobs created", lambda number: api.post(path, _job(number)))
        for number in range(arguments.rounds):
            for side, setting in zip(sides, ("false", "true"), strict=True):
                side.append(await _one(stage, api, path, arguments.updates, setting))
                print(f"round {number + 1}, SPACELIFT_AWS_JOBS={setting}: {side[-1]}", file=sys.stderr)
    return sides


async def _one(stage: Stage, api: ApiServer, path: str, updates: int, setting: str) -> Cost:
    began = time.monotonic()
    await asyncio.to_thread(stage.controller.start, {"SPACELIFT_AWS_JOBS": setting})
    ready_after = time.monotonic() - began
    pid = stage.controller.process.pid
    start = usage(pid).cpu
    change = {"metadata": {"annotations": {"changed": str(time.time())}}}
    await _in_turns(updates, "Jobs changed", lambda number: api.patch(f"{path}/foreign-{number}", change, MERGE))
    await asyncio.sleep(SETTLED)
    after = usage(pid)
    cost = Cost(start, after.cpu - start, after.rss, ready_after)
    await asyncio.to_thread(stage.controller.stop)
    return cost


async def _in_turns(count: int, what: str, do: Any) -> None:
    """Do something so many times, some of them at once, and show how far it is."""
    gate, done = asyncio.Semaphore(AT_ONCE), 0

    async def one(number: int) -> None:
        nonlocal done
        async with gate:
            await do(number)
        done += 1
        if done % 1000 == 0:
            print(f"  {what}: {done} of {count}", file=sys.stderr)

    await asyncio.gather(*(one(number) for number in range(count)))


def _job(number: int) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    spec = {"managedBy": "example.com/somebody", "suspend": True, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"foreign-{number}"}, "spec": spec}


if __name__ == "__main__":
    sys.exit(main())
