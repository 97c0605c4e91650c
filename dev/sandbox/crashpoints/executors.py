"""Who is killed: a controller that is started again, or the one of two that leads."""

from collections.abc import Callable

from sandbox.apiproxy import ApiProxy
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, Controller
from sandbox.crashpoints.judge import Rules
from sandbox.crashpoints.rehearsal import Rehearsal
from sandbox.process import wait_until
from sandbox.stage import Stage

LEADS_WITHIN = 60.0

SETTINGS = {
    # Minutes become seconds, so that what comes after them is seen.
    "SPACELIFT_AWS_STS_TIMEOUT": "4",
    "SPACELIFT_AWS_CONFIRM_AFTER": "1",
    "SPACELIFT_AWS_RETRY_FIRST": "0.5",
    "SPACELIFT_AWS_RETRY_LAST": "2",
    "SPACELIFT_AWS_RETRY_SLOWLY": "4",
    "SPACELIFT_AWS_CREATION_IN_DOUBT": "2",
    "SPACELIFT_AWS_RELIST_EVERY": "20",
    "SPACELIFT_AWS_RENEW_AFTER": "0.003",
    "SPACELIFT_AWS_HELPER_IMAGE": "localhost/spacelift-aws-operator:sandbox",
    "SPACELIFT_AWS_PROBES_PER_SECOND": "300",
}


class OneController:
    """A controller that is killed and started again."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def start(self) -> None:
        self._controller.start()

    def kill(self) -> None:
        self._controller.kill()

    def revive(self) -> None:
        self._controller.start()


class Pair:
    """Two controllers that compete for the Lease: the one that leads is killed, and the other carries on."""

    def __init__(self, stage: Stage) -> None:
        environment = {**stage.controller.environment, "SPACELIFT_AWS_NAMESPACE": NAMESPACE}
        self._leader, self._other = (Controller(stage.cluster, environment, name) for name in ("one", "two"))

    def start(self) -> None:
        """Start both; the first one leads."""
        self._leader.start()
        wait_until(lambda: _leads(self._leader), timeout=LEADS_WITHIN, what="a leader")
        self._other.start()

    def kill(self) -> None:
        self._leader.kill()

    def revive(self) -> None:
        """The one that was killed comes back, and waits in its turn."""
        wait_until(lambda: _leads(self._other), timeout=LEADS_WITHIN, what="the other to lead")
        self._leader, self._other = self._other, self._leader
        self._other.start()


def _leads(controller: Controller) -> bool:
    return "holds Lease" in controller.process.log.read_text()


def rehearsal_on(stage: Stage, api: ApiProxy, say: Callable[[str], None], *, standby: bool = False) -> Rehearsal:
    """Start the controller, or two of them, behind both proxies."""
    kubeconfig = api.kubeconfig(stage.cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT))
    stage.controller.environment["KUBECONFIG"] = str(kubeconfig)
    executor = Pair(stage) if standby else OneController(stage.controller)
    executor.start()
    return Rehearsal(stage, api, executor, Rules.of(SERVICE_ACCOUNT), say)
