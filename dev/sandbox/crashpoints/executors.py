"""Who is killed: a controller or a pool's worker that is started again, the one of two that leads, the API server, or
everybody but that one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import urllib3

from sandbox.apiproxy import ApiProxy
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, Controller
from sandbox.controlplane import ControlPlane
from sandbox.crashpoints.lives import INTEGRATION, LIVES, Life, Place
from sandbox.crashpoints.rehearsal import Rehearsal, Victim
from sandbox.crashpoints.rules import Rules
from sandbox.objects import Object, Objects
from sandbox.process import wait_until
from sandbox.stage import Stage
from sandbox.worker import SERVICE_ACCOUNT as OF_WORKERS
from sandbox.worker import Worker, tenant

LEADS_WITHIN = 60.0
UNTIL_IT_IS_BACK = urllib3.Retry(
    60, backoff_factor=0.1, backoff_max=1, allowed_methods=None, status_forcelist=(429, 500, 503), raise_on_status=False
)
"""For the hands that play the lives: only the executor is to be troubled."""

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
    """The stage's controller, which runs behind both proxies: it is killed and started again."""

    executors = 1
    rules = Rules.of(SERVICE_ACCOUNT)

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @property
    def pids(self) -> list[int]:
        return [self._stage.controller.process.pid]

    def places(self, lives: Sequence[Life]) -> list[Place]:
        return [Place(self._stage.namespace(), self._trusting, self.rules) for _ in lives]

    def _trusting(self, namespace: str) -> Object:
        return {"roleArn": self._stage.role(self._stage.trust(self._stage.external_id(namespace, INTEGRATION)))}

    def kill(self) -> None:
        self._stage.controller.kill()

    def revive(self) -> None:
        self._stage.controller.start()


