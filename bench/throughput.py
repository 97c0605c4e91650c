"""How many Runs a second the controller finishes, beside what the API server takes at most, in pairs.

    dev/uv run python bench/throughput.py [--runs 300] [--pairs 7] [--json FILE]

Each pair does the same Runs twice on one control plane, one side after the other: once by the controller, once by a
bare loop that makes one call of STS and the same writes a Run (Secret, the mark before the pod, pod, a status when it
runs, Secret deletion, the end, its mark, and two Events, for which no Run waits) and knows and checks nothing. What it
writes has the fields that the controller has just written for a Run. In both a kubelet of the benchmark's own reports
each pod as running, and as ended a second later, so that no process is started. Everything shares the machine's cores:
the API server, etcd, the garbage collector, the emulated STS, and the benchmark itself.

The bare loop is a part of the benchmark's process. Its processor time is what that process takes more than beside the
controller, where it does the rest: it creates the Runs, watches them, and is the kubelet.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.aws import DEFAULT_REGION, client
from sandbox.bench import pairs, result
from sandbox.bench.load import (
    GROUP,
    Api,
    Kubelet,
    Object,
    Phases,
    at_once,
    clear,
    how_many,
    new_run,
    pod_spec,
    ready_namespace,
    until_ended,
    watch_over,
)
from sandbox.bench.usage import Instructions, usage
from sandbox.node.apiserver import MERGE, read_kubeconfig
from sandbox.parts import Parts, playing
from sandbox.stage import API_VERSION, Stage, set_stage
from spacelift_aws.kube.client import CALLS_AT_ONCE
from spacelift_aws.kube.events import SENDERS

STS_THREADS = 8
CALLS = CALLS_AT_ONCE + SENDERS
"""Of the bare loop at once: as many as the controller has for Runs and for Events."""
EVENTS = 2
"""A Run's."""


@dataclass(frozen=True)
class Side:
    """What one side took for all Runs of a pair."""

    rate: float
    """Runs a second."""
    cpu: float
    """Seconds of processor time a Run, without what the benchmark takes on both sides."""
    instructions: float | None
    """A Run, in millions; None where they are not counted."""
    memory: float
    """MiB."""


@dataclass(frozen=True)
class Written:
    """What the controller has written for one Run."""

    status: Object
    """The last."""
    pod: Object

    def first_status(self) -> Object:
        """With the mark before the pod."""
        told = ("observedGeneration", "runId", "executor", "podCreatedAfter")
        masked = [one for one in self.status["conditions"] if one["type"] == "LogsMasked"]
        return {**{name: self.status[name] for name in told}, "conditions": masked}

    def running_status(self) -> Object:
        """When the pod runs."""
        early = [one for one in self.status["conditions"] if one["type"] not in ("Complete", "Succeeded")]
        later = ("phase", "conditions", "exitCode", "finishedAt", "message")
        rest = {name: value for name, value in self.status.items() if name not in later}
        return {**rest, "phase": "Running", "conditions": early}


def main() -> int:
    parser = result.parser(__doc__)
    parser.add_argument("--runs", type=int, default=300, help="Runs created at once (default 300)")
    parser.add_argument("--pairs", type=int, default=pairs.FEWEST, help="how often each side is measured (default 7)")
    arguments = parser.parse_args()
    return result.run("throughput", arguments, lambda: measure(arguments), _show)


def measure(arguments: argparse.Namespace) -> result.Facts:
    controllers: list[Side] = []
    bare: list[Side] = []
    with set_stage() as stage:
        for number in range(arguments.pairs):
            controller, loop = asyncio.run(_pair(stage, arguments.runs))
            print(f"pair {number + 1}: {controller}\n        {loop}", file=sys.stderr, flush=True)
            controllers.append(controller)
            bare.append(loop)
    rates = pairs.ratio([side.rate for side in controllers], [side.rate for side in bare])
    return {
        "runs": arguments.runs,
        "controller": [asdict(side) for side in controllers],
        "bare loop": [asdict(side) for side in bare],
        "controller to bare loop": rates.facts(),
        "said": str(rates),
    }


