"""What a cluster's own admission does to the pods of runs, set up and taken away again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.runs.play import Play, container

from sandbox.objects import Object
from sandbox.process import wait_until

PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


def admission(scene: Play, kind: str, name: str, **parts: Object | list[Object]) -> None:
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, **parts}
    scene.stage.cluster.kubectl("apply", "--filename=-", input=json.dumps(body))


def tried(scene: Play) -> str:
    """What becomes of a pod that is only tried."""
    probe = {"metadata": {"generateName": "probe-"}, "spec": {"containers": [container("main")]}}
    path = f"/api/v1/namespaces/{scene.namespace}/pods?dryRun=All"
    done = scene.stage.cluster.kubectl("create", f"--raw={path}", "--filename=-", input=json.dumps(probe), check=False)
    return done.stdout + done.stderr


def until(scene: Play, words: str, *, told: bool = True) -> None:
    """Admission knows its configuration a moment later than it was written."""
    wait_until(lambda: (words in tried(scene)) is told, timeout=30, what=words, interval=0.2)


@contextmanager
def bound_policy(scene: Play, kind: str, shows: str, spec: Object, **binding: Any) -> Iterator[str]:
    """An admission policy of the cluster's own on the namespace's pods; `shows` is what it makes of them. Its name."""
    name, cluster = scene.stage.fresh("policy"), scene.stage.cluster
    here: Object = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}}}
    pods: Object = {"resourceRules": [PODS]}
    admission(scene, kind, name, spec={"matchConstraints": pods, "failurePolicy": "Fail", **spec})
    admission(scene, f"{kind}Binding", name, spec={"policyName": name, "matchResources": here, **binding})
    try:
        until(scene, shows)
        yield name
    finally:
        for one in (f"{kind}Binding", kind):
            cluster.kubectl("delete", one, name, "--ignore-not-found")
    until(scene, shows, told=False)
