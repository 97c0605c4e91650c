"""The masking helper's own tests, in Go; its formatting, what `go vet` finds, and that it builds as it ships."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox import gobuild, maskhelper
from sandbox.progress import to_stderr

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def go() -> Path:
    return gobuild.find_go(maskhelper.MODULE, to_stderr)


def run(program: Path, *arguments: str, **environment: str) -> str:
    ended = subprocess.run(
        [program, *arguments],
        cwd=maskhelper.MODULE,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_its_source_is_formatted(go: Path) -> None:
    beside = go.with_name("gofmt")
    gofmt = beside if beside.exists() else Path(shutil.which("gofmt") or "")
    assert run(gofmt, "-l", ".") == ""


def test_vet_finds_nothing(go: Path) -> None:
    run(go, "vet", "./...")


# Go gives its tests ten minutes; on a crowded machine they need more than other tests have.
@pytest.mark.timeout(660)
def test_its_own_tests_pass(go: Path) -> None:
    run(go, "test", "./...")


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_it_is_built_for_both_architectures_without_a_c_library(go: Path, architecture: str, tmp_path: Path) -> None:
    built = tmp_path / "helper"
    run(go, "build", "-o", str(built), ".", GOARCH=architecture, GOOS="linux", CGO_ENABLED="0")
    # An interpreter would be the dynamic loader's, which an image without a C library does not have.
    program = built.read_bytes()
    assert b"/lib64/ld-" not in program
    assert b"/lib/ld-" not in program
