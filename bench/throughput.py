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
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from sandbox.node.apiserver import MERGE, Access, ApiError, ApiServer, read_kubeconfig
from sandbox.parts import PartFailedError, Parts, playing
from sandbox.stage import API_VERSION, Stage, set_stage

RUNNING_FOR = 1.0
"""Seconds for which each pod runs."""
CREATORS = 32
"""Runs created at once."""
CONNECTIONS = 24
"""Requests under way at once, whoever sends them."""
GROUP = "/apis/aws.spacelift.io/v1beta1"

Object = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="Runs created at once (default 300)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (default 3)")
    arguments = parser.parse_args()
    try:
        with set_stage() as stage:
            rounds = [asyncio.run(_round(stage, arguments.runs)) for _ in range(arguments.rounds)]
    except PartFailedError as error:
        print(f"The benchmark has failed, its numbers would mean nothing: {error}", file=sys.stderr)
        return 1
    controller, bare = (sorted(side) for side in zip(*rounds, strict=True))
    print(
        f"\n{arguments.runs} Runs at once, {arguments.rounds} rounds, {os.cpu_count()} cores: minimum, median, maximum"
    )
    for name, side in (("controller", controller), ("bare loop", bare)):
        print(f"  {name:<11} {side[0]:6.1f} {statistics.median(side):6.1f} {side[-1]:6.1f}  Runs a second")
    ratio = statistics.median(controller) / statistics.median(bare)
    print(f"  the controller finishes {ratio:.0%} of what the API server takes from the bare loop")
    return 0


class Api(ApiServer):
    """An API server that is asked by many at once. Who waits for his turn waits here, where no timeout runs."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def _call(self, *arguments: Any, **more: Any) -> Object:
        async with self._turns:
            return await super()._call(*arguments, **more)


async def _round(stage: Stage, count: int) -> tuple[float, float]:
    async with Api(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        return await _by_controller(stage, api, count), await _by_bare_loop(stage, api, count)


async def _by_controller(stage: Stage, api: Api, count: int) -> float:
    """Without the fault proxy, which would be one more process of Python's on the way to STS."""
    namespace = await asyncio.to_thread(stage.namespace)
    await asyncio.to_thread(stage.controller.start, {"AWS_ENDPOINT_URL": stage.aws.endpoint})
    await asyncio.to_thread(stage.integration, namespace)
    await asyncio.to_thread(
        stage.cluster.kubectl, "wait", f"--namespace={namespace}", "--for=condition=Ready", "awsint/prod"
    )
    process = Path(f"/proc/{stage.controller.process.pid}")
    cpu = _cpu_seconds(process)
    async with playing(say=_say("controller")) as parts:
        parts.start("the watch over the controller", _alive(stage))
        kubelet = await Kubelet.begin(api, namespace, parts)
        started = time.monotonic()
        parts.start("the creator of Runs", _create(api, namespace, count, parts))
        await _all_ended(api, namespace, count, parts)
        seconds = time.monotonic() - started
        assert len(kubelet.known) == count, f"{len(kubelet.known)} pods for {count} Runs"
    used, memory = _cpu_seconds(process) - cpu, _memory(process)
    await asyncio.to_thread(stage.controller.stop)
    print(
        f"controller: {count} Runs in {seconds:5.1f} s, {count / seconds:5.1f} a second, "
        f"{used / count * 1000:.1f} ms CPU a Run, {memory} MiB",
        file=sys.stderr,
    )
    return count / seconds


async def _alive(stage: Stage) -> None:
    while True:
        await asyncio.to_thread(stage.controller.process.check)
        await asyncio.sleep(1)


async def _create(api: Api, namespace: str, count: int, parts: Parts) -> None:
    async def create(number: int) -> None:
        await api.post(f"{GROUP}/namespaces/{namespace}/runs", _run(number))
        parts.counts["Runs created"] += 1

    await _at_once(count, create)


