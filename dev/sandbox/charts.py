"""The project's Helm charts, rendered: what is in them is what the tests and the demo run under."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox import binaries
from sandbox.program import ROOT

OPERATOR = ROOT / "charts" / "spacelift-aws-operator"
WORKER = ROOT / "charts" / "spacelift-aws-worker"

Document = dict[str, Any]


class ChartError(RuntimeError):
    """Helm refuses a chart or its values; the text is Helm's."""


def render(
    chart: Path, namespace: str, values: Mapping[str, Any] | None = None, *, release: str = "spacelift-aws"
) -> str:
    """What `helm template` makes of a chart, without its test, as YAML documents; raises ChartError."""
    helm = binaries.ensure("helm")["helm"]
    done = subprocess.run(
        [helm, "template", release, chart, f"--namespace={namespace}", "--skip-tests", "--values=-"],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ChartError(done.stderr.strip())
    return done.stdout


def documents(rendered: str) -> list[Document]:
    """The objects in YAML documents."""
    return [document for document in yaml.safe_load_all(rendered) if document]


def beside(chart: Path, namespace: str, values: Mapping[str, Any] | None = None) -> str:
    """A chart without pods of its own, for a program that is started beside the cluster."""
    return render(chart, namespace, {"replicas": 0, **(values or {})})
