"""The plugin, called through kubectl."""

import pytest

from sandbox.plugin import Plugin
from sandbox.stage import Stage


@pytest.fixture
def plugin(stage: Stage) -> Plugin:
    """As the cluster's administrator."""
    return Plugin(stage.cluster)
