"""Runs without processes: a kubelet of the benchmark's own reports each pod as running, and as ended a second later."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Self

from sandbox.node.apiserver import Access, ApiError, ApiServer
from sandbox.parts import PartFailedError, Parts
from sandbox.stage import API_VERSION, Stage

RUNNING_FOR = 1.0
"""Seconds for which each pod runs."""
CREATORS = 32
"""Runs created at once."""
CONNECTIONS = 24
"""Requests under way at once, whoever sends them."""
GROUP = "/apis/aws.spacelift.io/v1beta1"

Object = dict[str, Any]
Phases = defaultdict[tuple[str, str], asyncio.Event]


class Api(ApiServer):
    """An API server that is asked by many at once. Who waits for his turn waits here, where no timeout runs."""

    def __init__(self, access: Access, connections: int = CONNECTIONS) -> None:
        super().__init__(access)
        self._turns = asyncio.Semaphore(connections)

    async def _call(self, *arguments: Any, **more: Any) -> Object:
        async with self._turns:
            return await super()._call(*arguments, **more)


class Kubelet:
    """Reports every pod of a namespace as running, and as ended RUNNING_FOR later; says so to who waits."""

    def __init__(self, api: Api, namespace: str, parts: Parts, took: Callable[[Object], None]) -> None:
        self.known: set[str] = set()
        """The pods that it has seen."""
        self.phases: Phases = defaultdict(asyncio.Event)
        """Set when a pod was reported in a phase."""
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._parts = parts
        self._took = took

    @classmethod
    async def begin(
        cls, api: Api, namespace: str, parts: Parts, took: Callable[[Object], None] = lambda _: None
    ) -> Self:
        """Look after the namespace's pods as a part of the benchmark; `took` hears of each new one."""
        kubelet = cls(api, namespace, parts, took)
        parts.start("the benchmark's kubelet", kubelet._watch(await kubelet._listed()))
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
            self._took(pod)
            self._parts.start(f"the benchmark's kubelet, with pod {name},", self._live(name))

    async def _live(self, name: str) -> None:
        for phase, state in (("Running", {"running": {}}), ("Succeeded", {"terminated": {"exitCode": 0}})):
            container = {"name": "main", "image": "none", "imageID": "", "ready": False, "restartCount": 0}
            status = {"phase": phase, "containerStatuses": [{**container, "state": state}]}
            await self._api.patch(f"{self._path}/{name}/status", {"status": status})
            self._parts.counts[f"pods reported as {phase}"] += 1
            self.phases[name, phase].set()
            if phase == "Running":
                await asyncio.sleep(RUNNING_FOR)


async def until_ended(api: Api, namespace: str, count: int, parts: Parts) -> None:
    """Return when so many Runs have finished, be they deleted by then. PartFailedError if one has failed."""
    path, ended = f"{GROUP}/namespaces/{namespace}/runs", set[str]()

    def look(run: Object) -> None:
        name, phase = run["metadata"]["name"], run.get("status", {}).get("phase")
        if phase in ("Failed", "Stopped"):
            raise PartFailedError(f"Run {name} is {phase}: {run['status'].get('message')} ({parts})")
        if phase == "Finished" and name not in ended:
            ended.add(name)
            parts.counts["Runs finished"] += 1

    await look_until(api, path, look, lambda: len(ended) == count)


async def look_until(api: Api, path: str, look: Callable[[Object], None], over: Callable[[], bool]) -> None:
    """Look at all objects of a collection, and at each change, until it is over."""
    while not over():
        listed = await api.get(path)
        for body in listed["items"]:
            look(body)
        if over():
            return
        with contextlib.suppress(TimeoutError):
            # A watch that stays silent is looked after by a list.
            async for kind, body in api.watch(path, listed["metadata"]["resourceVersion"]):
                if kind != "BOOKMARK":
                    look(body)
                if over():
                    return


async def how_many(api: Api, path: str) -> int:
    """How many objects a collection has."""
    listed = await api.get(path, limit="1")
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


async def until_none(api: Api, path: str) -> None:
    """Return when a collection is empty."""
    while (await api.get(path, limit="1"))["items"]:  # noqa: ASYNC110 - what others delete gives no sign
        await asyncio.sleep(0.5)


async def at_once(count: int, do: Callable[[int], Awaitable[object]], creators: int = CREATORS) -> None:
    """Do something so many times, some of them at once."""
    gate = asyncio.Semaphore(creators)

    async def one(number: int) -> None:
        async with gate:
            await do(number)

    await asyncio.gather(*(one(number) for number in range(count)))


async def clear(api: Api, namespace: str) -> None:
    """Delete all Runs and pods of a namespace; returns when they are gone: the next side begins with nothing to do."""
    paths = (f"{GROUP}/namespaces/{namespace}/runs", f"/api/v1/namespaces/{namespace}/pods")
    for path in paths:
        await api.delete(path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
    for path in paths:
        await until_none(api, path)


async def watch_over(stage: Stage) -> None:
    """A part that fails when the controller has ended."""
    while True:
        await asyncio.to_thread(stage.controller.process.check)
        await asyncio.sleep(1)


def new_run(name: str, **spec: Any) -> Object:
    """A Run whose pod is the benchmark's."""
    template = {"metadata": {"annotations": {"sandbox/hold": "true"}}, "spec": pod_spec()}
    # With `Auto` and no helper here, each Run would cost a third Event, that says so.
    spec = {"integrationRef": {"name": "prod"}, "template": template, "maskLogs": "Never", **spec}
    return {"apiVersion": API_VERSION, "kind": "Run", "metadata": {"name": name}, "spec": spec}


def pod_spec() -> Object:
    """No scheduler of that name exists: the pod is the benchmark's."""
    return {
        "schedulerName": "benchmark",
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "none", "command": ["true"]}],
    }


async def ready_namespace(stage: Stage) -> str:
    """A namespace whose integration Runs may use; the controller runs.

    It reaches STS without the fault proxy, which would be one more process on the way.
    """

    def make() -> str:
        namespace = stage.namespace()
        if not stage.controller.runs:
            stage.controller.start({"AWS_ENDPOINT_URL": stage.aws.endpoint})
        stage.integration(namespace)
        stage.cluster.kubectl("wait", f"--namespace={namespace}", "--for=condition=Ready", "awsint/prod")
        return namespace

    return await asyncio.to_thread(make)
