"""The plugin as people get it: a wheel in an environment of its own, and one file."""

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from sandbox import binaries
from sandbox.plugin import Plugin
from sandbox.stage import Stage

ROOT = Path(__file__).parents[3]
UV = (str(ROOT / "dev" / "uv"),)
START = 0.4
"""Seconds that `--help` may take."""

pytestmark = pytest.mark.slow


def builder(name: str = "build_zipapp") -> ModuleType:
    """A build script, which is no module of any package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "cli" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin as one file, in a folder that can be on the PATH."""
    return Path(builder().build(tmp_path_factory.mktemp("bin"), UV))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin's wheel in an environment without the operator, and without AWS's SDK."""
    folder = tmp_path_factory.mktemp("tool")
    builder().wheel(folder, UV)
    subprocess.run([*UV, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([*UV, "pip", "install", "--quiet", "--python", python, next(folder.glob("*.whl"))], check=True)
    return folder / "venv" / "bin" / "kubectl-spacelift_aws"


def on_its_own(command: Sequence[str | Path], home: Path, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Call it without anything of this environment but an interpreter; `folders` are on the PATH too."""
    python = Path(sys._base_executable).parent  # type: ignore[attr-defined]
    path = ":".join(map(str, (*folders, python, "/usr/bin", "/bin")))
    environment = {"PATH": path, "HOME": str(home)}
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.mark.parametrize("kind", ["one_file", "installed"])
def test_it_works_without_the_operator(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    program = request.getfixturevalue(kind)
    for arguments in (("--help",), ("explain", "Verified"), ("run", "--help")):
        done = on_its_own([program, *arguments], tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done
    principal = ("--installation", "acme", "--principal", "arn:aws:iam::111111111111:role/operator")
    for form in ("json", "terraform", "cloudformation", "pulumi", "aws"):
        done = on_its_own([program, "trust-policy", "payments/prod", *principal, "--format", form], tmp_path)
        assert "acme@payments@prod" in done.stdout, done.stderr
    made = on_its_own([program, "create-role", "payments/prod", *principal, "--apply", "--yes"], tmp_path)
    assert made.returncode == 125
    assert "AWS could not be asked" in made.stderr if kind == "one_file" else "needs boto3" in made.stderr


def test_krew_installs_it(one_file: Path, tmp_path: Path) -> None:
    archive, manifest = builder("build_krew").build(one_file.parent)
    programs = binaries.ensure("krew", "kubectl")
    offline = ("install", f"--manifest={manifest}", f"--archive={archive}")
    done = on_its_own([programs["krew"], *offline], tmp_path)
    assert done.returncode == 0, done.stderr
    called: list[str | Path] = [programs["kubectl"], "spacelift-aws", "explain", "Verified"]
    done = on_its_own(called, tmp_path, tmp_path / ".krew" / "bin")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "TrustVerified" in done.stdout


def test_the_same_file_gives_the_same_archive(one_file: Path, tmp_path: Path) -> None:
    archives = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(one_file, folder)
        archives.append(builder("build_krew").build(folder)[0].read_bytes())
    assert archives[0] == archives[1]


@pytest.mark.parametrize("kind", ["one_file", "installed"])
def test_help_comes_at_once(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    program = request.getfixturevalue(kind)
    on_its_own([program, "--help"], tmp_path)

    def seconds() -> float:
        """Of a processor: on a machine with nothing else to do, all there is."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        on_its_own([program, "--help"], tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(10)) < START


def test_one_file_is_the_same_each_time(one_file: Path, tmp_path: Path) -> None:
    assert Path(builder().build(tmp_path, UV)).read_bytes() == one_file.read_bytes()


def test_one_file_through_kubectl_and_where_nothing_can_be_kept(
    stage: Stage, namespace: str, one_file: Path, tmp_path: Path
) -> None:
    stage.integration(namespace)
    plugin = Plugin(stage.cluster)
    folder = Path(sys._base_executable).parent  # type: ignore[attr-defined]
    plugin.environment.update(PATH=f"{one_file.parent}:{folder}:{os.environ['PATH']}", XDG_CACHE_HOME="/proc/nowhere")
    done = plugin.run("run", "-n", namespace, "-i", "prod", "--image", "x", "--", "sh", "-c", "echo here; exit 4")
    assert (done.returncode, done.stdout) == (4, "here\n"), done.stderr
