"""Three hundred Runs at once: every one ends well, and nothing is left of it."""

import pytest

from sandbox.objects import condition
from sandbox.process import wait_until
from sandbox.stage import Stage

RUNS = 300


@pytest.mark.slow
def test_hundreds_of_runs_at_once_all_finish(stage: Stage) -> None:
    crowded, *others = namespaces = [stage.namespace() for _ in range(11)]
    for namespace in namespaces:
        stage.integration(namespace)
    for number in range(RUNS):
        # Half of them in one namespace, the others spread.
        stage.run(crowded if number % 2 else others[number // 2 % len(others)])

    def finished() -> int:
        runs = [run for namespace in namespaces for run in stage.objects.list("Run", namespace)]
        return sum(condition(run, "Succeeded").get("status") == "True" for run in runs)

    wait_until(lambda: finished() == RUNS, timeout=120, what=f"{RUNS} Runs to finish", interval=0.5)
    assert [secret for namespace in namespaces for secret in stage.objects.list("Secret", namespace)] == []
    assert stage.controller.process.exit_code() is None
