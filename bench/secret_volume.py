"""What a running pod sees of a mounted Secret that is deleted and made again, and how soon, under a real kubelet.

    dev/uv run python bench/secret_volume.py [--sync 1m] [--pods 6] [--replacements 2] [--missing 30]

Each pod mounts a Secret of its own as `delivery: File` does, and reads the file some hundred times a second: it counts
the reads that found none, or half of one, and notes when each new content showed. Meanwhile each Secret is deleted and
made again, at moments spread over a minute; at last once more with seconds between the two. Needs root, as the node
does. Times are the machine's own, which pods share.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox import controlplane, realnode
from sandbox.components import FOR_NODES
from sandbox.controlplane import ControlPlane
from sandbox.node.apiserver import ApiServer, read_kubeconfig
from sandbox.realnode import images
from spacelift_aws.aws.sts import Credentials
from spacelift_aws.controllers.run.delivery.file import MOUNT_PATH, FileDelivery

NAMESPACE = "/api/v1/namespaces/default"
LONGEST_WAIT = 300.0
SAY_EVERY = 10.0
ENDS_WITHIN = 30.0
"""Seconds. A kubelet takes its time until a pod sees a Secret, but none to end a loop."""

# The shell's own `read` starts no process: thousands of reads a second. Of a line that is not whole it fails.
READER = f"""
last= reads=0 missing=0 half=0 burst=0
trap 'echo end $reads $missing $half; exit 0' TERM
while :; do
  # The kubelet shall find time too.
  burst=$((burst+1))
  if [ $burst = 20 ]; then sleep 0.05; burst=0; fi
  line=
  read -r line 2>/dev/null < {MOUNT_PATH}/credentials.json
  reads=$((reads+1))
  case "$line" in
    '{{"Version": 1,'*'}}') ;;
    '') missing=$((missing+1)) ;;
    *) half=$((half+1)) ;;
  esac
  if [ "$line" != "$last" ] && [ -n "$line" ]; then
    read -r up rest < /proc/uptime
    echo saw $up "$line"
    last=$line
  fi
done
"""


@dataclass(frozen=True)
class Seen:
    """What one pod tells at its end: when it saw which content first, and its counts."""

    at: dict[str, float]
    reads: int
    missing: int
    half: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sync", default="1m", help="the kubelet's syncFrequency (default 1m, as the kubelet's own)")
    parser.add_argument("--pods", type=int, default=6, help="pods, each with a Secret (default 6)")
    parser.add_argument("--replacements", type=int, default=2, help="replacements of each Secret (default 2)")
    parser.add_argument("--missing", type=float, default=30, help="seconds without a Secret, at last (default 30)")
    arguments = parser.parse_args()
    if reason := realnode.unavailable():
        print(f"This machine cannot have a real node: {reason}.", file=sys.stderr)
        return 1
    with (
        controlplane.start(controllers=FOR_NODES) as cluster,
        realnode.start_node(cluster, images=[images.busybox()], kubelet={"syncFrequency": arguments.sync}),
    ):
        asyncio.run(_measure(cluster, arguments))
    return 0


async def _measure(cluster: ControlPlane, arguments: argparse.Namespace) -> None:
    async with ApiServer(read_kubeconfig(cluster.kubeconfig)) as api:
        pods = [f"reader-{number}" for number in range(arguments.pods)]
        _say(f"making {len(pods)} pods, each with a Secret")
        for pod in pods:
            await api.post(f"{NAMESPACE}/secrets", _secret(pod, 0))
            await api.post(f"{NAMESPACE}/pods", _pod(pod))
        for pod in pods:
            await _until(cluster, pod, 0)
        _say(f"{len(pods)} pods read; syncFrequency {arguments.sync}")
        made: dict[str, float] = {}
        gaps: list[float] = []
        rounds = [0.0] * arguments.replacements + [arguments.missing]
        for version, missing in enumerate(rounds, 1):
            await asyncio.gather(*(_replace(api, pod, version, missing, made, gaps) for pod in pods))
            for pod in pods:
                await _until(cluster, pod, version)
            _say(f"replacement {version} of {len(rounds)} has arrived everywhere")
        seen = [await _end(cluster, api, pod) for pod in pods]
    _report(arguments, seen, made, gaps)


async def _replace(
    api: ApiServer, pod: str, version: int, missing: float, made: dict[str, float], gaps: list[float]
) -> None:
    """Delete and make again, some time within a minute, as an executor does."""
    await asyncio.sleep(random.uniform(0, 60))
    await api.delete(f"{NAMESPACE}/secrets/{pod}", {})
    deleted = _uptime()
    if missing:
        await asyncio.sleep(missing)
    await api.post(f"{NAMESPACE}/secrets", _secret(pod, version))
    made[_key(pod, version)] = _uptime()
    _say(f"the Secret of {pod} is replaced for the {version}. time")
    if not missing:
        gaps.append(_uptime() - deleted)


async def _until(cluster: ControlPlane, pod: str, version: int) -> None:
    deadline, said = time.monotonic() + LONGEST_WAIT, time.monotonic()
    while _key(pod, version) not in await _log(cluster, pod):
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            _say(f"pod {pod} has not seen version {version} yet")
        if "Failed" in (await asyncio.to_thread(cluster.kubectl, "get", "pod", pod)).stdout:
            raise RuntimeError(f"pod {pod} has failed: {await _log(cluster, pod)}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"pod {pod} has not seen version {version} within {LONGEST_WAIT:g} s")
        await asyncio.sleep(1)


async def _end(cluster: ControlPlane, api: ApiServer, pod: str) -> Seen:
    """End the pod's loop and read what it tells."""
    await asyncio.to_thread(cluster.kubectl, "exec", pod, "--", "kill", "1")
    lines: list[str] = []
    deadline = time.monotonic() + ENDS_WITHIN
    while not (lines and lines[-1].startswith("end ")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"pod {pod} has not told its counts within {ENDS_WITHIN:g} s of its end")
        lines = (await _log(cluster, pod)).splitlines()
        await asyncio.sleep(0.2)
    at: dict[str, float] = {}
    for line in lines[:-1]:
        _, uptime, content = line.split(" ", 2)
        at[json.loads(content)["AccessKeyId"]] = float(uptime)
    reads, missing, half = (int(word) for word in lines[-1].split()[1:])
    return Seen(at, reads, missing, half)


