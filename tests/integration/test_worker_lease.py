"""How a pool's replicas begin and end, by the Lease that they compete for."""

from collections.abc import Callable, Iterator

import pytest

from sandbox.apiproxy import ApiProxy, Fault, Hold
from sandbox.objects import condition
from sandbox.process import Process, wait_until
from sandbox.stage import Stage
from sandbox.worker import SERVICE_ACCOUNT, Worker, tenant

LEASE = "spacelift-aws-worker-build"
pytestmark = pytest.mark.slow

MakeReplica = Callable[[str], Worker]


@pytest.fixture
def replica(stage: Stage, namespace: str) -> Iterator[MakeReplica]:
    """Makes replicas of one pool in `namespace`, by name; an integration `prod` is there for it."""
    who = tenant(stage.aws, stage.fresh("tenant"))
    stage.integration(namespace, trusted=False, roleArn=who.role_arn, generateCredentialsInWorker=True)
    settings = {name: value for name, value in stage.controller.environment.items() if name.startswith("SPACELIFT_")}
    environment = {**stage.aws.environment(who.identity, endpoint=stage.proxy.endpoint), **settings}
    made: list[Worker] = []

    def make(name: str) -> Worker:
        worker = Worker(stage.cluster, environment, namespace, pool="build", name=name)
        if not made:
            worker.install()
        made.append(worker)
        return worker

    yield make
    for worker in made:
        if worker.process.exit_code() is None:
            worker.kill()


def until_leads(worker: Worker, timeout: float = 20) -> None:
    wait_until(lambda: worker.leads, timeout=timeout, what="a replica that leads")


def until_ended(process: Process, timeout: float) -> int | None:
    wait_until(lambda: process.exit_code() is not None, timeout=timeout, what="the end of a replica")
    return process.exit_code()


def end_in_order(worker: Worker, stage: Stage, namespace: str) -> None:
    """Who leads and is asked to end gives the Lease back, so nobody has to wait until it runs out."""
    leader = stage.cluster.lease_holder(LEASE, namespace)
    assert leader
    assert worker.process.stop(grace=20) == 0
    assert stage.cluster.lease_holder(LEASE, namespace) != leader


def finished(stage: Stage, namespace: str, timeout: float = 30) -> None:
    name = stage.run(namespace, workerPool="build")
    stage.objects.wait(
        "Run", namespace, name, lambda run: condition(run, "Succeeded").get("status") == "True", timeout=timeout
    )


def test_asked_to_end_a_replica_does_so_at_once_and_another_carries_on(
    stage: Stage, namespace: str, replica: MakeReplica
) -> None:
    one, two = replica("one"), replica("two")
    one.start()
    until_leads(one)
    two.start()
    assert not two.leads
    end_in_order(one, stage, namespace)
    until_leads(two)
    finished(stage, namespace)
    three = replica("three")
    three.start()
    assert not three.leads
    assert three.process.stop(grace=20) == 0
    assert "Traceback" not in one.logs + three.logs
    end_in_order(two, stage, namespace)
    assert stage.cluster.lease_holder(LEASE, namespace) == ""


def test_a_replica_that_is_killed_is_replaced(stage: Stage, namespace: str, replica: MakeReplica) -> None:
    one, two = replica("one"), replica("two")
    one.start()
    until_leads(one)
    two.start()
    one.kill()
    until_leads(two, timeout=20)
    finished(stage, namespace)


def test_who_loses_the_lease_to_another_ends_with_an_error(stage: Stage, namespace: str, replica: MakeReplica) -> None:
    one = replica("one")
    one.start()
    until_leads(one)
    patch = '{"spec": {"holderIdentity": "somebody"}}'
    stage.cluster.kubectl("patch", f"lease/{LEASE}", "-n", namespace, "--type=merge", "-p", patch)
    assert until_ended(one.process, 10) == 1
    assert "is held by another replica" in one.logs
    assert stage.cluster.lease_holder(LEASE, namespace) == "somebody"


@pytest.mark.parametrize("how", ["renewals hang", "no connection"])
def test_who_cannot_renew_ends_with_an_error_before_another_begins(
    stage: Stage, namespace: str, replica: MakeReplica, how: str
) -> None:
    one, two = replica("one"), replica("two")
    with ApiProxy(stage.cluster) as proxy:
        direct = stage.cluster.kubeconfig_for(namespace, SERVICE_ACCOUNT)
        one.environment["KUBECONFIG"] = str(proxy.kubeconfig(direct))
        one.start()
        until_leads(one)
        two.start()
        if how == "renewals hang":
            with proxy.fault(Fault("PATCH", "/leases/spacelift-aws-worker-build", Hold())):
                assert until_ended(one.process, 20) == 1
    assert until_ended(one.process, 20) == 1
    assert "was not renewed in time" in one.logs
    assert not two.leads
    until_leads(two, timeout=20)
    finished(stage, namespace)
