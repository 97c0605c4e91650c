"""What the chart renders is what the API server stores: tools that compare the two find nothing changed."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from sandbox.charts import OPERATOR, documents, helm
from sandbox.controller import NAMESPACE
from sandbox.controlplane import ControlPlane

from .releases import RELEASE, get

pytestmark = pytest.mark.slow

WHOLE = ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy", "CustomResourceDefinition")
"""Kinds, and their bindings, whose defaults no tool knows: for them the rendered spec has to be the stored one."""

VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "replicas": 2,
        "jobs": {"enabled": True},
        "watchNamespaces": ["rendered-one", "rendered-two"],
        "runDisruptionBudget": {"namespaces": ["rendered-one"]},
        "installation": "acme",
    },
}


def differences(rendered: Any, live: Any, place: str, whole: bool) -> Iterator[str]:
    """Where the stored object is another than the rendered one, or with `whole` has more."""
    if isinstance(rendered, Mapping) and isinstance(live, Mapping):
        for key, value in rendered.items():
            if key not in live and value in (None, [], {}, ""):
                yield from [f"{place}.{key}: {value!r} is not stored"] if whole else []
            else:
                yield from differences(value, live.get(key), f"{place}.{key}", whole)
        if whole:
            yield from (f"{place}.{key}: filled in with {live[key]!r}" for key in live if key not in rendered)
    elif isinstance(rendered, list) and isinstance(live, list) and len(rendered) == len(live):
        for index, value in enumerate(rendered):
            yield from differences(value, live[index], f"{place}[{index}]", whole)
    elif rendered != live:
        yield f"{place}: {rendered!r} is stored as {live!r}"


@pytest.mark.parametrize("values", VALUES.values(), ids=list(VALUES))
def test_every_object_is_stored_as_it_is_rendered(
    bare: ControlPlane, nothing_left: None, values: dict[str, Any]
) -> None:
    for namespace in values.get("watchNamespaces", ()):
        bare.kubectl("create", "namespace", namespace)
    helm(bare, "install", RELEASE, OPERATOR, "--namespace", NAMESPACE, "--create-namespace", values=values)
    found = documents(helm(bare, "get", "manifest", RELEASE, "--namespace", NAMESPACE))
    assert len(found) > 10
    assert {"Deployment", "ClusterRole", "ValidatingAdmissionPolicy"} <= {body["kind"] for body in found}
    wrong = [line for body in found for line in _compared(bare, body)]
    for namespace in values.get("watchNamespaces", ()):
        bare.kubectl("delete", "namespace", namespace, "--wait=false")
    assert wrong == [], yaml.safe_dump(wrong)


def _compared(cluster: ControlPlane, body: dict[str, Any]) -> Iterator[str]:
    metadata = body["metadata"]
    group = body["apiVersion"].partition("/")[0] if "/" in body["apiVersion"] else ""
    kind = f"{body['kind']}.{body['apiVersion'].rpartition('/')[2]}.{group}" if group else body["kind"]
    live = get(cluster, kind, metadata["name"], f"--namespace={metadata.get('namespace', 'default')}")
    whole = body["kind"].removesuffix("Binding") in WHOLE
    for key in body.keys() - {"apiVersion", "kind"}:
        yield from differences(
            body[key], live.get(key), f"{body['kind']}/{metadata['name']}.{key}", whole and key == "spec"
        )
