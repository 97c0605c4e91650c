"""`run` over an API server that restarts; a control plane of its own, because the others' would see refusals."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.controlplane import ControlPlane
from sandbox.plugin import Plugin
from sandbox.process import wait_until
from sandbox.stage import Stage, set_stage

BATCH = 100
SCRIPT = """
i=0
until test -e {gate}; do seq $((i * 100 + 1)) $((i * 100 + 100)); i=$((i + 1)); sleep 0.1; done
echo $i > {gate}.batches
exit 7
"""
"""A hundred lines, ten times a second, until the gate opens; how many hundreds there were is written beside it."""

pytestmark = pytest.mark.slow


@pytest.fixture
def stage() -> Iterator[Stage]:
    """One whose API server may be taken away."""
    with set_stage() as stage:
        stage.controller.start()
        yield stage


def test_no_line_of_a_thousand_a_second_is_lost_or_repeated(stage: Stage, tmp_path: Path) -> None:
    assert isinstance(stage.cluster, ControlPlane)
    namespace, gate = stage.namespace(), stage.gate()
    stage.integration(namespace)
    out, err = tmp_path / "out", tmp_path / "err"
    script = SCRIPT.format(gate=gate.file)
    command = ("run", "-n", namespace, "-i", "prod", "--image", "x", "--", "sh", "-c", script)
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = Plugin(stage.cluster).start(*command, stdout=stdout, stderr=stderr)

    def lines() -> int:
        return out.read_bytes().count(b"\n")

    def times_told(words: str) -> int:
        assert process.poll() is None, err.read_text()
        return err.read_text().count(words)

    def until_told_again(words: str, before: int) -> None:
        wait_until(lambda: times_told(words) > before, timeout=60, what=words)

    def until_more_lines() -> None:
        before = lines()
        wait_until(lambda: lines() > before + 1000, timeout=60, what="lines")

    for _ in range(2):
        until_more_lines()
        away, back = times_told("Trying again."), times_told("answers again")
        stage.cluster.stop_component("kube-apiserver")
        until_told_again("Trying again.", away)
        stage.cluster.start_component("kube-apiserver")
        until_told_again("answers again", back)
    gate.open()
    assert process.wait(120) == 7, err.read_text()
    printed = BATCH * int(Path(f"{gate.file}.batches").read_text())
    assert out.read_text().splitlines() == [str(number) for number in range(1, printed + 1)]
