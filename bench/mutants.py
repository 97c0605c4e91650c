"""Change one thing in a module that decides, and see whether a unit test notices; again for everything in it.

    dev/uv run python bench/mutants.py run/decide.py [run/authorization.py …] [--tests test_decide.py …]
                                      [--sample 100 --seed 1] [--minutes 8]

Paths are below `operator/spacelift_aws/controllers`. A mutant has a comparison, an operator, a constant or a condition
turned, or a branch taken always or never. Its tests are those of its folder under `tests/unit/controllers`. A mutant
that no test notices survives: it is printed, to be looked at. What is the same program in other words survives rightly.
"""

import argparse
import ast
import copy
import importlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "operator" / "spacelift_aws"
TOO_LONG = 180
"""Seconds after which a mutant counts as noticed: it does not end."""

_TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
}


@dataclass(frozen=True)
class Mutant:
    """One thing changed in a module: which of its nodes, and how."""

    tree: ast.Module
    node: int
    change: Callable[[ast.AST], bool]

    def source(self) -> tuple[str, str]:
        """The module with it, and in words what is changed at which line."""
        changed = copy.deepcopy(self.tree)
        node = next(node for at, node in enumerate(ast.walk(changed)) if at == self.node)
        before, line = ast.unparse(node), getattr(node, "lineno", 0)
        self.change(node)
        return ast.unparse(changed), f"{line}: {_short(before)} -> {_short(ast.unparse(node))}"


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module; docstrings, annotations and messages stay as they are."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.expr | ast.stmt):
            for change in _CHANGES:
                if change(copy.deepcopy(node)):
                    yield Mutant(tree, number, change)


def _short(words: str) -> str:
    return words.splitlines()[0][:90]


def _turn_operator(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _TURNED:
        node.ops[0] = _TURNED[type(node.ops[0])]()  # type: ignore[call-overload]  # the table pairs them
        return True
    # Types are written with `|`, which is left alone.
    if isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in _TURNED:
        node.op = _TURNED[type(node.op)]()  # type: ignore[assignment]  # the table pairs them
        return True
    return False


def _turn_condition(node: ast.AST) -> bool:
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    return False


def _never(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        node.test = ast.Constant(False)
        return True
    return False


def _drop_not(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node.op = ast.UAdd()
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        return True
    return False


def _change_constant(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1
        return True
    return False


def _drop_operand(node: ast.AST) -> bool:
    if isinstance(node, ast.BoolOp) and len(node.values) > 1:
        del node.values[-1]
        return True
    return False


_CHANGES: tuple[Callable[[ast.AST], bool], ...] = (
    _turn_operator,
    _turn_condition,
    _never,
    _drop_not,
    _change_constant,
    _drop_operand,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--tests", nargs="*", default=(), help="only these files of the folder of tests")
    parser.add_argument("--sample", type=int, default=0, help="only so many of each module, by chance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so long")
    options = parser.parse_args()
    _warm_up()
    until = time.monotonic() + options.minutes * 60
    for module in options.modules:
        chosen = list(mutants((PACKAGE / "controllers" / module).read_text()))
        total = len(chosen)
        random.Random(options.seed).shuffle(chosen)
        folder = ROOT / "tests" / "unit" / "controllers" / module.split("/")[0]
        tests = [str(folder / name) for name in options.tests] or [str(folder)]
        _try(module, tests, chosen[: options.sample or None], total, until)
    return 0


def _try(module: str, tests: list[str], chosen: list[Mutant], total: int, until: float) -> None:
    noticed = survived = 0
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PACKAGE, Path(folder) / "spacelift_aws")
        target = Path(folder) / "spacelift_aws" / "controllers" / module
        original = target.read_text()
        if _is_noticed(Path(folder), tests):
            raise SystemExit(f"{module}: its tests fail already")
        for mutant in chosen:
            if time.monotonic() > until:
                break
            source, what = mutant.source()
            target.write_text(source)
            if _is_noticed(Path(folder), tests):
                noticed += 1
                continue
            survived += 1
            print(f"  survives: {module}:{what}", flush=True)
        target.write_text(original)
    print(f"{module}: {noticed} of {noticed + survived} tried were noticed, of {total} mutants", flush=True)


def _warm_up() -> None:
    """What no mutant changes is imported once; every trial is a fork of this process."""
    for name in ("boto3", "hypothesis", "kopf", "kubernetes", "pydantic", "pydantic_settings", "pytest"):
        importlib.import_module(name)


def _is_noticed(folder: Path, tests: list[str]) -> bool:
    child = os.fork()
    if child == 0:
        _run(folder, tests)
    deadline = time.monotonic() + TOO_LONG
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return True
        time.sleep(0.05)
    return done[1] != 0


def _run(folder: Path, tests: list[str]) -> None:
    """In the fork: the tests of this folder, with the mutant."""
    import pytest

    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    options = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--no-header",
        "-o",
        "addopts=--import-mode=importlib",
    ]
    os._exit(int(pytest.main([*tests, *options])))


if __name__ == "__main__":
    raise SystemExit(main())
