"""The command line: what there is, and that it is written down."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spacelift_aws_cli.main import app

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "cli.md").read_text()
NAMES = [str(getattr(one.callback, "__name__", "")).replace("_", "-") for one in app.registered_commands]
ALLOWED = {"spacelift_aws", "spacelift_aws_cli", "typer", "rich", "yaml", "boto3", "botocore"}


def test_every_command_has_a_row_and_every_row_a_command() -> None:
    table = PAGE.partition("| Command |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert "\n\n" in done.output


def test_a_command_that_does_not_exist_is_a_wrong_command_line() -> None:
    assert CliRunner().invoke(app, ["nothing"]).exit_code == 2


def imports(path: Path) -> set[str]:
    """The modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def shared() -> list[str]:
    """The operator's modules that are copied into the plugin."""
    text = (ROOT / "cli" / "hatch_build.py").read_text()
    return re.findall(r'^    "([a-z_/]+\.py)",$', text, re.MULTILINE)


def module(name: str) -> str:
    """How a file of the operator is imported."""
    return "spacelift_aws." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_the_shared_modules_need_nothing_but_each_other() -> None:
    known = {
        "spacelift_aws." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in shared()
    }
    known.add("spacelift_aws")
    for name in shared():
        used = imports(ROOT / "operator" / "spacelift_aws" / name)
        assert {one for one in used if one.startswith("spacelift_aws")} <= known, name
        assert {one.partition(".")[0] for one in used} - {"spacelift_aws"} <= set(sys.stdlib_module_names), name


def test_the_plugin_uses_only_what_it_brings() -> None:
    known = {
        "spacelift_aws." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in shared()
    }
    for path in (ROOT / "cli" / "spacelift_aws_cli").rglob("*.py"):
        used = imports(path)
        assert {one.partition(".")[0] for one in used} <= ALLOWED | set(sys.stdlib_module_names), path
        assert {one for one in used if one.startswith("spacelift_aws.")} <= known, path


def test_models_do_not_reach_outside() -> None:
    outside = {"os", "socket", "subprocess", "http", "time", "sys", "pathlib", "threading", "boto3"}
    for path in (ROOT / "cli" / "spacelift_aws_cli" / "model").glob("*.py"):
        assert {one.partition(".")[0] for one in imports(path)} & outside == set(), path


def test_help_loads_neither_tls_nor_yaml_nor_rich_nor_boto3() -> None:
    assert importlib.util.find_spec("boto3") is not None
    program = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from spacelift_aws_cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('LOADED', {'ssl', 'http.client', 'yaml', 'rich', 'boto3', 'pydantic', 'kubernetes'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "LOADED set()"
