"""Run credentials are for their run: what nobody but an executor does with them, administrators included."""

import json
from typing import Any

import pytest

from sandbox import controller
from sandbox.objects import Object, Objects, RefusedError, refusal
from sandbox.stage import API_VERSION, Stage

pytestmark = pytest.mark.usefixtures("all_policies")

CONTROLLER = f"system:serviceaccount:{controller.NAMESPACE}:{controller.SERVICE_ACCOUNT}"
"""Whom an administrator may impersonate."""
OWN = "aws-run-01m85c85x87p992kb9a3mrqfzd"
OTHER = "aws-run-01m85fb1z88scf51hp7d6n0093"
TYPE = "aws.spacelift.io/run-credentials"
RUN_LABELS = ("aws.spacelift.io/run-id", "aws.spacelift.io/executor", "aws.spacelift.io/worker-pool")
SENTENCE = "Only the operator and its workers may create them"


def executor(stage: Stage) -> Objects:
    """The controller's hands."""
    return Objects(stage.cluster.kubeconfig, CONTROLLER)


def secret(namespace: str, name: str, type_: str = TYPE, **metadata: Any) -> Object:
    """A Secret, by default with the type of run credentials."""
    where = {"namespace": namespace, "name": name, **metadata}
    return {"apiVersion": "v1", "kind": "Secret", "type": type_, "metadata": where, "stringData": {"k": "word"}}


def pod(namespace: str, name: str = "plain", **spec: Any) -> Object:
    body = {"containers": [{"name": "main", "image": "x", "command": ["true"]}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name}, "spec": body}


def with_container(**more: Any) -> list[Object]:
    return [{"name": "main", "image": "x", "command": ["true"], **more}]


# --- Secrets.


@pytest.fixture
def run_secret(stage: Stage, namespace: str) -> Object:
    """A run's Secret, made by the controller's account."""
    run = stage.objects.get("Run", namespace, stage.run(namespace, integration="missing")) or {}
    metadata = run["metadata"]
    owner = {"apiVersion": API_VERSION, "kind": "Run", "name": metadata["name"], "uid": metadata["uid"]}
    return executor(stage).create(secret(namespace, OWN, ownerReferences=[{**owner, "controller": True}]))


def test_nobody_else_makes_run_credentials(stage: Stage, namespace: str) -> None:
    generated = secret(namespace, "x", "Opaque")
    generated["metadata"].update(name=None, generateName=OTHER[:-5])
    # Five characters come from the API server, which in one name of six takes one that no run ID has.
    told = next(filter(None, (refusal(stage.objects, generated) for _ in range(30))))
    bodies = (secret(namespace, "any"), secret(namespace, OTHER, "Opaque"), secret(namespace, OTHER))
    for said in (told, *(refusal(stage.objects, body) for body in bodies)):
        assert said.startswith("403: ")
        assert SENTENCE in said
        assert "delete the ValidatingAdmissionPolicyBinding spacelift-aws-run-secrets" in said
    for name in ("aws-run-config", f"{OTHER}0", f"x-{OTHER}"):
        stage.objects.create(secret(namespace, name, "Opaque"))


def test_nobody_changes_them(stage: Stage, namespace: str, run_secret: Object) -> None:
    for change in (
        {"stringData": {"k": "forged"}},
        {"data": {"more": "eA=="}},
        {"data": None},
        {"immutable": True},
        {"metadata": {"labels": {"velero.io/exclude-from-backup": None, "a": "b"}}},
        {"metadata": {"annotations": {"aws.spacelift.io/credentials-expire-at": "2126-01-01T00:00:00Z"}}},
        {"metadata": {"finalizers": ["example.org/held"]}},
        {"metadata": {"ownerReferences": None}},
    ):
        with pytest.raises(RefusedError, match=SENTENCE):
            stage.objects.patch("Secret", namespace, OWN, change)
    assert stage.objects.get("Secret", namespace, OWN) == run_secret