async def _by_bare_loop(stage: Stage, api: Api, count: int) -> float:
    namespace = await asyncio.to_thread(stage.namespace)
    async with playing(say=_say("bare loop")) as parts:
        kubelet = await Kubelet.begin(api, namespace, parts)
        started = time.monotonic()

        async def whole(number: int) -> None:
            run = await api.post(f"{GROUP}/namespaces/{namespace}/runs", _run(number))
            parts.counts["Runs created"] += 1
            await _bare(api, namespace, run, kubelet.phases)
            parts.counts["Runs finished"] += 1

        # All are under way at once: while a pod runs, a Run waits for it and not for another Run.
        await asyncio.gather(*(whole(number) for number in range(count)))
        seconds = time.monotonic() - started
    print(f"bare loop:  {count} Runs in {seconds:5.1f} s, {count / seconds:5.1f} a second", file=sys.stderr)
    return count / seconds


def _say(side: str) -> Callable[[str], None]:
    return lambda line: print(f"  {side}: {line}", file=sys.stderr, flush=True)


async def _bare(api: Api, namespace: str, run: Object, phases: "Phases") -> None:
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


class Kubelet:
    """Reports every pod of a namespace as running, and as ended RUNNING_FOR later; says so to who waits."""

    def __init__(self, api: Api, namespace: str, parts: Parts) -> None:
        self.known: set[str] = set()
        """The pods that it has seen."""
        self.phases: Phases = defaultdict(asyncio.Event)
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._parts = parts

    @classmethod
    async def begin(cls, api: Api, namespace: str, parts: Parts) -> Self:
        """One that sees every pod from now on."""
        kubelet = cls(api, namespace, parts)
        version = await kubelet._listed()
        parts.start("the benchmark's kubelet", kubelet._watch(version))
        return kubelet

    async def _watch(self, version: str) -> None:
        while True:
            try:
                async for kind, pod in self._api.watch(self._path, version):
                    if kind == "ADDED":
                        self._take(pod)
            except ApiError as error:
                if error.status != HTTPStatus.GONE:
                    raise
            # The API server ends each watch after some minutes; what came meanwhile is in the list.
            version = await self._listed()

    async def _listed(self) -> str:
        listed = await self._api.get(self._path)
        for pod in listed["items"]:
            self._take(pod)
        return str(listed["metadata"]["resourceVersion"])

    def _take(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if name not in self.known:
            self.known.add(name)
            self._parts.start(f"the benchmark's kubelet, with pod {name},", self._live(name))

    async def _live(self, name: str) -> None:
        for phase, state in (("Running", {"running": {}}), ("Succeeded", {"terminated": {"exitCode": 0}})):
            container = {"name": "main", "image": "none", "imageID": "", "ready": False, "restartCount": 0}
            statuses = [{**container, "state": state}]
            await self._api.patch(
                f"{self._path}/{name}/status", {"status": {"phase": phase, "containerStatuses": statuses}}
            )
            self._parts.counts[f"pods reported as {phase}"] += 1
            self.phases[name, phase].set()
            if phase == "Running":
                await asyncio.sleep(RUNNING_FOR)


async def _all_ended(api: Api, namespace: str, count: int, parts: Parts) -> None:
    path = f"{GROUP}/namespaces/{namespace}/runs"
    ended: set[str] = set()

    def look(run: Object) -> None:
        name, phase = run["metadata"]["name"], run.get("status", {}).get("phase")
        if phase in ("Failed", "Stopped"):
            raise PartFailedError(f"Run {name} is {phase}: {run['status'].get('message')} ({parts})")
        if phase == "Finished" and name not in ended:
            ended.add(name)
            parts.counts["Runs finished"] += 1

    while len(ended) < count:
        listed = await api.get(path)
        for run in listed["items"]:
            look(run)
        if len(ended) == count:
            return
        with contextlib.suppress(TimeoutError):
            # A watch that stays silent is looked after by a list.
            async for _, run in api.watch(path, listed["metadata"]["resourceVersion"]):
                look(run)
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
