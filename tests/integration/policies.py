"""The chart's policies on what others than executors do: off in most tests, which play somebody whom nothing stops."""

from http import HTTPStatus

from sandbox.objects import Answer, RefusedError
from sandbox.process import wait_until
from sandbox.stage import Stage

ON_OTHERS = ("spacelift-aws-run-secrets", "spacelift-aws-run-pods", "spacelift-aws-run-deletion")
JOBS = {"jobs": {"enabled": True}}
"""The chart's values that have Jobs executed."""


class PoliciesOnOthers:
    """Binds and unbinds them, and waits until the API server acts accordingly, which takes it a moment."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._namespace = stage.namespace()

    def bind(self) -> None:
        """The chart as it is."""
        self._stage.controller.install()
        self._wait_for_refusals(told=True)

    def unbind(self) -> None:
        """The chart as most tests have it."""
        self._stage.cluster.kubectl("delete", "validatingadmissionpolicybinding", *ON_OTHERS, "--ignore-not-found")
        self._wait_for_refusals(told=False)

    def install_without(self) -> None:
        """Apply the chart again, and leave them off."""
        self._stage.controller.install()
        self.unbind()

    def _wait_for_refusals(self, *, told: bool) -> None:
        # A Run of its own each time: between modules of tests all Runs are taken away.
        run = self._stage.run(self._namespace)
        what = "the policies" if told else "the policies' end"
        wait_until(lambda: self._refusals(run) == [told] * 3, timeout=20, what=what)

    def _refusals(self, run: str) -> list[bool | None]:
        """Of each of them, whether it refuses what is tried here without a trace."""
        labels = {"aws.spacelift.io/worker-pool": "none"}
        metadata = {"namespace": self._namespace, "name": "aws-run-" + "0" * 26}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
        spec = {"containers": [self._stage.container("true")]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": labels}, "spec": spec}
        core = f"/api/v1/namespaces/{self._namespace}"
        run_path = f"/apis/aws.spacelift.io/v1beta1/namespaces/{self._namespace}/runs/{run}"
        ask = self._stage.objects.request
        return [
            _refused(ask("POST", f"{core}/secrets?dryRun=All", secret)),
            _refused(ask("POST", f"{core}/pods?dryRun=All", pod)),
            _refused(ask("DELETE", f"{run_path}?dryRun=All&propagationPolicy=Orphan")),
        ]


def _refused(answer: Answer) -> bool | None:
    """Whether a policy denied it; None where a crowded API server did not come to it.

    What else the API server has against it would be a mistake of the question.
    """
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    message = str(answer.content.get("message", ""))
    if answer.status >= 400 and "denied request" not in message:
        raise RefusedError(answer.status, message)
    return answer.status >= 400


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
