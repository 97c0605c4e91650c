"""What a controller costs that has nothing to do: beside unrelated pods, with integrations that are sound or broken.

    dev/uv run python bench/idle.py [--integrations 1000] [--pods 10000] [--seconds 60] [--json FILE]

Three phases for sound integrations and for broken ones, whose role trusts somebody else: from the controller's start
until each has its first verdict, a window right after that, in which trust that is not there is asked about often
because somebody may just be creating the role, and a window after another start, with conditions an hour old. CPU is
the controller's own, from proc(5), and says the same on a busy machine as on a quiet one, give or take a half.
"""

import argparse
import asyncio
import datetime as dt
import sys
import time
from typing import Any

from sandbox.bench import result
from sandbox.bench.fill import fill
from sandbox.bench.load import GROUP, Api, Object, at_once, pod_spec
from sandbox.bench.usage import usage
from sandbox.node.apiserver import MERGE, read_kubeconfig
from sandbox.objects import condition
from sandbox.stage import API_VERSION, Stage, set_stage

A_NAMESPACE = 50
"""Integrations in one namespace; they share a role."""
VERDICTS_WITHIN = 600.0
SETTLED = 10.0
"""Seconds after the last verdict at which a window begins."""


def main() -> int:
    parser = result.parser(__doc__)
    parser.add_argument("--integrations", type=int, default=1_000)
    parser.add_argument("--pods", type=int, default=10_000, help="unrelated pods")
    parser.add_argument("--seconds", type=float, default=60, help="length of a window")
    arguments = parser.parse_args()
    return result.run("idle", arguments, lambda: measure(arguments), _show)


def measure(arguments: argparse.Namespace) -> result.Facts:
    figures: dict[str, Object] = {}
    for kind in ("sound", "broken"):
        with set_stage() as stage:
            figures[kind] = asyncio.run(_measure(stage, arguments, is_sound=kind == "sound"))
        print(f"{kind}: {figures[kind]}", file=sys.stderr, flush=True)
    return {"integrations": arguments.integrations, "pods": arguments.pods, **figures}


def _show(figures: result.Facts) -> None:
    print(f"{figures['integrations']} integrations, {figures['pods']} unrelated pods")
    for kind in ("sound", "broken"):
        found = figures[kind]
        print(f"  {kind}: all verdicts {found['verdicts']:.0f} s after the start, with {found['cpu']:.1f} s of CPU")
        print(f"    then {found['young']:.1%} of a core; after another start, when all is old, {found['old']:.1%}")
        print(f"    memory {found['memory']:.0f} MiB")


async def _measure(stage: Stage, arguments: argparse.Namespace, *, is_sound: bool) -> Object:
    async with Api(read_kubeconfig(stage.cluster.kubeconfig)) as api:
        await _fill_pods(stage, api, arguments.pods)
        count = arguments.integrations
        namespaces = [await asyncio.to_thread(stage.namespace) for _ in range((count + A_NAMESPACE - 1) // A_NAMESPACE)]
        roles = {namespace: await asyncio.to_thread(_role, stage, namespace, is_sound) for namespace in namespaces}

        async def create(number: int) -> None:
            namespace = namespaces[number // A_NAMESPACE]
            name = f"integration-{number % A_NAMESPACE}"
            body = {"apiVersion": API_VERSION, "kind": "AwsIntegration", "metadata": {"name": name}}
            spec = {"roleArn": roles[namespace]}
            await api.post(f"{GROUP}/namespaces/{namespace}/awsintegrations", {**body, "spec": spec})

        await at_once(count, create)
        began = time.monotonic()
        await asyncio.to_thread(_start, stage)
        verdicts = await _all_judged(api, count) - began
        cpu = usage(stage.controller.process.pid).cpu
        young = await _window(stage, arguments.seconds)
        await asyncio.to_thread(stage.controller.stop)
        await _age(api)
        before = await _requests(api)
        await asyncio.to_thread(_start, stage)
        await _asked_again(api, before)
        old = await _window(stage, arguments.seconds)
        memory = usage(stage.controller.process.pid).rss
        await asyncio.to_thread(stage.controller.stop)
    return {"verdicts": verdicts, "cpu": cpu, "young": young, "old": old, "memory": memory}


def _start(stage: Stage) -> None:
    """Without the fault proxy, which would be one more process on the way to STS."""
    stage.controller.start({"AWS_ENDPOINT_URL": stage.aws.endpoint})


def _role(stage: Stage, namespace: str, is_sound: bool) -> str:
    ids = [stage.external_id(namespace, f"integration-{number}") for number in range(A_NAMESPACE)]
    return stage.role(stage.trust(*(ids if is_sound else ["somebody-else"])))


async def _fill_pods(stage: Stage, api: Api, count: int) -> None:
    namespace = await asyncio.to_thread(stage.namespace)
    path = f"/api/v1/namespaces/{namespace}/pods"
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "unrelated"}, "spec": pod_spec()}
    pattern = await api.post(path, pod)
    await fill(stage.cluster.folder / "etcd.sock", f"/registry/pods/{namespace}", pattern, count)


async def _all_judged(api: Api, count: int) -> float:
    """When all have a verdict."""
    async with asyncio.timeout(VERDICTS_WITHIN):
        while True:
            listed = (await api.get(f"{GROUP}/awsintegrations"))["items"]
            judged = sum(condition(one, "TrustVerified").get("status") in ("True", "False") for one in listed)
            print(f"  {judged} of {count} have a verdict", file=sys.stderr, flush=True)
            if judged == count:
                return time.monotonic()
            await asyncio.sleep(2)


async def _asked_again(api: Api, before: dict[str, Any]) -> None:
    """Return when a process that has started has asked about all: each has another request's ID."""
    async with asyncio.timeout(VERDICTS_WITHIN):
        while True:
            now = await _requests(api)
            left = sum(now[key] == before[key] for key in before)
            print(f"  {left} are still to be asked about", file=sys.stderr, flush=True)
            if not left:
                return
            await asyncio.sleep(2)


async def _requests(api: Api) -> dict[str, Any]:
    listed = (await api.get(f"{GROUP}/awsintegrations"))["items"]
    return {one["metadata"]["uid"]: one["status"]["probes"][0].get("requestId") for one in listed}


async def _window(stage: Stage, seconds: float) -> float:
    """Which part of a core the controller takes."""
    await asyncio.sleep(SETTLED)
    before = usage(stage.controller.process.pid)
    await asyncio.sleep(seconds)
    after = usage(stage.controller.process.pid)
    return (after.cpu - before.cpu) / (after.at - before.at)


async def _age(api: Api) -> None:
    """Have all conditions be an hour old."""
    old = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    listed = (await api.get(f"{GROUP}/awsintegrations"))["items"]

    async def age(number: int) -> None:
        metadata, conditions = listed[number]["metadata"], listed[number]["status"]["conditions"]
        path = f"{GROUP}/namespaces/{metadata['namespace']}/awsintegrations/{metadata['name']}/status"
        aged = [{**one, "lastTransitionTime": old} for one in conditions]
        await api.patch(path, {"status": {"conditions": aged}}, MERGE)

    await at_once(len(listed), age)


if __name__ == "__main__":
    sys.exit(main())
