"""How many Runs a second the controller finishes, beside what the API server takes at most, in one run.

    dev/uv run python bench/throughput.py [--runs 300] [--rounds 3]

Each round does the same Runs twice on one control plane: once by the controller, once by a bare loop that makes the
same five writes a Run (Secret, pod, two status patches, Secret deletion) and knows and checks nothing. In both a
kubelet of the benchmark's own reports each pod as running, and as ended a second later, so that no process is started.
Everything shares the machine's cores: the API server, etcd, the garbage collector, the emulated STS (the controller's
side only), and the benchmark itself.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from sandbox.node.apiserver import MERGE, ApiServer, read_kubeconfig
from sandbox.stage import API_VERSION, Stage, set_stage

RUNNING_FOR = 1.0
"""Seconds for which each pod runs."""
CREATORS = 32
"""Runs created at once, and Runs that the bare loop has under way at once."""
GROUP = "/apis/aws.spacelift.io/v1beta1"

Object = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="Runs created at once (default 300)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (default 3)")
    arguments = parser.parse_args()
    with set_stage() as stage:
        rounds = [asyncio.run(_round(stage, arguments.runs)) for _ in range(arguments.rounds)]
    controller, bare = (sorted(side) for side in zip(*rounds, strict=True))
    print(
        f"\n{arguments.runs} Runs at once, {arguments.rounds} rounds, {os.cpu_count()} cores: minimum, median, maximum"
    )
    for name, side in (("controller", controller), ("bare loop", bare)):
        print(f"  {name:<11} {side[0]:6.1f} {statistics.median(side):6.1f} {side[-1]:6.1f}  Runs a second")
    ratio = statistics.median(controller) / statistics.median(bare)
    print(f"  the controller finishes {ratio:.0%} of what the API server takes from the bare loop")
    return 0


async def _round(stage: Stage, count: int) -> tuple[float, float]:
    async with ApiServer(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        return await _by_controller(stage, api, count), await _by_bare_loop(stage, api, count)


async def _by_controller(stage: Stage, api: ApiServer, count: int) -> float:
    """Without the fault proxy, which would be one more process of Python's on the way to STS."""
    namespace = await asyncio.to_thread(stage.namespace)
    await asyncio.to_thread(stage.controller.start, {"AWS_ENDPOINT_URL": stage.aws.endpoint})
    await asyncio.to_thread(stage.integration, namespace)
    await asyncio.to_thread(
        stage.cluster.kubectl, "wait", f"--namespace={namespace}", "--for=condition=Ready", "awsint/prod"
    )
    process = Path(f"/proc/{stage.controller.process.pid}")
    cpu = _cpu_seconds(process)
    async with _kubelet(api, namespace):
        started = time.monotonic()
        ended = asyncio.create_task(_all_ended(api, namespace, count))
        await _at_once(count, lambda number: api.post(f"{GROUP}/namespaces/{namespace}/runs", _run(number)))
        created = time.monotonic() - started
        await ended
        seconds = time.monotonic() - started
    used, memory = _cpu_seconds(process) - cpu, _memory(process)
    await asyncio.to_thread(stage.controller.stop)
    print(
        f"controller: {count} Runs in {seconds:5.1f} s (created in {created:.1f} s), {count / seconds:5.1f} a second, "
        f"{used / count * 1000:.1f} ms CPU a Run, {memory} MiB",
        file=sys.stderr,
    )
    return count / seconds


async def _by_bare_loop(stage: Stage, api: ApiServer, count: int) -> float:
    namespace = await asyncio.to_thread(stage.namespace)
    async with _kubelet(api, namespace) as phases:
        started = time.monotonic()

        async def whole(number: int) -> None:
            run = await api.post(f"{GROUP}/namespaces/{namespace}/runs", _run(number))
            await _bare(api, namespace, run, phases)

        # All are under way at once: while a pod runs, a Run waits for it and not for another Run.
        await asyncio.gather(*(whole(number) for number in range(count)))
        seconds = time.monotonic() - started
    print(f"bare loop:  {count} Runs in {seconds:5.1f} s, {count / seconds:5.1f} a second", file=sys.stderr)
    return count / seconds


