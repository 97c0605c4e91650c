"""One tenant's integrations do not delay another's."""

import time

import pytest

from sandbox.faults import (
    Match,
    Rule,
)
from sandbox.stage import Stage

from .scene import Scene
from .verified import finish

pytestmark = pytest.mark.slow


def test_many_broken_integrations_of_one_tenant_delay_no_other(stage: Stage, namespace: str) -> None:
    """Sixty of them, answered late, each with a Run that waits for it: they would take forty seconds by themselves."""
    broken = [Scene(stage, namespace, f"broken-{number}", f"{namespace}-{number}") for number in range(60)]
    slow = {scene.role_arn for scene in broken}
    for arn in slow:
        stage.proxy.add(Rule(Match(role_arn=arn), delay=2))
    for scene in broken:
        stage.integration(namespace, scene.name, roleArn=scene.role_arn)
        stage.run(namespace, integration=scene.name)
    good = Scene(stage, stage.namespace(), "prod", f"{namespace}-good")
    stage.role(stage.trust(good.external_id), good.role_name)
    stage.integration(good.namespace, roleArn=good.role_arn)
    started = time.monotonic()
    finish(good, stage.run(good.namespace))
    taken = time.monotonic() - started
    judged = {call.role_arn for call in stage.proxy.calls if call.role_arn in slow}
    # Counted and not timed: a busy machine slows both sides alike.
    assert len(judged) < len(broken), f"the others were all served first, in {taken:.1f} s"
