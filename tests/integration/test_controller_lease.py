"""Two replicas of the controller: one acts, the other takes over; one that was away acts no more."""

import base64
import http
import json
import os
import signal
import urllib.request
from collections.abc import Iterator

import pytest

from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, Controller
from sandbox.objects import complete, condition
from sandbox.ports import free_port
from sandbox.process import wait_until
from sandbox.stage import Stage

LEASE = "spacelift-aws-controller"
CREDENTIAL = "authentication.kubernetes.io/credential-id"

pytestmark = pytest.mark.slow


class Replica(Controller):
    """A controller that competes for the Lease, under a token of its own, by which the audit log knows it."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._port = free_port()
        environment = {
            **stage.controller.environment,
            "SPACELIFT_AWS_NAMESPACE": NAMESPACE,
            "SPACELIFT_AWS_HEALTH_PORT": str(self._port),
        }
        super().__init__(stage.cluster, environment, name)
        self._stage = stage
        kubeconfig = stage.cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT)
        own = kubeconfig.rename(kubeconfig.with_name(f"{name}.kubeconfig"))
        self.environment["KUBECONFIG"] = str(own)
        claims = json.loads(own.read_text())["users"][0]["user"]["token"].split(".")[1]
        self._credential = "JTI=" + json.loads(base64.urlsafe_b64decode(claims + "=="))["jti"]

    def ready(self) -> bool:
        """Whether its probe says so."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5) as answer:
            return bool(answer.status == http.HTTPStatus.OK)

    def writes(self) -> list[str]:
        """All that it has changed or tried to change so far, but for the Lease."""
        return [
            f"{event.verb} {event.uri}"
            for event in self._stage.cluster.audit_events()
            if self._credential in event.raw["user"].get("extra", {}).get(CREDENTIAL, ())
            and event.verb not in ("get", "list", "watch")
            and event.resource != "leases"
        ]


def without_events(writes: list[str]) -> list[str]:
    return [write for write in writes if not write.endswith("/events") and "/events/" not in write]


@pytest.fixture
def replicas(stage: Stage) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas instead of the stage's controller: the first leads, the second waits."""
    stage.controller.stop()
    one, two = Replica(stage, stage.fresh("one")), Replica(stage, stage.fresh("two"))
    one.start()
    wait_until(lambda: one.leads, timeout=20, what="a replica that leads")
    two.start()
    yield one, two
    for replica in (one, two):
        if replica.process.exit_code() is None:
            replica.kill()


def finished(stage: Stage, namespace: str, names: list[str]) -> None:
    for name in names:
        stage.objects.wait(
            "Run",
            namespace,
            name,
            complete,
            timeout=40,
            what=f"{name} not complete",
        )
        run = stage.objects.get("Run", namespace, name)
        assert condition(run, "Succeeded")["reason"] == "Finished"
    assert stage.objects.list("Secret", namespace) == []
    made = [
        event.name
        for event in stage.cluster.audit_events(namespace)
        if (event.verb, event.resource, event.subresource, event.code) == ("create", "pods", "", 201)
    ]
    assert len(made) == len(set(made)) == len(names)


def test_only_the_one_that_leads_writes_anything(
    stage: Stage, namespace: str, replicas: tuple[Replica, Replica]
) -> None:
    one, two = replicas
    stage.integration(namespace)
    finished(stage, namespace, [stage.run(namespace) for _ in range(5)])
    assert not two.leads
    assert two.ready()
    assert two.writes() == []
    assert len(one.writes()) > 5 * 4


@pytest.mark.parametrize("how", ["asked to end", "killed"])
def test_the_other_takes_over_what_is_under_way(
    stage: Stage, namespace: str, replicas: tuple[Replica, Replica], how: str
) -> None:
    one, two = replicas
    stage.integration(namespace)
    gate = stage.gate()
    before = stage.run(namespace, gate.wait)
    stage.objects.wait("Run", namespace, before, lambda run: (run or {})["status"]["phase"] == "Running")
    leader = stage.cluster.lease_holder(LEASE, NAMESPACE)
    assert leader
    if how == "killed":
        one.kill()
    else:
        assert one.process.stop(grace=20) == 0
        assert stage.cluster.lease_holder(LEASE, NAMESPACE) != leader, (
            "nobody should have to wait until the Lease runs out"
        )
    after = stage.run(namespace)
    gate.open()
    wait_until(lambda: two.leads, timeout=30, what="the other to lead")
    finished(stage, namespace, [before, after])


def test_one_that_wakes_up_after_another_took_over_writes_nothing_and_ends(
    stage: Stage, namespace: str, replicas: tuple[Replica, Replica]
) -> None:
    one, two = replicas
    stage.integration(namespace)
    stage.objects.wait(
        "AwsIntegration", namespace, "prod", lambda body: condition(body, "Ready").get("status") == "True"
    )
    # In the middle of whatever it does about these.
    names = [stage.run(namespace) for _ in range(10)]
    os.kill(one.process.pid, signal.SIGSTOP)
    wait_until(lambda: two.leads, timeout=20, what="the other to lead")
    names += [stage.run(namespace, "sleep 2") for _ in range(10)]
    # An Event that was on its way when the process was paused is sent when it wakes up.
    written = without_events(one.writes())
    os.kill(one.process.pid, signal.SIGCONT)
    wait_until(lambda: one.process.exit_code() is not None, timeout=30, what="the end of the first")
    assert one.process.exit_code() == 1
    finished(stage, namespace, names)
    # One may have asked for the last time whether it may just before the process was paused.
    late = without_events(one.writes())[len(written) :]
    assert len(late) <= 1, late