async def _bare(api: ApiServer, namespace: str, run: Object, phases: "Phases") -> None:
    """The five writes of a Run."""
    core, name = f"/api/v1/namespaces/{namespace}", f"bare-{run['metadata']['name']}"
    status = f"{GROUP}/namespaces/{namespace}/runs/{run['metadata']['name']}/status"
    owner = {"apiVersion": API_VERSION, "kind": "Run", "name": run["metadata"]["name"], "uid": run["metadata"]["uid"]}
    metadata = {"name": name, "ownerReferences": [{**owner, "controller": True}]}
    values = {key: "x" * size for key, size in (("ID", 20), ("KEY", 40), ("TOKEN", 400), ("OLD_TOKEN", 400))}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
    await api.post(f"{core}/secrets", secret)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": {"bench": "pod"}}}
    await api.post(f"{core}/pods", {**pod, "spec": _pod_spec()})
    await phases[name, "Running"].wait()
    await api.patch(status, {"status": {"phase": "Running", "podName": name}}, MERGE)
    await phases[name, "Succeeded"].wait()
    await api.delete(f"{core}/secrets/{name}", {})
    await api.patch(status, {"status": {"phase": "Finished", "exitCode": 0}}, MERGE)


Phases = defaultdict[tuple[str, str], asyncio.Event]


@contextlib.asynccontextmanager
async def _kubelet(api: ApiServer, namespace: str) -> AsyncIterator[Phases]:
    """Reports every pod of the namespace as running, and as ended RUNNING_FOR later; says so to who waits."""
    phases: Phases = defaultdict(asyncio.Event)
    path = f"/api/v1/namespaces/{namespace}/pods"
    tasks: set[asyncio.Task[None]] = set()

    async def live(name: str) -> None:
        for phase, state in (("Running", {"running": {}}), ("Succeeded", {"terminated": {"exitCode": 0}})):
            container = {"name": "main", "image": "none", "imageID": "", "ready": False, "restartCount": 0}
            statuses = [{**container, "state": state}]
            await api.patch(f"{path}/{name}/status", {"status": {"phase": phase, "containerStatuses": statuses}})
            phases[name, phase].set()
            if phase == "Running":
                await asyncio.sleep(RUNNING_FOR)

    async def watch() -> None:
        version = (await api.get(path))["metadata"]["resourceVersion"]
        async for kind, pod in api.watch(path, version):
            if kind == "ADDED":
                task = asyncio.create_task(live(pod["metadata"]["name"]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    watcher = asyncio.create_task(watch())
    try:
        yield phases
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, *tasks, return_exceptions=True)


async def _all_ended(api: ApiServer, namespace: str, count: int) -> None:
    path = f"{GROUP}/namespaces/{namespace}/runs"
    ended: set[str] = set()
    version = (await api.get(path))["metadata"]["resourceVersion"]
    async for _, run in api.watch(path, version):
        phase = run.get("status", {}).get("phase")
        if phase in ("Failed", "Stopped"):
            raise AssertionError(f"{run['metadata']['name']}: {run['status'].get('message')}")
        if phase == "Finished":
            ended.add(run["metadata"]["name"])
        if len(ended) == count:
            return


async def _at_once(count: int, do: Callable[[int], Awaitable[object]]) -> None:
    gate = asyncio.Semaphore(CREATORS)

    async def one(number: int) -> None:
        async with gate:
            await do(number)

    await asyncio.gather(*(one(number) for number in range(count)))


def _run(number: int) -> Object:
    template = {"metadata": {"annotations": {"sandbox/hold": "true"}}, "spec": _pod_spec()}
    # With `Auto` and no helper here, each Run would cost a third Event, that says so.
    spec = {"integrationRef": {"name": "prod"}, "template": template, "maskLogs": "Never"}
    return {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": f"run-{number}"}, "spec": spec}


def _pod_spec() -> Object:
    # No scheduler of that name exists: the pod is the benchmark's.
    return {
        "schedulerName": "benchmark",
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "none", "command": ["true"]}],
    }


def _cpu_seconds(process: Path) -> float:
    """User and system time of a process; see proc(5)."""
    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(process: Path) -> int:
    """Resident memory of a process in MiB."""
    pages = int((process / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    sys.exit(main())
