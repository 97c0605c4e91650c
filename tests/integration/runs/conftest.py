"""Every module here begins with a controller that runs, whichever was the one before."""

import pytest

from sandbox.stage import Stage


@pytest.fixture(scope="module", autouse=True)
def _controller(_stage: Stage) -> None:
    """Runs are created by fixtures that come before the first test of a module."""
    if _stage.controller.process.exit_code() is not None:
        _stage.controller.start()