@pytest.mark.parametrize("how", ["Background", "Foreground", "Orphan"])
def test_people_who_may_delete_them_in_every_way(stage: Stage, namespace: str, run_secret: Object, how: str) -> None:
    """The garbage collector takes its finalizers away again, which is an update."""
    stage.objects.delete("Secret", namespace, OWN, propagationPolicy=how)
    stage.objects.wait("Secret", namespace, OWN, lambda body: body is None)


def test_a_secret_of_another_kind_is_anybodys(stage: Stage, namespace: str) -> None:
    stage.objects.create(secret(namespace, "theirs", "Opaque"))
    stage.objects.patch("Secret", namespace, "theirs", {"stringData": {"k": "other"}})


# --- Pods.


def volume(**source: Any) -> Object:
    return {"volumes": [{"name": "v", **source}]}


def places(name: str) -> dict[str, Object]:
    """A pod's spec for every place in the API where it can refer to a Secret, as `<type>.<field>`."""
    ref, key = {"secretRef": {"name": name}}, {"secretKeyRef": {"name": name, "key": "k"}}
    return {
        "EnvVarSource.secretKeyRef": {"containers": with_container(env=[{"name": "A", "valueFrom": key}])},
        "EnvFromSource.secretRef": {"containers": with_container(envFrom=[{"prefix": "A"}, ref][1:])},
        "PodSpec.imagePullSecrets": {"imagePullSecrets": [{"name": "other"}, {"name": name}]},
        "Volume.secret": volume(secret={"secretName": name}),
        "VolumeProjection.secret": volume(projected={"sources": [{"secret": {"name": name}}]}),
        "CSIVolumeSource.nodePublishSecretRef": volume(csi={"driver": "x", "nodePublishSecretRef": {"name": name}}),
        "AzureFileVolumeSource.secretName": volume(azureFile={"secretName": name, "shareName": "x"}),
        "CephFSVolumeSource.secretRef": volume(cephfs={"monitors": ["x"], **ref}),
        "CinderVolumeSource.secretRef": volume(cinder={"volumeID": "x", **ref}),
        "FlexVolumeSource.secretRef": volume(flexVolume={"driver": "x/y", **ref}),
        "ISCSIVolumeSource.secretRef": volume(
            iscsi={"targetPortal": "x", "iqn": "iqn.2001-04.com.example:x", "lun": 0, **ref}
        ),
        "RBDVolumeSource.secretRef": volume(rbd={"monitors": ["x"], "image": "x", **ref}),
        "ScaleIOVolumeSource.secretRef": volume(
            scaleIO={"gateway": "https://x", "system": "x", "volumeName": "x", **ref}
        ),
        "StorageOSVolumeSource.secretRef": volume(storageos={"volumeName": "x", **ref}),
    }


def test_the_places_are_all_there_are(stage: Stage) -> None:
    """By what the API server itself says of a pod's spec."""
    schemas = json.loads(stage.cluster.kubectl("get", "--raw", "/openapi/v3/api/v1").stdout)["components"]["schemas"]
    found, left, seen = set(), ["io.k8s.api.core.v1.PodSpec"], set()
    while left:
        name = left.pop()
        if name in seen or name not in schemas:
            continue
        seen.add(name)
        for field, schema in schemas[name].get("properties", {}).items():
            left += [text.split("/")[-1] for text in _references(schema)]
            if "secret" in field.lower() and field != "secretFile":
                found.add(f"{name.split('.')[-1]}.{field}")
    # The Secret that a volume's source names is told by the volume itself.
    assert found - {"SecretVolumeSource.secretName"} == set(places(OWN))


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [reference for part in schema for reference in _references(part)]
    if isinstance(schema, dict):
        own = [schema["$ref"]] if "$ref" in schema else []
        return [*own, *(reference for part in schema.values() for reference in _references(part))]
    return []


