"""`run` over an API server that restarts; a control plane of its own, because the others' would see refusals."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.controlplane import ControlPlane
from sandbox.plugin import Plugin
from sandbox.process import wait_until
from sandbox.stage import Stage, set_stage

LINES = 10_000
SCRIPT = "i=0; while [ $i -lt 100 ]; do seq $((i * 100 + 1)) $((i * 100 + 100)); i=$((i + 1)); sleep 0.1; done; exit 7"

pytestmark = pytest.mark.slow


@pytest.fixture
def stage() -> Iterator[Stage]:
    """One whose API server may be taken away."""
    with set_stage() as stage:
        stage.controller.start()
        yield stage


def test_no_line_of_a_thousand_a_second_is_lost_or_repeated(stage: Stage, tmp_path: Path) -> None:
    assert isinstance(stage.cluster, ControlPlane)
    namespace = stage.namespace()
    stage.integration(namespace)
    out, err = tmp_path / "out", tmp_path / "err"
    command = ("run", "-n", namespace, "-i", "prod", "--image", "x", "--", "sh", "-c", SCRIPT)
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = Plugin(stage.cluster).start(*command, stdout=stdout, stderr=stderr)
    for lines in (1000, 5000):
        wait_until(lambda lines=lines: out.read_bytes().count(b"\n") > lines, timeout=60, what="lines")  # type: ignore[misc]
        told = err.read_text().count("Trying again.")
        stage.cluster.stop_component("kube-apiserver")
        wait_until(lambda told=told: err.read_text().count("Trying again.") > told, timeout=60, what="the outage told")  # type: ignore[misc]
        stage.cluster.start_component("kube-apiserver")
    assert process.wait(120) == 7, err.read_text()
    assert out.read_text().splitlines() == [str(number) for number in range(1, LINES + 1)]
    assert "Trying again." in err.read_text()
    assert "answers again" in err.read_text()
