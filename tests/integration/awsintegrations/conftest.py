"""An integration that is ready."""

import pytest

from sandbox.stage import Stage

from .scene import Scene, is_ready, wait_for


@pytest.fixture
def scene(stage: Stage, namespace: str) -> Scene:
    """An integration that is ready."""
    scene = Scene(stage, namespace, "prod", f"{namespace}-prod")
    stage.role(stage.trust(scene.external_id), scene.role_name)
    stage.integration(namespace, "prod", roleArn=scene.role_arn)
    scene.first = wait_for(scene, is_ready)
    return scene
