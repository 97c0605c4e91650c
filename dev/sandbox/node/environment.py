"""The environment and the command line of a container, resolved by the rules of the kubelet.

Pure: what Secrets and ConfigMaps hold is handed in. Rules (kubelet, `makeEnvironmentVariables`): `envFrom` first, later
entries win; then `env` in its order, each value expanded with what is known so far; an optional source that is missing
leaves its variable out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["secret", "configmap"]
Source = tuple[Kind, str]
"""Kind and name; the namespace is always that of the pod."""
Found = Mapping[Source, Mapping[str, str] | None]
"""What each source holds; None for one that does not exist."""

HOSTNAME_LENGTH = 63


class SourceMissing(Exception):
    """A Secret, a ConfigMap or a key is not there (yet). The text is the kubelet's and names no value."""


@dataclass(frozen=True)
class Place:
    """Where the pod runs, for `fieldRef`."""

    node_name: str
    address: str


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable's value, `$$` one `$`; unknown names and unfinished references stay as written."""
    parts: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
        parts.append(text[at:dollar])
        following = text[dollar + 1]
        at = dollar + 2
        if following == "$":
            parts.append("$")
        elif following == "(" and (closing := text.find(")", at)) >= 0:
            name = text[at:closing]
            parts.append(variables.get(name, f"$({name})"))
            at = closing + 1
        else:
            parts.append("$" + following)
    return "".join(parts) + text[at:]


def command_line(container: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """`command` and `args`, expanded.

    The image's own entry point is unknown here; a container without `command` was refused before.
    """
    words = [*container.get("command", []), *container.get("args", [])]
    return [expand(word, variables) for word in words]


def sources(container: Mapping[str, Any]) -> frozenset[Source]:
    """Every Secret and ConfigMap the container's environment is made of."""
    found: set[Source] = set()
    for entry in container.get("envFrom", []):
        if ref := entry.get("secretRef"):
            found.add(("secret", ref["name"]))
        if ref := entry.get("configMapRef"):
            found.add(("configmap", ref["name"]))
    for variable in container.get("env", []):
        origin = variable.get("valueFrom") or {}
        if ref := origin.get("secretKeyRef"):
            found.add(("secret", ref["name"]))
        if ref := origin.get("configMapKeyRef"):
            found.add(("configmap", ref["name"]))
    return frozenset(found)


def resolve(container: Mapping[str, Any], pod: Mapping[str, Any], found: Found, place: Place) -> dict[str, str]:
    """The variables that the container's template asks for.

    Raises SourceMissing for the first required source or key that does not exist.
    """
    result: dict[str, str] = {}
    for entry in container.get("envFrom", []):
        prefix = entry.get("prefix", "")
        for key, value in _whole_source(entry, found).items():
            result[prefix + key] = value
    for variable in container.get("env", []):
        if text := variable.get("value"):
            result[variable["name"]] = expand(text, result)
            continue
        looked_up = _looked_up(variable.get("valueFrom") or {}, pod, found, place)
        if looked_up is not None:
            result[variable["name"]] = looked_up
    return result


def _whole_source(entry: Mapping[str, Any], found: Found) -> Mapping[str, str]:
    kind: Kind = "secret" if entry.get("secretRef") else "configmap"
    ref = entry.get("secretRef") or entry.get("configMapRef") or {}
    data = found[kind, ref["name"]]
    if data is None:
        if ref.get("optional"):
            return {}
        raise SourceMissing(f'{kind} "{ref["name"]}" not found')
    return data


def _looked_up(origin: Mapping[str, Any], pod: Mapping[str, Any], found: Found, place: Place) -> str | None:
    """The value behind `valueFrom` ("" without any), or None where an optional one is missing."""
    if ref := origin.get("fieldRef"):
        return field(ref["fieldPath"], pod, place)
    if ref := origin.get("secretKeyRef"):
        return _key("secret", "Secret", ref, pod, found)
    if ref := origin.get("configMapKeyRef"):
        return _key("configmap", "ConfigMap", ref, pod, found)
    return ""


def _key(kind: Kind, title: str, ref: Mapping[str, Any], pod: Mapping[str, Any], found: Found) -> str | None:
    data = found[kind, ref["name"]]
    if data is not None and ref["key"] in data:
        return data[ref["key"]]
    if ref.get("optional"):
        return None
    if data is None:
        raise SourceMissing(f'{kind} "{ref["name"]}" not found')
    raise SourceMissing(f"couldn't find key {ref['key']} in {title} {pod['metadata']['namespace']}/{ref['name']}")


def field(path: str, pod: Mapping[str, Any], place: Place) -> str:
    """The value of a downward API field; a label or annotation that is not there is empty.

    The API server admits pods with these paths only.
    """
    metadata = pod["metadata"]
    for name in ("labels", "annotations"):
        opening = f"metadata.{name}['"
        if path.startswith(opening):
            return str(metadata.get(name, {}).get(path[len(opening) : -len("']")], ""))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": place.node_name,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.hostIP": place.address,
        "status.hostIPs": place.address,
        "status.podIP": place.address,
        "status.podIPs": place.address,
    }
    return str(values[path])


def hostname(pod: Mapping[str, Any]) -> str:
    """What the container is told its host is called: `spec.hostname` or the pod's name, cut as the kubelet cuts it."""
    name = str(pod["spec"].get("hostname") or pod["metadata"]["name"])
    return name[:HOSTNAME_LENGTH].rstrip("-.")