def _show(figures: result.Facts) -> None:
    print(f"{figures['runs']} Runs at once: minimum, median, maximum")
    for side in ("controller", "bare loop"):
        rows = figures[side]
        result.line(f"{side}, Runs a second", [row["rate"] for row in rows], "1/s")
        result.line(f"{side}, CPU a Run", [row["cpu"] * 1000 for row in rows], "ms")
        if all(row["instructions"] for row in rows):
            result.line(f"{side}, instructions a Run", [row["instructions"] for row in rows], "million")
    result.line("controller, memory", [row["memory"] for row in figures["controller"]], "MiB")
    print(f"  the controller finishes {figures['said']} of what the bare loop does")


async def _pair(stage: Stage, count: int) -> tuple[Side, Side]:
    async with Api(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        side, written, rest = await _by_controller(stage, api, count)
        async with Api(read_kubeconfig(stage.cluster.kubeconfig), CALLS) as own:
            return side, await _by_bare_loop(stage, api, own, count, written, rest)


async def _by_controller(stage: Stage, api: Api, count: int) -> tuple[Side, Written, float]:
    """Also what the benchmark itself took, in seconds of processor time."""
    namespace = await ready_namespace(stage)
    pid = stage.controller.process.pid
    async with playing(say=_say("controller")) as parts:
        parts.start("the watch over the controller", watch_over(stage))
        kubelet = await Kubelet.begin(api, namespace, parts)
        told = await how_many(api, f"/api/v1/namespaces/{namespace}/events")
        before, counted, own = usage(pid), Instructions(pid), time.process_time()
        parts.start("the creator of Runs", _create(api, namespace, count, parts))
        await _until_written(api, namespace, count, parts, told)
        side, rest = await asyncio.to_thread(_side, pid, before, counted, count), time.process_time() - own
        assert len(kubelet.known) == count, f"{len(kubelet.known)} pods for {count} Runs"
    await asyncio.to_thread(stage.controller.stop)
    run, pod = [
        (await api.get(path, limit="1"))["items"][0]
        for path in (f"{GROUP}/namespaces/{namespace}/runs", f"/api/v1/namespaces/{namespace}/pods")
    ]
    await clear(api, namespace)
    return side, Written(run["status"], pod), rest


async def _until_written(api: Api, namespace: str, count: int, parts: Parts, told: int = 0) -> None:
    """Return when all Runs have ended and their Events, which trail behind, are there besides those of before."""
    await until_ended(api, namespace, count, parts)
    path = f"/api/v1/namespaces/{namespace}/events"
    while await how_many(api, path) < told + EVENTS * count:  # noqa: ASYNC110 - a watch would cost more than a look
        await asyncio.sleep(0.1)


def _side(pid: int, before: Any, counted: Instructions, count: int) -> Side:
    after, instructions = usage(pid), counted.stop()
    millions = instructions / 1e6 / count if instructions is not None else None
    return Side(count / (after.at - before.at), (after.cpu - before.cpu) / count, millions, after.rss)


async def _create(api: Api, namespace: str, count: int, parts: Parts) -> None:
    async def create(number: int) -> None:
        await api.post(f"{GROUP}/namespaces/{namespace}/runs", new_run(f"run-{number}"))
        parts.counts["Runs created"] += 1

    await at_once(count, create)


async def _by_bare_loop(stage: Stage, api: Api, own: Api, count: int, written: Written, rest: float) -> Side:
    """`own` is the bare loop's alone; `rest` is the processor time of what this process does besides."""
    namespace = await asyncio.to_thread(stage.namespace)
    role = await asyncio.to_thread(stage.role, stage.trust("bare"))
    sts = client("sts", stage.operator, DEFAULT_REGION, stage.aws.endpoint)
    threads = ThreadPoolExecutor(STS_THREADS)

    async def session(name: str) -> None:
        asked = {"RoleArn": role, "RoleSessionName": name, "ExternalId": "bare"}
        await asyncio.get_running_loop().run_in_executor(threads, lambda: sts.assume_role(**asked))

    async with playing(say=_say("bare loop")) as parts:
        kubelet = await Kubelet.begin(api, namespace, parts)
        began, cpu = time.monotonic(), time.process_time()

        def tell(run: Object, reason: str) -> None:
            parts.start(
                "an Event of the bare loop", own.post(f"/api/v1/namespaces/{namespace}/events", _event(run, reason))
            )

        async def whole(number: int) -> None:
            run = await api.post(f"{GROUP}/namespaces/{namespace}/runs", new_run(f"run-{number}"))
            parts.counts["Runs created"] += 1
            await session(f"bare-{number}")
            tell(run, "Issued")
            await _bare(own, namespace, run, kubelet.phases, written)
            tell(run, "Finished")

        # All are under way at once: while a pod runs, a Run waits for it and not for another Run.
        for number in range(count):
            parts.start(f"the bare loop, with Run {number},", whole(number))
        await _until_written(api, namespace, count, parts)
        seconds, used = time.monotonic() - began, time.process_time() - cpu
    await clear(api, namespace)
    return Side(count / seconds, (used - rest) / count, None, 0.0)


def _say(side: str) -> Callable[[str], None]:
    return lambda line: print(f"  {side}: {line}", file=sys.stderr, flush=True)


def _event(run: Object, reason: str) -> Object:
    namespace, name, uid = (run["metadata"][key] for key in ("namespace", "name", "uid"))
    regarding = {"apiVersion": API_VERSION, "kind": "Run", "namespace": namespace, "name": name, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason.lower()}", "namespace": namespace},
        "involvedObject": regarding,
        "type": "Normal",
        "reason": reason,
        "message": "a sentence about as long as those that the controller writes, which name the role and the session",
        "source": {"component": "bench"},
        "count": 1,
    }


