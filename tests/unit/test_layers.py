"""The house's order: who may import whom, where Kopf is known, and that a name means one thing."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import spacelift_aws

ROOT = Path(spacelift_aws.__file__).parent

LAYERS = (
    ("names", "backoff", "clock", "metrics", "settings", "tracing"),
    ("audit", "api"),
    ("aws",),
    ("kube", "logs"),
    ("runtime",),
    ("controllers",),
    ("roles",),
    ("commands",),
    ("__main__",),
)
"""From the bottom up. Whoever is in one imports from below only."""


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted(ROOT.rglob("*.py")):
        yield file.relative_to(ROOT), ast.parse(file.read_text())


def room(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def imports(module: ast.Module) -> Iterator[str]:
    """Every imported module, wherever the import stands."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "spacelift_aws":
            yield from (f"spacelift_aws.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {room(path) for path, _ in sources()} - {"__init__"}
    assert rooms == {name for layer in LAYERS for name in layer}


def test_nobody_imports_from_above_or_beside() -> None:
    height = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    wrong = [
        f"{path} imports {name}"
        for path, module in sources()
        for name in imports(module)
        if name.startswith("spacelift_aws.") and name.split(".")[1] != room(path)
        if height[name.split(".")[1]] >= height[room(path)]
    ]
    assert wrong == []


def test_only_its_adapter_knows_kopf() -> None:
    knowing = {
        path.parent for path, module in sources() if any(name.split(".")[0] == "kopf" for name in imports(module))
    }
    assert knowing == {Path("runtime/kopf_adapter")}


def test_no_type_has_the_name_of_another() -> None:
    defined: defaultdict[str, list[str]] = defaultdict(list)
    for path, module in sources():
        for name in types(module):
            defined[name].append(str(path))
    twice = {name: paths for name, paths in defined.items() if len(paths) > 1}
    assert twice == {}


def types(module: ast.Module) -> Iterator[str]:
    """Classes and aliases of types that others may import; variables of types are local."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and "TypeVar" not in ast.dump(node):
            name = node.targets[0].id
        else:
            continue
        if name[0].isupper() and not name.isupper():
            yield name
