"""Whether memory stays flat while Runs come and go: each is deleted as soon as it has ended.

    dev/uv run python bench/come_and_go.py [--runs 20000] [--json FILE]

At most some hundreds are there at once, and as many pods: Kubernetes' garbage collector, which deletes these, has no
limit on its requests here, and new Runs wait for it. A kubelet of the benchmark's own reports each pod as running, and
as ended a second later. The controller's memory is read all the time. It grows until all is full that is remembered of
the last Runs; the second half shows whether anything else grows.
"""

import argparse
import asyncio
import statistics
import sys
from typing import Any

from sandbox.bench import result
from sandbox.bench.load import GROUP, Api, Kubelet, how_many, new_run, ready_namespace, until_none, watch_over
from sandbox.bench.manager import UNLIMITED, limit_manager
from sandbox.bench.usage import usage
from sandbox.node.apiserver import read_kubeconfig
from sandbox.parts import Parts, playing
from sandbox.stage import Stage, set_stage

AT_ONCE = 200
"""Runs that are there at once."""
ENDED = "pods reported as Succeeded"
WHEN = {"second": 1, "sixth": 5, "last": 9}
"""Tenths of all Runs, with how many come before."""


def main() -> int:
    parser = result.parser(__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    arguments = parser.parse_args()
    return result.run("come and go", arguments, lambda: measure(arguments), _show)


def measure(arguments: argparse.Namespace) -> result.Facts:
    with set_stage() as stage:
        return asyncio.run(_measure(stage, arguments.runs))


def _show(figures: result.Facts) -> None:
    print(f"{figures['runs']} Runs come and go, {figures['rate']:.0f} a second")
    memory = [f"{figures[when]:.0f} MiB in the {when} tenth" for when in WHEN]
    print(f"  memory: {', '.join(memory)}")
    print(f"  CPU a Run {figures['cpu'] * 1000:.1f} ms")


async def _measure(stage: Stage, count: int) -> dict[str, Any]:
    namespace = await ready_namespace(stage)
    pid = stage.controller.process.pid
    samples: list[float] = []
    await asyncio.to_thread(limit_manager, stage, UNLIMITED)
    async with Api(read_kubeconfig(stage.cluster.kubeconfig)) as api, playing() as parts:
        parts.start("the watch over the controller", watch_over(stage))
        kubelet = await Kubelet.begin(api, namespace, parts)
        before = usage(pid)
        await _create(api, namespace, count, kubelet, parts, samples, pid)
        await until_none(api, f"{GROUP}/namespaces/{namespace}/runs")
        after = usage(pid)
        samples.append(after.rss)
    await asyncio.to_thread(stage.controller.stop)
    tenth = max(1, len(samples) // 10)
    return {
        "runs": count,
        "rate": count / (after.at - before.at),
        "cpu": (after.cpu - before.cpu) / count,
        **{when: statistics.median(samples[first * tenth :][:tenth] or samples) for when, first in WHEN.items()},
        "samples": samples,
    }


async def _create(
    api: Api, namespace: str, count: int, kubelet: Kubelet, parts: Parts, samples: list[float], pid: int
) -> None:
    for first in range(0, count, AT_ONCE // 4):
        while parts.counts["Runs created"] - parts.counts[ENDED] > AT_ONCE * 3 // 4:  # noqa: ASYNC110 - counts give no sign
            await asyncio.sleep(0.05)
        while await how_many(api, f"/api/v1/namespaces/{namespace}/pods") > 2 * AT_ONCE:  # noqa: ASYNC110 - what others delete gives no sign
            await asyncio.sleep(0.5)
        numbers = range(first, min(first + AT_ONCE // 4, count))
        path = f"{GROUP}/namespaces/{namespace}/runs"
        made = (new_run(f"run-{number}", ttlSecondsAfterFinished=0) for number in numbers)
        await asyncio.gather(*(api.post(path, run) for run in made))
        parts.counts["Runs created"] += len(numbers)
        samples.append(usage(pid).rss)
    while len(kubelet.known) < count:  # noqa: ASYNC110 - neither does a set
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