async def _log(cluster: ControlPlane, pod: str) -> str:
    done = await asyncio.to_thread(cluster.kubectl, "logs", pod, check=False)
    return done.stdout


def _report(arguments: argparse.Namespace, seen: Sequence[Seen], made: dict[str, float], gaps: Sequence[float]) -> None:
    last = arguments.replacements + 1
    arrived: dict[bool, list[float]] = {False: [], True: []}
    for pod in seen:
        for key, at in pod.at.items():
            if key in made:
                arrived[key.endswith(f"-{last}")].append(at - made[key])
    print(f"\nsyncFrequency {arguments.sync}, {arguments.pods} pods, {arguments.replacements} replacements each")
    print(f"  between deletion and creation       {_spread(gaps, 3)} s")
    print(f"  from creation to new content        {_spread(arrived[False], 1)} s")
    print(f"  the same after {arguments.missing:g} s without a Secret {_spread(arrived[True], 1)} s")
    print(f"  reads {sum(one.reads for one in seen):,}, file missing {sum(one.missing for one in seen)}, ", end="")
    print(f"file not whole {sum(one.half for one in seen)}")


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{min(values):.{digits}f} / {statistics.median(values):.{digits}f} / {max(values):.{digits}f}"


def _key(pod: str, version: int) -> str:
    return f"{pod}-{version}"


def _secret(pod: str, version: int) -> dict[str, Any]:
    credentials = Credentials(_key(pod, version), "not-a-key", "not-a-token" * 60, datetime.now(UTC))
    content = FileDelivery().content(credentials, ())
    return {"metadata": {"name": pod}, "stringData": {name: f"{text}\n" for name, text in content.items()}}


def _pod(name: str) -> dict[str, Any]:
    command = ["sh", "-c", READER]
    container: dict[str, Any] = {"name": "main", "image": images.BUSYBOX, "command": command}
    FileDelivery().add_to(container, name)
    spec = {"containers": [container], "volumes": FileDelivery().volumes(name), "restartPolicy": "Never"}
    return {"metadata": {"name": name}, "spec": {**spec, "terminationGracePeriodSeconds": 1}}


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
