"""The chart's policies on what others than executors do: off in most tests, which play somebody whom nothing stops."""

from collections.abc import Callable
from typing import Any

from sandbox.objects import RefusedError
from sandbox.process import wait_until
from sandbox.stage import Stage

ON_OTHERS = ("spacelift-aws-run-secrets", "spacelift-aws-run-pods", "spacelift-aws-run-deletion")
JOBS = {"jobs": {"enabled": True}}
"""The chart's values that have Jobs executed."""


class PoliciesOnOthers:
    """Binds and unbinds them, and waits until the API server acts accordingly, which takes it a moment."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        namespace = stage.namespace()
        name, labels = "aws-run-" + "0" * 26, {"aws.spacelift.io/worker-pool": "none"}
        metadata = {"namespace": namespace, "name": name}
        self._secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
        spec = {"containers": [stage.container("true")]}
        self._pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": labels}, "spec": spec}
        self._namespace, self._run = namespace, stage.run(namespace)

    def bind(self) -> None:
        """The chart as it is."""
        self._stage.controller.install()
        wait_until(lambda: self._refusals() == [True] * 3, timeout=20, what="the policies")

    def unbind(self) -> None:
        """The chart as most tests have it."""
        self._stage.cluster.kubectl("delete", "validatingadmissionpolicybinding", *ON_OTHERS, "--ignore-not-found")
        wait_until(lambda: self._refusals() == [False] * 3, timeout=20, what="the policies' end")

    def install_without(self) -> None:
        """Apply the chart again, and leave them off."""
        self._stage.controller.install()
        self.unbind()

    def _refusals(self) -> list[bool]:
        objects, how = self._stage.objects, {"propagationPolicy": "Orphan", "dryRun": ["All"]}
        return [
            _refused(objects.create, self._secret),
            _refused(objects.create, self._pod),
            _refused(objects.delete, "Run", self._namespace, self._run, **how),
        ]


def _refused(act: Callable[..., object], *args: Any, **options: Any) -> bool:
    try:
        act(*args, **options)
    except RefusedError as error:
        return "denied request" in error.message
    return False


def forget_jobs(stage: Stage) -> None:
    """Take back what the chart brings with `JOBS`."""
    kinds = ("validatingadmissionpolicy", "mutatingadmissionpolicy")
    for kind in (*kinds, *(f"{kind}binding" for kind in kinds)):
        names = ("spacelift-aws-jobs", "spacelift-aws-job-status")
        # Older API servers do not know them all.
        stage.cluster.kubectl("delete", kind, *names, "--ignore-not-found", check=False)
    for kind in ("clusterrole", "clusterrolebinding"):
        names = ("spacelift-aws-controller-jobs", "spacelift-aws-jobs-policy")
        stage.cluster.kubectl("delete", kind, *names, "--ignore-not-found")
