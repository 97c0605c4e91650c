"""Whatever else brings credentials or profiles into a run's container: the run's win, or the Run says what is wrong."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runs.admission import bound_policy
from tests.integration.runs.play import Play, container, play

from sandbox.aws import DEFAULT_REGION
from sandbox.objects import Object
from sandbox.stage import Stage

WHO = "aws sts get-caller-identity --output text --query Arn"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIMAGE", "AWS_SECRET_ACCESS_KEY": "image"}


@pytest.fixture(scope="module")
def scene(_stage: Stage) -> Play:
    return play(_stage)


def assumed(scene: Play, role: str) -> list[str]:
    return [scene.wait(role)["status"]["assumedRoleArn"]]


def setter(variable: str, value: str) -> Object:
    """An admission policy that sets a variable on every container, as its `spec`."""
    env = f"Object.spec.containers.env{{name: '{variable}', value: '{value}'}}"
    changed = f"object.spec.containers.map(c, Object.spec.containers{{name: c.name, env: [{env}]}})"
    expression = f"Object{{spec: Object.spec{{containers: {changed}}}}}"
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    return {"reinvocationPolicy": "Never", "mutations": [mutation]}


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"])
def test_what_a_webhook_sets_ends_a_run_with_variables_at_once(scene: Play, variable: str) -> None:
    role = f"webhook {variable}"
    with bound_policy(scene, "MutatingAdmissionPolicy", variable, setter(variable, "AKIAWEBHOOK")):
        scene.run(role, "sleep 600")
        assert scene.end(role) == ("Failed", "TemplateRefused")
    message = scene.wait(role)["status"]["message"]
    assert f"Container `main` has variable {variable}" in message
    assert "webhook" in message


@pytest.mark.parametrize("delivery", ["Environment", "File"])
@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"])
def test_a_template_is_refused_with_the_variables_name(scene: Play, delivery: str, name: str) -> None:
    pod = {"containers": [container("main", env=[{"name": name, "value": "x"}])]}
    role = f"template {delivery} {name}"
    scene.run(role, pod=pod, delivery=delivery)
    assert scene.end(role) == ("Failed", "TemplateRefused")
    assert f"template.spec.containers[0].env[0]: {name} " in scene.wait(role)["status"]["message"]


@pytest.fixture(scope="module")
def taken(scene: Play) -> list[Object]:
    """Variables that a container takes as a whole: to a process they are what an image's own `ENV` is."""
    data = {**KEYS, "AWS_PROFILE": "nobody", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere"}
    metadata = {"namespace": scene.namespace, "name": "mine"}
    scene.stage.objects.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return [{"configMapRef": {"name": "mine"}}]


def test_keys_and_profiles_from_elsewhere_lose_to_the_file(scene: Play, taken: list[Object]) -> None:
    scene.run("baked", pod={"containers": [container("main", WHO, envFrom=taken)]}, delivery="File")
    assert scene.end("baked") == ("Finished", "Finished"), scene.logs("baked")
    assert scene.logs("baked").split() == assumed(scene, "baked")


def test_a_profile_that_nobody_may_look_at_is_told_of(scene: Play, taken: list[Object]) -> None:
    """No value of AWS_PROFILE means none to every SDK."""
    pod = {"containers": [container("main", f"unset AWS_PROFILE; {WHO}", envFrom=taken)]}
    scene.run("told", pod=pod)
    assert scene.end("told") == ("Finished", "Finished"), scene.logs("told")
    assert scene.logs("told").split() == assumed(scene, "told")
    [issued] = [c for c in scene.wait("told")["status"]["conditions"] if c["type"] == "CredentialsIssued"]
    assert "Container `main` takes variables from `envFrom`: if AWS_PROFILE is among them" in issued["message"]


def test_the_same_credentials_are_found_under_the_profiles_that_a_run_lists(scene: Play) -> None:
    script = f"{WHO}; {WHO} --profile prod; AWS_PROFILE=state {WHO}; {WHO} --profile other || echo no other"
    scene.run("profiles", script, delivery="File", profiles=["prod", "state"])
    assert scene.end("profiles") == ("Finished", "Finished"), scene.logs("profiles")
    lines = scene.logs("profiles").splitlines()
    assert [line for line in lines if line.startswith("arn:")] == assumed(scene, "profiles") * 3
    assert lines[-1] == "no other"


STATE = """
terraform {{
  backend "s3" {{
    bucket  = "{bucket}"
    key     = "state"
    region  = "{region}"
    profile = "state"

    use_path_style              = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
  }}
}}
resource "terraform_data" "thing" {{}}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("terraform") is None, reason="there is no terraform on this machine")
def test_terraform_keeps_its_state_under_a_profile_that_a_run_lists(scene: Play, tmp_path: Path) -> None:
    bucket = scene.stage.fresh("state")
    (tmp_path / "main.tf").write_text(STATE.format(bucket=bucket, region=DEFAULT_REGION))
    store = (
        f"aws s3api create-bucket --bucket {bucket} --create-bucket-configuration LocationConstraint={DEFAULT_REGION}"
    )
    quiet = "-no-color -input=false"
    script = f"cd {tmp_path}; {store} && terraform init {quiet} && terraform apply -auto-approve {quiet}"
    scene.run("terraform", script, delivery="File", profiles=["state"])
    assert scene.end("terraform") == ("Finished", "Finished"), scene.logs("terraform")
    assert "Apply complete!" in scene.logs("terraform")
    assert not (tmp_path / "terraform.tfstate").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"automountServiceAccountTokens": False}, "spec.automountServiceAccountTokens"),
        ({"containers": [container("main", securitycontext={})]}, "spec.containers[0].securitycontext"),
        ({"containers": [container("main", resource={})]}, "spec.containers[0].resource"),
    ],
)
def test_a_misspelt_field_is_refused_in_the_servers_words(scene: Play, fields: dict[str, Any], said: str) -> None:
    scene.run(said, pod={"containers": [container("main")], **fields})
    assert scene.end(said) == ("Failed", "TemplateRefused")
    assert f'unknown field "{said}"' in scene.wait(said)["status"]["message"]
