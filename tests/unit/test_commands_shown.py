"""Every command that the pages and the examples show exists, with these options."""

import re
import subprocess
from functools import cache
from typing import Any

import pytest
import typer
from typer.main import get_command

from sandbox import binaries, pages
from sandbox.program import ROOT
from spacelift_aws_cli.main import app

PLUGIN = pages.commands("kubectl spacelift-aws") | pages.commands("kubectl-spacelift_aws")
OTHERS = {
    (program, tuple(words)): place
    for program in ("kubectl", "helm")
    for place, words in pages.commands(program).items()
    if words[0] not in ("spacelift-aws", "krew")
}
SHELL = list(pages.blocks("sh"))
GROUP: Any = get_command(app)


@cache
def known_options(program: str, *verbs: str) -> set[str]:
    """All options that a command of kubectl or helm has, by its own help. What is no command has none."""
    path = str(binaries.ensure(program)[program])
    texts = [subprocess.run([path, *verbs, "--help"], capture_output=True, text=True).stdout]
    if program == "kubectl":
        texts.append(subprocess.run([path, "options"], capture_output=True, text=True).stdout)
    if not re.search(rf"^ *{program} {' '.join(verbs)}\b", texts[0], re.MULTILINE):
        return set()
    return set(re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", "\n".join(texts)))


@pytest.mark.parametrize("place", PLUGIN)
def test_the_plugin_takes_it(place: str) -> None:
    name, *words = PLUGIN[place]
    if name in ("COMMAND", "--help"):
        return
    command = GROUP.get_command(typer.Context(GROUP), name)
    assert command is not None, f"no command {name}"
    try:
        command.make_context(name, words, parent=typer.Context(GROUP))
    except Exception as error:
        # Prose names a command without all that it needs.
        if type(error).__name__ != "MissingParameter":
            raise


@pytest.mark.parametrize("line", OTHERS, ids=OTHERS.values())
def test_kubectl_and_helm_take_it(line: tuple[str, tuple[str, ...]]) -> None:
    program, words = line
    depth = 3 if words[:2] == ("create", "secret") else 2 if words[0] in ("auth", "rollout", "set") else 1
    verbs = words[:depth]
    known = known_options(program, *verbs)
    assert known, f"{program} has no command {' '.join(verbs)}"
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    assert [option for option in options if option not in known] == []


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_a_shell_can_read_it(block: pages.Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_the_files_that_it_names_exist(block: pages.Block) -> None:
    named = re.findall(r"(?<![\w/])((?:dev|bench|charts|docs|cli|examples|crds)/[\w./-]+)", block.text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_examples_are_those_of_the_pages() -> None:
    """`first-run` is that of the README with fixed names; Argo CD's scripts are files of their own."""
    shown = {block.text for block in pages.blocks("yaml", "groovy", "dockerfile")}
    files = [
        file
        for file in pages.EXAMPLES.rglob("*")
        if file.is_file() and file.parent.name != "first-run" and "resource_customizations" not in file.parts
    ]
    assert len(files) > 8
    assert [str(file) for file in files if file.read_text() not in shown] == []
