"""What Argo CD and Flux make of an object, by the scripts and expressions in `examples/`.

Argo CD runs Lua 5.1 with the object as global `obj`. Flux evaluates CEL with the object's fields as variables: first
`inProgress`, then `failed`, then `current`. The first that is true decides; if none is, the object is in progress.
"""

from functools import cache
from typing import Any

import celpy
import yaml
from celpy.adapter import json_to_cel
from lupa.lua51 import LuaRuntime, lua_type

from sandbox.objects import Object
from sandbox.program import ROOT

CUSTOMIZATIONS = ROOT / "examples" / "argo-cd" / "resource_customizations" / "aws.spacelift.io"
KUSTOMIZATION = ROOT / "examples" / "flux" / "kustomization.yaml"


def argo_health(body: Object) -> tuple[str, str]:
    """The health and its message."""
    found = _lua(body, f"{body['kind']}/health.lua")
    return found["status"], found["message"]


def argo_actions(body: Object) -> dict[str, dict[str, Any]]:
    """The actions that Argo CD offers, by name."""
    found: dict[str, dict[str, Any]] = _lua(body, f"{body['kind']}/actions/discovery.lua")
    return found


def argo_action(body: Object, action: str) -> Any:
    """What an action answers: the changed object, or a list of operations."""
    return _lua(body, f"{body['kind']}/actions/{action}/action.lua")


def flux_health(body: Object) -> str:
    """`InProgress`, `Failed` or `Current`."""
    for verdict, program in _expressions(body["kind"]).items():
        variables = {name: json_to_cel(body[name]) for name in ("metadata", "spec", "status") if name in body}
        if program.evaluate(variables):
            return verdict
    return "InProgress"


@cache
def _expressions(kind: str) -> dict[str, Any]:
    environment = celpy.Environment()
    checks = yaml.safe_load(KUSTOMIZATION.read_text())["spec"]["healthCheckExprs"]
    [check] = [check for check in checks if check["kind"] == kind]
    order = {"InProgress": "inProgress", "Failed": "failed", "Current": "current"}
    return {verdict: environment.program(environment.compile(check[field])) for verdict, field in order.items()}


def _lua(body: Object, script: str) -> Any:
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(body, recursive=True)
    return _plain(lua.execute((CUSTOMIZATIONS / script).read_text()))


def _plain(value: Any) -> Any:
    """A Lua table as a list where its keys are 1, 2, …, else as a dictionary."""
    if lua_type(value) != "table":
        return value
    entries = {key: _plain(entry) for key, entry in value.items()}
    if entries and sorted(map(str, entries)) == sorted(str(place + 1) for place in range(len(entries))):
        return [entries[place + 1] for place in range(len(entries))]
    return entries
