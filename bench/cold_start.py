"""How soon a new Run gets its pod after the controller starts, and what memory it takes, beside many ended Runs.

    dev/uv run python bench/cold_start.py [--ended 0 10000] [--rounds 3]

The ended Runs have templates of 2 KB and the status of a Run that really ended. In each round a Run is created at the
moment the process starts; the clock stops when all was seen, and when that Run's pod has been created. Everything
shares the machine: API server, etcd, emulated AWS, and the benchmark itself.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from sandbox.node.apiserver import MERGE, ApiServer, read_kubeconfig
from sandbox.program import READY
from sandbox.stage import API_VERSION, Stage, set_stage

GROUP = "/apis/aws.spacelift.io/v1beta1"
AT_ONCE = 32
SETTLED_AFTER = 10.0
"""Seconds after the Run's pod at which memory is read again."""

Object = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ended", type=int, nargs="+", default=[0, 10_000], help="ended Runs (default 0 and 10000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--json", type=Path, help="a file for the result")
    arguments = parser.parse_args()
    results: list[Object] = []
    with set_stage() as stage:
        for count in sorted(arguments.ended):
            asyncio.run(_fill(stage, count))
            for number in range(arguments.rounds):
                result = {"ended": count, **asyncio.run(_start(stage))}
                print(f"round {number + 1}: {result}", file=sys.stderr)
                results.append(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    _show(results)
    return 0


def _show(results: list[Object]) -> None:
    print(f"\n{os.cpu_count()} cores; minimum, median, maximum")
    for count in sorted({result["ended"] for result in results}):
        print(f"{count} ended Runs")
        for what, unit in (("ready", "s"), ("pod", "s"), ("cpu", "s"), ("peak", "MiB"), ("settled", "MiB")):
            values = sorted(result[what] for result in results if result["ended"] == count)
            print(f"  {what:<8} {values[0]:7.1f} {statistics.median(values):7.1f} {values[-1]:7.1f}  {unit}")


async def _fill(stage: Stage, count: int) -> None:
    """Bring the ended Runs to so many."""
    namespace = stage.namespaces[0] if stage.namespaces else await asyncio.to_thread(_first, stage)
    path = f"{GROUP}/namespaces/{namespace}/runs"
    gate = asyncio.Semaphore(AT_ONCE)
    async with ApiServer(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        pattern = await api.get(f"{path}/pattern")
        there = len((await api.get(path))["items"]) - 1

        async def one(number: int) -> None:
            async with gate:
                body = {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": f"ended-{number}"}}
                await api.post(path, {**body, "spec": pattern["spec"]})
                await api.patch(f"{path}/ended-{number}/status", {"status": pattern["status"]}, MERGE)

        began = time.monotonic()
        await asyncio.gather(*(one(number) for number in range(there, count)))
    print(f"{count} ended Runs are there, after {time.monotonic() - began:.0f} s", file=sys.stderr)


def _first(stage: Stage) -> str:
    """The namespace with its integration and one Run that really ended; the controller is stopped then."""
    namespace = stage.namespace()
    stage.controller.start()
    stage.integration(namespace)
    body = {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": "pattern", "namespace": namespace}}
    stage.objects.create({**body, "spec": _spec(held=False)})
    stage.objects.wait(
        "Run", namespace, "pattern", lambda run: (run or {}).get("status", {}).get("phase") == "Finished", timeout=60
    )
    stage.controller.stop()
    return namespace


async def _start(stage: Stage) -> Object:
    namespace = stage.namespaces[0]
    name = stage.fresh("new")
    body = {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": name}, "spec": _spec(held=True)}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    async with ApiServer(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        version = (await api.get(pods))["metadata"]["resourceVersion"]
        began = time.monotonic()
        # Without the fault proxy, which would be one more process on the way to STS.
        await asyncio.to_thread(stage.controller.start, {"AWS_ENDPOINT_URL": stage.aws.endpoint}, wait=False)
        ready = asyncio.create_task(_ready(stage, began))
        await api.post(f"{GROUP}/namespaces/{namespace}/runs", body)
        async with asyncio.timeout(300):
            async for kind, pod in api.watch(pods, version):
                if kind == "ADDED" and pod["metadata"].get("annotations", {}).get("aws.spacelift.io/run") == name:
                    break
        made = time.monotonic() - began
        process = Path(f"/proc/{stage.controller.process.pid}")
        cpu, seen = _cpu_seconds(process), await ready
        await asyncio.sleep(SETTLED_AFTER)
        memory = _memory(process)
        await api.patch(f"{GROUP}/namespaces/{namespace}/runs/{name}", {"spec": {"stop": True}}, MERGE)
        await asyncio.sleep(2)
    await asyncio.to_thread(stage.controller.stop)
    return {"ready": seen, "pod": made, "cpu": cpu, "peak": memory["VmHWM"], "settled": memory["VmRSS"]}


async def _ready(stage: Stage, began: float) -> float:
    log = stage.controller.process.log
    while not log.exists() or READY not in log.read_text():  # noqa: ASYNC110 - a file has no event
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def _spec(*, held: bool) -> Object:
    """A template of 2 KB; the pod of a Run that is held is never begun."""
    variables = [{"name": f"VARIABLE_{number}", "value": "x" * 60} for number in range(20)]
    container = {"name": "main", "image": "none", "command": ["true"], "env": variables}
    pod: Object = {"restartPolicy": "Never", "containers": [container]}
    if held:
        pod["schedulerName"] = "benchmark"
    template = {"metadata": {"annotations": {"sandbox/hold": "true"}} if held else {}, "spec": pod}
    return {"integrationRef": {"name": "prod"}, "template": template, "maskLogs": "Never"}


def _cpu_seconds(process: Path) -> float:
    """User and system time of a process; see proc(5)."""
    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(process: Path) -> dict[str, float]:
    """Resident memory at its highest and now, in MiB; see proc(5)."""
    lines = (line.partition(":") for line in (process / "status").read_text().splitlines())
    wanted = ("VmHWM", "VmRSS")
    return {name: int(value.split()[0]) / 1024 for name, _, value in lines if name in wanted}


if __name__ == "__main__":
    sys.exit(main())