class OneOfTwoControllers(OneController):
    """Two controllers that compete for the Lease: the one that leads is killed, and the other carries on."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        environment = {**stage.controller.environment, "SPACELIFT_AWS_NAMESPACE": NAMESPACE}
        self._leader, self._other = (Controller(stage.cluster, environment, name) for name in ("one", "two"))
        self._leader.start()
        wait_until(lambda: self._leader.leads, timeout=LEADS_WITHIN, what="a leader")
        self._other.start()

    @property
    def pids(self) -> list[int]:
        return [self._leader.process.pid]

    def kill(self) -> None:
        self._leader.kill()

    def revive(self) -> None:
        """The one that was killed comes back, and waits in its turn."""
        wait_until(lambda: self._other.leads, timeout=LEADS_WITHIN, what="the other to lead")
        self._leader, self._other = self._other, self._leader
        self._other.start()


class OneWorker:
    """A worker behind both proxies that is killed and started again, beside a controller that is left alone.

    It is told at its start which namespaces it serves, so it starts anew for new ones.
    """

    executors = 1
    replicas: tuple[str, ...] = ("one",)
    rules = Rules.of(OF_WORKERS)

    def __init__(self, stage: Stage, api: ApiProxy) -> None:
        self._stage, self._api = stage, api
        self._home = stage.namespace()
        self._tenant = tenant(stage.aws, self._home)
        self._workers: list[Worker] = []
        """The one that leads comes first."""

    @property
    def pids(self) -> list[int]:
        return [self._workers[0].process.pid]

    def places(self, lives: Sequence[Life]) -> list[Place]:
        namespaces = [self._stage.namespace() for _ in lives]
        for worker in reversed(self._workers):
            worker.stop()
        self._workers = [self._worker(name, (self._home, *namespaces)) for name in self.replicas]
        self._workers[0].install()
        kubeconfig = self._api.kubeconfig(self._stage.cluster.kubeconfig_for(self._home, OF_WORKERS))
        for worker in self._workers:
            worker.environment["KUBECONFIG"] = str(kubeconfig)
            worker.start()
            wait_until(lambda: self._workers[0].leads, timeout=LEADS_WITHIN, what="a worker that leads")
        return [Place(namespace, self._trusting, self.rules) for namespace in namespaces]

    def _worker(self, name: str, namespaces: Sequence[str]) -> Worker:
        stage = self._stage
        environment = {
            **stage.controller.environment,
            **stage.aws.environment(self._tenant.identity, endpoint=stage.proxy.endpoint),
        }
        return Worker(stage.cluster, environment, self._home, name=stage.fresh(name), namespaces=namespaces)

    def _trusting(self, namespace: str) -> Object:
        return {"roleArn": self._tenant.role(namespace), "generateCredentialsInWorker": True}

    def kill(self) -> None:
        self._workers[0].kill()

    def revive(self) -> None:
        self._workers[0].start()


class OneOfTwoWorkers(OneWorker):
    """Two workers of a pool that compete for its Lease: the one that leads is killed, and the other carries on."""

    replicas = ("one", "two")

    def revive(self) -> None:
        """The one that was killed comes back, and waits in its turn."""
        dead, other = self._workers
        wait_until(lambda: other.leads, timeout=LEADS_WITHIN, what="the other worker to lead")
        self._workers = [other, dead]
        dead.start()


class TheApiServer(OneController):
    """The API server is killed and started again on the same data, while the controller goes on."""

    rules = replace(OneController.rules, api_server_restarts=True)

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        assert isinstance(stage.cluster, ControlPlane)
        self._cluster = stage.cluster
        stage.objects = Objects(stage.cluster.kubeconfig, retries=UNTIL_IT_IS_BACK)

    def kill(self) -> None:
        self._cluster.stop_component("kube-apiserver")

    def revive(self) -> None:
        self._cluster.start_component("kube-apiserver")


class Everybody:
    """Two controllers and two pools in one cluster, which all die at once but for the controller that waits."""

    def __init__(self, stage: Stage, api: ApiProxy) -> None:
        self._controllers = OneOfTwoControllers(stage)
        self._pools = (OneWorker(stage, api), OneWorker(stage, api))
        self._played: Counter[Life] = Counter()
        self.executors = len(self._all)

    @property
    def pids(self) -> list[int]:
        return [pid for one in self._all for pid in one.pids]

    @property
    def _all(self) -> tuple[Victim, ...]:
        return (self._controllers, *self._pools)

    def places(self, lives: Sequence[Life]) -> list[Place]:
        """A life that is played several times comes to each in turn."""
        chosen = [self._next(life) for life in lives]
        found: dict[int, Place] = {}
        for one in self._all:
            numbers = [number for number, other in enumerate(chosen) if other is one]
            found |= zip(numbers, one.places([lives[number] for number in numbers]), strict=True)
        return [found[number] for number in range(len(lives))]

    def _next(self, life: Life) -> Victim:
        able = self._all if life.workers_have_a_part else (self._controllers,)
        self._played[life] += 1
        return able[self._played[life] % len(able)]

    def kill(self) -> None:
        for one in self._all:
            one.kill()

    def revive(self) -> None:
        for one in self._all:
            one.revive()


VICTIMS = ("controller", "standby", "worker", "worker-standby", "api-server", "everybody")


def rehearsal_on(stage: Stage, api: ApiProxy, victim: str, say: Callable[[str], None]) -> Rehearsal:
    """Start all that one of VICTIMS needs, and it."""
    if not victim.startswith("worker"):
        kubeconfig = api.kubeconfig(stage.cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT))
        stage.controller.environment["KUBECONFIG"] = str(kubeconfig)
    if victim not in ("standby", "everybody"):
        stage.controller.start()
    return Rehearsal(stage, api, _victim(stage, api, victim), say)


def _victim(stage: Stage, api: ApiProxy, victim: str) -> Victim:
    match victim:
        case "controller":
            return OneController(stage)
        case "standby":
            return OneOfTwoControllers(stage)
        case "worker":
            return OneWorker(stage, api)
        case "worker-standby":
            return OneOfTwoWorkers(stage, api)
        case "api-server":
            return TheApiServer(stage)
        case "everybody":
            return Everybody(stage, api)
    raise ValueError(f"{victim} is none of {', '.join(VICTIMS)}")


def lives_of(victim: str) -> tuple[Life, ...]:
    """Those it has a part in."""
    return tuple(life for life in LIVES if not victim.startswith("worker") or life.workers_have_a_part)
