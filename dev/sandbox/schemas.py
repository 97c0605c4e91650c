"""The kinds of a running API server as JSON Schemas, a file each, for programs that check manifests by such files."""

import json
from pathlib import Path
from typing import Any

from sandbox.cluster import Cluster

LOCATION = "{{ .Group }}_{{ .ResourceAPIVersion }}_{{ .ResourceKind }}.json"
"""How the files are called, as kubeconform's `-schema-location` says it.

There kinds are in lower case, and the group of what has none is called `v1`."""


def write(cluster: Cluster, folder: Path) -> None:
    """Write the schema of every kind that the API server publishes, closed against fields that it does not know."""
    folder.mkdir()
    paths = json.loads(cluster.kubectl("get", "--raw", "/openapi/v3").stdout)["paths"]
    for path, entry in paths.items():
        if not path.startswith(("api/", "apis/")) or path.count("/") != (1 if path.startswith("api/") else 2):
            continue
        components = json.loads(cluster.kubectl("get", "--raw", entry["serverRelativeURL"]).stdout)["components"]
        schemas = {name: _closed(schema) for name, schema in components.get("schemas", {}).items()}
        for name, schema in schemas.items():
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                group = kind["group"] or kind["version"]
                file = folder / f"{group}_{kind['version']}_{kind['kind'].lower()}.json"
                whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
                file.write_text(json.dumps(whole))


def _closed(schema: Any) -> Any:
    """The schema with every object closed whose fields are all declared."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    open_ = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and not open_:
        closed["additionalProperties"] = False
    return closed