async def _bare(api: Api, namespace: str, run: Object, phases: Phases, written: Written) -> None:
    """The writes of a Run that it waits for: seven."""
    core, name = f"/api/v1/namespaces/{namespace}", f"bare-{run['metadata']['name']}"
    path = f"{GROUP}/namespaces/{namespace}/runs/{run['metadata']['name']}"
    owner = {"apiVersion": API_VERSION, "kind": "Run", "name": run["metadata"]["name"], "uid": run["metadata"]["uid"]}
    metadata = {"name": name, "ownerReferences": [{**owner, "controller": True}]}
    values = {key: "x" * size for key, size in (("ID", 20), ("KEY", 40), ("TOKEN", 400), ("OLD_TOKEN", 400))}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
    await api.post(f"{core}/secrets", secret)
    await api.patch(f"{path}/status", {"status": written.first_status()}, MERGE)
    await api.post(f"{core}/pods", _pod(metadata, written.pod))
    await phases[name, "Running"].wait()
    await api.patch(f"{path}/status", {"status": written.running_status()}, MERGE)
    await phases[name, "Succeeded"].wait()
    await api.delete(f"{core}/secrets/{name}", {})
    await api.patch(f"{path}/status", {"status": written.status}, MERGE)
    mark = {"labels": {"bench": "true"}, "annotations": {"bench/ended": written.status["runId"]}}
    await api.patch(path, {"metadata": mark}, MERGE)


def _pod(metadata: Object, written: Object) -> Object:
    """A pod with as many labels, annotations and variables. Under their own names they are the controller's alone."""
    names = {
        kind: {name.replace("aws.spacelift.io", "bench.spacelift.io"): value for name, value in values.items()}
        for kind, values in ((kind, written["metadata"][kind]) for kind in ("labels", "annotations"))
    }
    spec, made = pod_spec(), written["spec"]["containers"][0]
    for container in spec["containers"]:
        container["env"], container["envFrom"] = made["env"], [{"secretRef": {"name": metadata["name"]}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, **names}, "spec": spec}


if __name__ == "__main__":
    sys.exit(main())
