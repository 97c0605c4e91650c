"""Whose calls are judged, and what its role lets it do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sandbox.program import ROOT


@dataclass(frozen=True)
class Rules:
    """Whose calls are judged, and what its role lets it do: verb, group and resource."""

    user_ends: str
    allowed: frozenset[tuple[str, str, str]]
    api_server_restarts: bool = False
    """It then forbids everything for a moment, and does not know whether a pod was there before its start."""

    @classmethod
    def of(cls, role: str) -> "Rules":
        """The rules of one of the roles that `install.yaml` has; accounts are called as their roles."""
        documents = yaml.load_all((ROOT / "install.yaml").read_bytes(), Loader=yaml.CSafeLoader)
        wanted = [body for body in documents if body and body["kind"] in ("ClusterRole", "Role")]
        rules = [
            rule for body in wanted if body["metadata"]["name"] in (role, f"{role}-lease") for rule in body["rules"]
        ]
        return cls(f":{role}", frozenset(_spelt_out(rules)))


def _spelt_out(rules: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str, str]]:
    for rule in rules:
        for group in rule.get("apiGroups", ()):
            for resource in rule.get("resources", ()):
                for verb in rule["verbs"]:
                    yield verb, group, resource
