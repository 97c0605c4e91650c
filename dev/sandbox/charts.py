"""The project's Helm charts, rendered: what is in them is what the tests and the demo run under."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sandbox import binaries
from sandbox.cluster import Cluster
from sandbox.program import ROOT

OPERATOR = ROOT / "charts" / "spacelift-aws-operator"
WORKER = ROOT / "charts" / "spacelift-aws-worker"

Document = dict[str, Any]


class ChartError(RuntimeError):
    """Helm refuses a chart, its values, or what was to be done with it; the text is Helm's."""


def render(chart: Path, namespace: str, values: Mapping[str, Any] | None = None, *, tests: bool = False) -> str:
    """What `helm template` makes of a chart, by default without its test, as YAML documents; raises ChartError."""
    words = ("template", "spacelift-aws", chart, f"--namespace={namespace}", f"--skip-tests={not tests}")
    return _run(words, values or {})


def helm(
    cluster: Cluster, *words: str | Path, values: Mapping[str, Any] | None = None, kubeconfig: Path | None = None
) -> str:
    """Run Helm as the administrator, or as whom `kubeconfig` says; what it printed. Raises ChartError."""
    environment = cluster.kubectl_environment(kubeconfig)
    for kind in ("CACHE", "CONFIG", "DATA"):
        environment[f"HELM_{kind}_HOME"] = str(cluster.folder / "helm")
    return _run(words, values, environment)


def _run(
    words: Sequence[str | Path], values: Mapping[str, Any] | None, environment: Mapping[str, str] | None = None
) -> str:
    program = binaries.ensure("helm")["helm"]
    given = [] if values is None else ["--values=-"]
    done = subprocess.run(
        [program, *words, *given], input=json.dumps(values), capture_output=True, text=True, env=environment
    )
    if done.returncode != 0:
        raise ChartError(done.stderr.strip())
    return done.stdout


def documents(rendered: str) -> list[Document]:
    """The objects in YAML documents."""
    return [document for document in yaml.load_all(rendered, Loader=yaml.CSafeLoader) if document]


def beside(chart: Path, namespace: str, values: Mapping[str, Any] | None = None) -> str:
    """A chart without pods of its own, for a program that is started beside the cluster."""
    return render(chart, namespace, {"replicas": 0, **(values or {})})
