"""How soon a new Run gets its pod after the controller starts, and what memory it takes, beside many ended Runs.

    dev/uv run python bench/cold_start.py [--ended 0 10000 50000] [--rounds 3] [--json FILE]

The ended Runs have templates of 2 KB, and are copies of one that really ended, status and mark included. In each round
a Run is created at the moment the process starts; the clock stops when that Run's pod has been created. Beside the
controller that acts a second replica starts, which has seen everything and waits for the Lease; its memory is read as
well. Everything shares the machine: API server, etcd, emulated AWS, and the benchmark itself.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

from sandbox.bench import result
from sandbox.bench.fill import fill
from sandbox.bench.load import GROUP, Object
from sandbox.bench.usage import usage
from sandbox.controller import NAMESPACE, Controller
from sandbox.node.apiserver import MERGE, ApiServer, read_kubeconfig
from sandbox.objects import condition
from sandbox.process import wait_until
from sandbox.program import ALL_SEEN, READY
from sandbox.stage import API_VERSION, Stage, set_stage

SETTLED_AFTER = 10.0
"""Seconds after everything was seen at which memory is read again."""
LONGEST = 300.0
"""Seconds that a round may take."""
MEASURED = (
    ("ready", "s", "from process start until all was seen that goes on"),
    ("pod", "s", "until the new Run's pod was created"),
    ("cpu", "s", "processor time until then"),
    ("all", "s", "until ended Runs were seen too"),
    ("peak", "MiB", "memory at its highest"),
    ("settled", "MiB", "memory ten seconds later"),
    ("standby", "MiB", "memory of the replica that waits"),
    ("standby peak", "MiB", "that at its highest"),
)


def main() -> int:
    parser = result.parser(__doc__)
    parser.add_argument("--ended", type=int, nargs="+", default=[0, 10_000, 50_000], help="ended Runs")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    arguments = parser.parse_args()
    return result.run("cold start", arguments, lambda: measure(arguments), _show)


def measure(arguments: argparse.Namespace) -> result.Facts:
    rounds: list[Object] = []
    with set_stage() as stage:
        replicas = [_replica(stage, name) for name in ("one", "two")]
        namespace = _first(stage)
        for count in sorted(arguments.ended):
            asyncio.run(_fill(stage, namespace, count))
            for number in range(arguments.rounds):
                found = {"ended": count, **asyncio.run(_start(stage, namespace, *replicas))}
                print(f"round {number + 1}: {found}", file=sys.stderr, flush=True)
                rounds.append(found)
    return {"rounds": rounds}


def _show(figures: result.Facts) -> None:
    print("minimum, median, maximum")
    for count in sorted({found["ended"] for found in figures["rounds"]}):
        print(f"{count} ended Runs")
        for key, unit, words in MEASURED:
            result.line(words, [found[key] for found in figures["rounds"] if found["ended"] == count], unit)


def _replica(stage: Stage, name: str) -> Controller:
    """A controller that competes for the Lease. Without the fault proxy, which is one more process on the way."""
    settings = {"SPACELIFT_AWS_NAMESPACE": NAMESPACE, "AWS_ENDPOINT_URL": stage.aws.endpoint}
    return Controller(stage.cluster, {**stage.controller.environment, **settings}, name)


def _first(stage: Stage) -> str:
    """The namespace with its integration and one Run that really ended; the controller is stopped then."""
    namespace = stage.namespace()
    stage.controller.start()
    stage.integration(namespace)
    body = {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": "pattern", "namespace": namespace}}
    stage.objects.create({**body, "spec": _spec(held=False)})

    def settled(run: Object | None) -> bool:
        return run is not None and condition(run, "Complete").get("status") == "True" and _is_marked(run)

    stage.objects.wait("Run", namespace, "pattern", settled, timeout=120)
    stage.controller.stop()
    return namespace


def _is_marked(run: Object) -> bool:
    return "aws.spacelift.io/ended" in run["metadata"].get("annotations", {})


async def _fill(stage: Stage, namespace: str, count: int) -> None:
    """Bring the ended Runs to so many; returns when the API server shows them."""
    began = time.monotonic()
    prefix, path = f"/registry/aws.spacelift.io/runs/{namespace}", f"{GROUP}/namespaces/{namespace}/runs"
    async with ApiServer(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        await fill(stage.cluster.folder / "etcd.sock", prefix, await api.get(f"{path}/pattern"), count)
        # The API server answers from its cache, which learns of what was written behind its back in some seconds.
        shown = {"fieldSelector": f"metadata.name=pattern-{count - 1}", "resourceVersion": "0"}
        while count and not (await api.get(path, **shown))["items"]:  # noqa: ASYNC110 - a cache gives no sign
            await asyncio.sleep(0.5)
    print(f"{count} ended Runs are there, after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


async def _start(stage: Stage, namespace: str, leader: Controller, other: Controller) -> Object:
    name = stage.fresh("new")
    body = {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": name}, "spec": _spec(held=True)}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    async with ApiServer(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        version = (await api.get(pods))["metadata"]["resourceVersion"]
        began = time.monotonic()
        await asyncio.to_thread(leader.start, wait=False)
        ready = asyncio.create_task(_says(leader, READY, began))
        await api.post(f"{GROUP}/namespaces/{namespace}/runs", body)
        async with asyncio.timeout(LONGEST):
            async for kind, pod in api.watch(pods, version):
                if kind == "ADDED" and pod["metadata"].get("annotations", {}).get("aws.spacelift.io/run") == name:
                    break
            made = time.monotonic() - began
            cpu, seen = usage(leader.process.pid).cpu, await ready
            everything = await _says(leader, ALL_SEEN, began)
            await asyncio.to_thread(other.start, wait=False)
            await _says(other, ALL_SEEN, 0.0)
        await asyncio.sleep(SETTLED_AFTER)
        mine, standby = usage(leader.process.pid), usage(other.process.pid)
        await api.patch(f"{GROUP}/namespaces/{namespace}/runs/{name}", {"spec": {"stop": True}}, MERGE)
        await asyncio.sleep(2)
    for replica in (other, leader):
        await asyncio.to_thread(replica.stop)
    found: dict[str, Any] = {
        "ready": seen,
        "pod": made,
        "all": everything,
        "cpu": cpu,
        "peak": mine.peak,
        "settled": mine.rss,
    }
    return {**found, "standby": standby.rss, "standby peak": standby.peak}


async def _says(replica: Controller, words: str, began: float) -> float:
    def said() -> bool:
        replica.process.check()
        return replica.says(words)

    await asyncio.to_thread(wait_until, said, timeout=LONGEST, what=words)
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


if __name__ == "__main__":
    sys.exit(main())
