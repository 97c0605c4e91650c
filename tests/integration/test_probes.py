"""What `/healthz` and `/readyz` answer at each stage of a controller's life."""

import os
import signal
import socket
import sys
import urllib.error
import urllib.request

import pytest

from sandbox.apiproxy import ApiProxy, Fault, Refuse
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT, Controller
from sandbox.ports import free_port
from sandbox.process import wait_until
from sandbox.stage import Stage

pytestmark = pytest.mark.slow

ALIVE = "alive; its event loop was last "

BLOCKABLE = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(30))
from spacelift_aws.__main__ import main
sys.exit(main(["controller"]))
"""
"""A controller whose main thread sleeps when it gets a signal."""


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return free_port()


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """HTTP status and text; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=2) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()
    except OSError as error:
        return 0, str(error)


def test_it_lives_from_the_start_and_is_ready_once_it_has_seen_everything(
    stage: Stage, api: ApiProxy, port: int
) -> None:
    early = Controller(stage.cluster, stage.controller.environment, "early")
    with api.fault(Fault("GET", "/apis/aws.spacelift.io/v1beta1", Refuse(404, "NotFound"))) as definitions:
        early.start({"SPACELIFT_AWS_HEALTH_PORT": str(port)}, wait=False)
        wait_until(lambda: definitions.used > 0, timeout=20, what="a look at the definitions")
        assert ask(port, "/healthz")[1].startswith(ALIVE)
        missing = (503, "waiting for the definition of awsintegrations")
        wait_until(lambda: ask(port, "/readyz") == missing, timeout=30, what="a word about the definitions")
    wait_until(lambda: ask(port, "/readyz") == (200, "ready"), timeout=20, what="readiness")
    status, text = ask(port, "/healthz")
    assert status == 200
    assert text.startswith(ALIVE)
    if socket.has_ipv6:
        assert ask(port, "/readyz", "[::1]") == (200, "ready")
    assert early.process.stop(grace=20) == 0, early.logs
    assert ask(port, "/healthz")[0] == 0


def test_it_is_not_ready_before_the_lists_and_says_which_one_is_missing(stage: Stage, api: ApiProxy, port: int) -> None:
    early = Controller(stage.cluster, stage.controller.environment, "unlisted")
    with api.fault(Fault("GET", "/apis/aws.spacelift.io/v1beta1/runs", Refuse(503, "ServiceUnavailable"))):
        early.start({"SPACELIFT_AWS_HEALTH_PORT": str(port)}, wait=False)
        missing = (503, "waiting for the watch of runs")
        wait_until(lambda: ask(port, "/readyz") == missing, timeout=20, what="a word about the list")
        assert ask(port, "/healthz")[0] == 200
    wait_until(lambda: ask(port, "/readyz") == (200, "ready"), timeout=20, what="readiness")
    assert early.process.stop(grace=20) == 0, early.logs


def test_a_loop_that_is_blocked_says_so_though_it_cannot_speak(stage: Stage, port: int) -> None:
    kubeconfig = stage.cluster.kubeconfig_for(NAMESPACE, SERVICE_ACCOUNT)
    environment = {
        **stage.controller.environment,
        "KUBECONFIG": str(kubeconfig),
        "SPACELIFT_AWS_HEALTH_PORT": str(port),
    }
    process = stage.cluster.run(stage.fresh("blockable"), [sys.executable, "-c", BLOCKABLE], env=environment)
    wait_until(lambda: ask(port, "/readyz") == (200, "ready"), timeout=20, what="readiness")
    os.kill(process.pid, signal.SIGUSR1)
    wait_until(lambda: ask(port, "/healthz")[0] == 503, timeout=25, what="a failing probe")
    assert "the event loop has not turned for 2" in ask(port, "/healthz")[1]
    wait_until(lambda: ask(port, "/healthz")[0] == 200, timeout=15, what="the loop to turn again")
    process.stop()
