"""A control plane that has nothing of ours yet. There is no node: what is tested are objects."""

from collections.abc import Iterator

import pytest

from sandbox import controlplane
from sandbox.controlplane import ControlPlane

from .releases import install, remove


@pytest.fixture(scope="session")
def bare() -> Iterator[ControlPlane]:
    """A control plane without definitions, which whoever installs something removes it from."""
    with controlplane.start() as cluster:
        yield cluster


@pytest.fixture
def installed(bare: ControlPlane) -> Iterator[ControlPlane]:
    """The operator's chart is installed with default values; afterwards nothing of it is left."""
    install(bare)
    yield bare
    remove(bare)


@pytest.fixture
def nothing_left(bare: ControlPlane) -> Iterator[None]:
    """Whatever a test installs is removed after it."""
    yield
    remove(bare)
