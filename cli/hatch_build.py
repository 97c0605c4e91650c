"""Brings the modules that the plugin shares with the operator into what is built of it.

The operator's distribution needs Kopf, aiohttp and compiled packages; the few modules below need nothing but Python.
So they are copied into the wheel, and into the sdist, from which a wheel may be built elsewhere. An editable install
takes them from the operator itself, beside which it lies.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHARED = (
    "__init__.py",
    "names.py",
    "api/__init__.py",
    "api/explanations.py",
    "api/reasons.py",
    "aws/__init__.py",
    "aws/arns.py",
    "aws/console.py",
    "aws/policies.py",
)


class SharedModules(BuildHookInterface[Any]):
    """Adds the shared modules to wheel and sdist."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before anything is collected."""
        if version == "editable":
            return
        root = Path(self.root)
        beside = root.parent / "operator" / "spacelift_aws"
        source = beside if beside.is_dir() else root / "spacelift_aws"
        for name in SHARED:
            build_data["force_include"][str(source / name)] = f"spacelift_aws/{name}"
