"""What the masking helper costs the start of a run's pod on a real node, beside the same pod without it, in one run.

    dev/uv run python bench/mask_pods.py [--pods 20]

Pods of the same template, one after another and in turns with the helper by an image volume, with it by an init
container, and without it, made as the operator makes them. A node whose runtime has no image volumes (containerd before
2.1) says so, and the other two are measured; a newer runtime is taken from the PATH. Measured is the time from the
request that creates the pod to the first line of its command, by the time that the node's container runtime puts in
front of it; the images are on the node. Needs root (`dev/sandbox/realnode`).
"""

import argparse
import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox import controlplane, realnode
from sandbox.components import FOR_NODES
from sandbox.objects import Object, Objects
from sandbox.realnode.build import operator_image
from sandbox.realnode.images import BUSYBOX, busybox
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.pod.helper import Helper, HelperDelivery
from spacelift_aws.controllers.run.pod.refused_helper import refusal_of
from spacelift_aws.controllers.run.pod.view import parse_pod
from spacelift_aws.names import run_id


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=20, help="pods of each kind (default 20)")
    arguments = parser.parse_args()
    operator = operator_image()
    kinds: dict[str, Helper | None] = {
        "with an image volume": Helper(operator.reference, HelperDelivery.IMAGE),
        "with an init container": Helper(operator.reference),
        "without the helper": None,
    }
    with (
        controlplane.start(controllers=FOR_NODES) as cluster,
        realnode.start_node(cluster, images=[busybox(), operator.archive]),
    ):
        objects = Objects(cluster.kubeconfig)
        found: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number in range(arguments.pods + 1):
            for place, kind in enumerate(list(kinds)):
                try:
                    seconds = _start(objects, cluster, len(found) * number + place, kinds[kind])
                except RefusedVolumeError as error:
                    print(error)
                    del kinds[kind]
                    continue
                print(f"pod {number} of {arguments.pods}, {kind}: {seconds:.2f} s", file=sys.stderr, flush=True)
                if number:  # the first of each warms the caches
                    found[kind].append(seconds)
    print(f"{os.cpu_count()} cores, {arguments.pods} pods of each kind: minimum, median, maximum")
    for kind in kinds:
        low, middle, high = min(found[kind]), statistics.median(found[kind]), max(found[kind])
        print(f"  {kind:<22} {low:5.2f} {middle:5.2f} {high:5.2f} s from the creation to the command")
    return 0


class RefusedVolumeError(RuntimeError):
    """The node's runtime has no image volumes."""


def _start(objects: Objects, cluster: controlplane.ControlPlane, number: int, helper: Helper | None) -> float:
    pod = _pod(number, helper)
    name = pod["metadata"]["name"]
    began = time.time()
    objects.create(pod)
    objects.wait("Pod", "default", name, _ended, timeout=60)
    if refused := refusal_of(parse_pod(objects.get("Pod", "default", name) or {}), datetime.now(UTC)):
        objects.delete("Pod", "default", name, gracePeriodSeconds=0)
        raise RefusedVolumeError(refused)
    said = cluster.kubectl("logs", name, "--container=main", "--timestamps").stdout.split()
    if not said:
        raise RuntimeError(f"pod {name} has ended without a line in its log")
    objects.delete("Pod", "default", name, gracePeriodSeconds=0)
    return datetime.fromisoformat(said[0]).timestamp() - began


def _ended(pod: Object | None) -> bool:
    status = (pod or {}).get("status", {})
    if pod is not None and refusal_of(parse_pod(pod), datetime.now(UTC)):
        return True
    if status.get("phase") == "Failed":
        raise RuntimeError(f"the node has failed a pod: {status}")
    return bool(status.get("phase") == "Succeeded")


def _pod(number: int, helper: Helper | None) -> dict[str, Any]:
    """A Run's pod, without the Run and without its Secret, which this is not about."""
    container = {"name": "main", "image": BUSYBOX, "command": ["echo", "here"]}
    created, uid = datetime.now(UTC).replace(microsecond=0), f"00000000-0000-0000-0000-{number:012}"
    metadata = {
        "name": "start",
        "namespace": "default",
        "uid": uid,
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": created.isoformat(),
    }
    spec = {"integrationRef": {"name": "prod"}, "template": {"spec": {"containers": [container]}}}
    run, identifier = Run.model_validate({"metadata": metadata, "spec": spec}), run_id(created, uid)
    expires_at = created + timedelta(hours=1)
    pod = build_pod(
        run,
        identifier,
        role_arn="arn:aws:iam::111111111111:role/deploy",
        executor="bench",
        expires_at=expires_at,
        helper=helper,
    )
    del pod["metadata"]["ownerReferences"]
    del pod["spec"]["containers"][0]["envFrom"]
    return pod


if __name__ == "__main__":
    raise SystemExit(main())
