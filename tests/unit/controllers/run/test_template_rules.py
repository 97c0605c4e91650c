"""What a template may not contain, and the sentence that says where."""

from typing import Any

import pytest

from spacelift_aws.controllers.run.template_rules import credentialed_containers, refusal
from spacelift_aws.names import CREDENTIAL_VARIABLES

Pod = dict[str, Any]


def main(**more: Any) -> Pod:
    return {"name": "main", "image": "i", **more}


def pod(*, init: list[Pod] | None = None, **container: Any) -> Pod:
    return {"containers": [main(**container)], **({"initContainers": init} if init else {})}


def volume(**source: Any) -> Pod:
    return {**pod(), "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", **source}]}


SECRET = "aws-run-01abc"
PLACE = "template.spec.containers[0]"
FROM_KEY = {"name": "X", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "k"}}}


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        (pod(env=[FROM_KEY]), f"{PLACE}.env[0].valueFrom.secretKeyRef"),
        (pod(envFrom=[{"secretRef": {"name": SECRET}}]), f"{PLACE}.envFrom[0].secretRef"),
        (pod(init=[main(envFrom=[{"secretRef": {"name": SECRET}}])]), "template.spec.initContainers[0].envFrom[0]"),
        (volume(secret={"secretName": SECRET}), "template.spec.volumes[1].secret.secretName"),
        (volume(projected={"sources": [{"secret": {"name": SECRET}}]}), "volumes[1].projected.sources[0].secret"),
        (volume(azureFile={"secretName": SECRET}), "volumes[1].azureFile.secretName"),
        (volume(csi={"nodePublishSecretRef": {"name": SECRET}}), "volumes[1].csi.nodePublishSecretRef"),
        (volume(rbd={"secretRef": {"name": SECRET}}), "volumes[1].rbd.secretRef"),
        ({**pod(), "imagePullSecrets": [{"name": SECRET}]}, "template.spec.imagePullSecrets[0]"),
    ],
)
def test_no_other_runs_secret_wherever_it_stands(kit: Any, spec: Pod, place: str) -> None:
    said = refusal(kit.run(pod=spec).spec)
    assert said is not None
    assert place in said
    assert f"`{SECRET}`" in said


@pytest.mark.parametrize("variable", CREDENTIAL_VARIABLES)
def test_none_of_the_four_variables_in_any_container(kit: Any, variable: str) -> None:
    spec = pod(init=[main(env=[{"name": "OK", "value": "1"}, {"name": variable, "value": "x"}])])
    said = refusal(kit.run(pod=spec).spec)
    assert said is not None
    assert said.startswith(f"template.spec.initContainers[0].env[1]: {variable} ")


@pytest.mark.parametrize("kind", ["labels", "annotations"])
def test_nothing_of_the_operators_own(kit: Any, kind: str) -> None:
    said = refusal(kit.run(template={"metadata": {kind: {"aws.spacelift.io/run-id": "x"}}}).spec)
    assert said is not None
    assert said.startswith(f"template.metadata.{kind}: `aws.spacelift.io/run-id`")


@pytest.mark.parametrize(
    ("why", "spec", "delivery", "refused"),
    [
        ("it would start again with dead ones", pod(restartPolicy="Always"), "Environment", True),
        ("by rules, too", pod(restartPolicyRules=[{"action": "Restart"}]), "Environment", True),
        ("a file is renewed", pod(restartPolicy="Always"), "File", False),
        ("a sidecar without credentials", pod(init=[{"name": "s", "restartPolicy": "Always"}]), "Environment", False),
        ("the pod's own becomes Never anyway", {**pod(), "restartPolicy": "Always"}, "Environment", False),
    ],
)
def test_restart_policies(kit: Any, why: str, spec: Pod, delivery: str, refused: bool) -> None:
    assert (refusal(kit.run(pod=spec, delivery=delivery).spec) is not None) is refused, why


def test_containers_for_credentials_have_to_exist(kit: Any) -> None:
    said = refusal(kit.run(credentialsFor=["main", "other"]).spec)
    assert said == "credentialsFor: the template has no container `other`; it has `main`."
    assert credentialed_containers(kit.run(pod=pod(init=[{"name": "first"}])).spec) == ("main",)


def deep(levels: int) -> Any:
    value: Any = {}
    for level in range(levels):
        value = {"x": value} if level % 2 else [value]
    return value


@pytest.mark.parametrize(
    "spec",
    [
        "text",
        [],
        {},
        {"containers": []},
        {"containers": "text"},
        {"containers": {"name": "main"}},
        {"containers": ["text"]},
        {"containers": [{"image": "i"}]},
        {"containers": [{"name": 1}]},
        pod(env="text"),
        pod(env=["text"]),
        pod(envFrom={"secretRef": {}}),
        {**pod(), "initContainers": "text"},
        {**pod(), "x": deep(100_000)},
    ],
)
def test_what_is_no_pod_is_refused_with_a_sentence(kit: Any, spec: Any) -> None:
    run = kit.run()
    template = run.spec.template.model_copy(update={"spec": spec})
    said = refusal(run.spec.model_copy(update={"template": template}))
    assert said is not None
    assert said.startswith("template.spec")
    assert len(said) < 500


def test_everything_else_is_the_api_servers_to_judge(kit: Any) -> None:
    spec = {
        **pod(env=[{"name": [], "value": 3}], envFrom=[{"secretRef": {"name": "mine"}}], livenessProbe=7),
        "volumes": [{"name": "v", "secret": {"secretName": "mine"}}, "nonsense"],
        "serviceAccountName": "builder",
        "fieldOfTheFuture": {"name": SECRET},
    }
    assert refusal(kit.run(pod=spec).spec) is None