@pytest.mark.parametrize("place", places(OWN))
def test_a_pod_that_is_no_runs_refers_to_no_runs_secret(stage: Stage, namespace: str, place: str) -> None:
    said = refusal(stage.objects, pod(namespace, **places(OWN)[place]))
    assert said.startswith("403: ")
    assert "refers to the credentials of a run" in said
    stage.objects.create(pod(namespace, **places("aws-run-config")[place]))
    assert "refers to the credentials of another run" in refusal(
        executor(stage), pod(namespace, OTHER, **places(OWN)[place])
    )
    assert refusal(executor(stage), pod(namespace, OWN, **places(OWN)[place])) == ""


def test_nor_does_an_init_container_or_one_of_many(stage: Stage, namespace: str) -> None:
    source = [{"secretRef": {"name": OWN}}]
    [first] = with_container(envFrom=source)
    assert "refers to" in refusal(stage.objects, pod(namespace, initContainers=[{**first, "name": "first"}]))
    variables = [{"name": f"V{n}", "value": "x"} for n in range(500)]
    many = [{"name": f"c{n}", "image": "x", "env": variables} for n in range(50)]
    assert "refers to" in refusal(stage.objects, pod(namespace, containers=[*many, first]))
    assert refusal(stage.objects, pod(namespace, containers=many)) == "", "25,000 variables are no reason to refuse"


@pytest.mark.parametrize("label", RUN_LABELS)
def test_a_pod_that_is_no_runs_has_no_label_of_one(stage: Stage, namespace: str, label: str) -> None:
    body = pod(namespace)
    for value in ("x", ""):
        body["metadata"]["labels"] = {label: value}
        assert "mark the pods of runs" in refusal(stage.objects, body)
    body["metadata"]["labels"] = {"app": "x"}
    stage.objects.create(body)
    with pytest.raises(RefusedError, match="mark the pods of runs"):
        stage.objects.patch("Pod", namespace, "plain", {"metadata": {"labels": {label: "x"}}})
    stage.objects.patch("Pod", namespace, "plain", {"metadata": {"labels": {"app": "y"}}})


def test_the_labels_of_a_runs_pod_stay(stage: Stage, namespace: str) -> None:
    body = pod(namespace, OWN)
    body["metadata"]["labels"] = dict.fromkeys(RUN_LABELS, "x")
    executor(stage).create(body)
    for value in ("y", None):
        with pytest.raises(RefusedError, match="mark the pods of runs"):
            stage.objects.patch("Pod", namespace, OWN, {"metadata": {"labels": {RUN_LABELS[0]: value}}})
    stage.objects.patch("Pod", namespace, OWN, {"metadata": {"labels": {"more": "x"}, "annotations": {"a": "b"}}})


def test_an_ephemeral_container_refers_to_no_runs_secret(stage: Stage, namespace: str) -> None:
    executor(stage).create(pod(namespace, OWN, **places(OWN)["EnvFromSource.secretRef"]))
    stage.objects.create(pod(namespace))
    for victim in (OWN, "plain"):

        def debug(name: str, victim: str = victim, **more: Any) -> None:
            body = {"spec": {"ephemeralContainers": [{"name": name, "image": "x", **more}]}}
            stage.objects.patch("Pod", namespace, victim, body, subresource="ephemeralcontainers")

        for place in ("EnvFromSource.secretRef", "EnvVarSource.secretKeyRef"):
            [container] = places(OWN)[place]["containers"]
            with pytest.raises(RefusedError, match="refers to the credentials of a run"):
                debug("bad", **{key: container[key] for key in ("env", "envFrom") if key in container})
        debug("good")


def test_nor_do_the_pods_that_a_controller_of_the_cluster_makes(stage: Stage, namespace: str) -> None:
    """Of a Job, say, which anybody may have made."""
    jobs = Objects(stage.cluster.kubeconfig, "system:serviceaccount:kube-system:job-controller")
    assert "refers to the credentials of a run" in refusal(jobs, pod(namespace, **places(OWN)["Volume.secret"]))
    assert refusal(jobs, pod(namespace)) == ""
