"""How long a new Run waits for its pod while Runs come at a steady rate, and what the API server's share of it is.

    dev/uv run python bench/latency.py [--rates 10 30] [--seconds 60] [--json FILE]

The clock starts when the API server has answered the Run's creation and stops when a watch shows its pod. The API
server's share is the time that its audit log has for the controller's three calls until then, one after the other: the
Secret, the mark before the pod, the pod. A kubelet of the benchmark's own reports each pod as running, and as ended a
second later. The generator is open: it does not wait for Runs, however late they are.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

from sandbox.bench import result
from sandbox.bench.load import GROUP, Api, Kubelet, Object, new_run, ready_namespace, until_ended, watch_over
from sandbox.bench.usage import usage
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT
from sandbox.node.apiserver import read_kubeconfig
from sandbox.parts import Parts, playing
from sandbox.stage import Stage, set_stage

CALLS = (("create", "secrets", ""), ("patch", "runs", "status"), ("create", "pods", ""))


def main() -> int:
    parser = result.parser(__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 30], help="Runs a second (default 10 and 30)")
    parser.add_argument("--seconds", type=float, default=60, help="how long each lasts (default 60)")
    arguments = parser.parse_args()
    return result.run("latency", arguments, lambda: measure(arguments), _show)


def measure(arguments: argparse.Namespace) -> result.Facts:
    rates: list[Object] = []
    with set_stage() as stage:
        for rate in arguments.rates:
            found = asyncio.run(_measure(stage, rate, round(rate * arguments.seconds)))
            print(f"{rate:g} a second: {found}", file=sys.stderr, flush=True)
            rates.append({"rate": rate, **found})
        stage.controller.stop()
    return {"rates": rates}


def _show(figures: result.Facts) -> None:
    print("from the answer to a Run's creation until its pod is there, seconds")
    print(f"  {'':<14}{'p50':>8}{'p99':>8}{'most':>8}   API server's share {'p50':>8}{'p99':>8}   CPU a Run")
    for found in figures["rates"]:
        waits, shares = found["waits"], found["API server"]
        print(
            f"  {found['rate']:5g} Runs/s  {waits['p50']:8.3f}{waits['p99']:8.3f}{waits['most']:8.3f}"
            f"                      {shares['p50']:8.3f}{shares['p99']:8.3f}   {found['cpu'] * 1000:.1f} ms"
        )


async def _measure(stage: Stage, rate: float, count: int) -> Object:
    namespace = await ready_namespace(stage)
    pid = stage.controller.process.pid
    created: dict[str, float] = {}
    seen: dict[str, tuple[float, str]] = {}

    def took(pod: Object) -> None:
        metadata = pod["metadata"]
        seen[metadata["annotations"]["aws.spacelift.io/run"]] = (time.monotonic(), metadata["name"])

    async with Api(read_kubeconfig(stage.cluster.kubeconfig)) as api, playing() as parts:
        parts.start("the watch over the controller", watch_over(stage))
        await Kubelet.begin(api, namespace, parts, took)
        before = usage(pid)
        parts.start("the creator of Runs", _create(api, namespace, rate, count, created, parts))
        await until_ended(api, namespace, count, parts)
        cpu = (usage(pid).cpu - before.cpu) / count
    waits = [seen[name][0] - created[name] for name in created]
    return {
        "runs": count,
        "waits": _spread(waits),
        "API server": _spread(_shares(stage, namespace, {name: pod for name, (_, pod) in seen.items()})),
        "cpu": cpu,
    }


async def _create(api: Api, namespace: str, rate: float, count: int, created: dict[str, float], parts: Parts) -> None:
    async def one(name: str) -> None:
        await api.post(f"{GROUP}/namespaces/{namespace}/runs", new_run(name))
        created[name] = time.monotonic()
        parts.counts["Runs created"] += 1

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            group.create_task(one(f"run-{number}"))


def _shares(stage: Stage, namespace: str, pods: dict[str, str]) -> list[float]:
    """For each Run the seconds that the API server took for the controller's calls until its pod was there."""
    user = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
    taken: dict[tuple[str, str, str, str], float] = {}
    for event in stage.cluster.audit_events(namespace):
        call = (event.verb, event.resource, event.subresource)
        if event.user == user and call in CALLS:
            # Of the patches of a status the first is meant.
            taken.setdefault((*call, event.name), (event.completed - event.received).total_seconds())
    return [
        sum(taken.get((*call, run if call[1] == "runs" else pod), 0.0) for call in CALLS) for run, pod in pods.items()
    ]


def _spread(values: list[float]) -> dict[str, Any]:
    return {"p50": result.percentile(values, 0.5), "p99": result.percentile(values, 0.99), "most": max(values)}


if __name__ == "__main__":
    sys.exit(main())
