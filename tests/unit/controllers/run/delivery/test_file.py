"""`delivery: File`: what is in the Secret and the pod, what a template may not contain, what a webhook may not do."""

import configparser
import copy
import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest

from spacelift_aws.api.run import Delivery
from spacelift_aws.controllers.run.credentials.secret import build_secret
from spacelift_aws.controllers.run.delivery.file import MOUNT_PATH, VOLUME, config
from spacelift_aws.controllers.run.delivery.sources import OTHER_SOURCES, PROFILES, SKIP_CONTAINERS, skipping
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.pod.view import parse_pod
from spacelift_aws.controllers.run.template_rules import refusal
from spacelift_aws.names import CREDENTIAL_VARIABLES

Pod = dict[str, Any]


def built(kit: Any, **run: Any) -> Pod:
    made = kit.run(delivery="File", **run)
    return build_pod(made, kit.run_id, role_arn=kit.role, executor="controller", expires_at=kit.at(3600))


def values(container: Pod) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_the_secret_holds_a_configuration_and_what_it_prints_with_an_early_end(kit: Any) -> None:
    secret = build_secret(kit.run(delivery="File"), kit.run_id, kit.credentials())
    assert sorted(secret["stringData"]) == ["config", "credentials.json"]
    assert json.loads(secret["stringData"]["credentials.json"]) == {
        "Version": 1,
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "secret-key",
        "SessionToken": "session-token",
        "Expiration": kit.time(3600 - 300),
    }
    assert secret["metadata"]["annotations"]["aws.spacelift.io/credentials-expire-at"] == kit.time(3600)
    assert "immutable" not in secret


def test_the_process_is_the_same_with_and_without_a_shell() -> None:
    read = configparser.ConfigParser(interpolation=None)
    read.read_string(config(["prod", "te.st"]))
    assert read.sections() == ["default", "profile prod", "profile te.st"]
    [command] = {read[section]["credential_process"] for section in read.sections()}
    assert shlex.split(command) == command.split(" ") == ["cat", f"{MOUNT_PATH}/credentials.json"]


def test_only_the_containers_named_have_the_files_and_none_the_four_variables(kit: Any) -> None:
    template = {"initContainers": [{"name": "first"}], "containers": [{"name": "main"}, {"name": "other"}]}
    pod = built(kit, pod=template, credentialsFor=["first", "main"])
    containers: list[Pod] = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    first, main, other = containers
    for container in (first, main):
        [mount] = container["volumeMounts"]
        assert mount == {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
        variables = values(container)
        assert variables["AWS_CONFIG_FILE"] == f"{MOUNT_PATH}/config"
        assert variables["AWS_SDK_LOAD_CONFIG"] == "1"
        assert variables["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
        assert not any(value for name, value in variables.items() if name.startswith(("AWS_ACCESS", "AWS_SE")))
        assert "envFrom" not in container
    assert "volumeMounts" not in other
    assert not any(name.startswith("AWS_") for name in values(other))
    assert pod["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"] == "first,main"


def test_the_volume_is_the_runs_secret_that_has_to_be_there_for_whoever_the_container_runs_as(kit: Any) -> None:
    own = {"name": "cache", "emptyDir": {}}
    pod = built(kit, pod={"containers": [{"name": "main"}], "volumes": [own]})
    secret = {"secretName": kit.name, "optional": False, "defaultMode": 0o444}
    assert pod["spec"]["volumes"] == [own, {"name": VOLUME, "secret": secret}]


@pytest.mark.parametrize("own", [[], [{"configMapRef": {"name": "mine"}}]])
def test_what_the_image_or_env_from_brings_cannot_win(kit: Any, own: list[Pod]) -> None:
    [main] = built(kit, pod={"containers": [{"name": "main", "envFrom": own}]})["spec"]["containers"]
    assert main["envFrom"] == own
    assert values(main)["AWS_PROFILE"] == values(main)["AWS_DEFAULT_PROFILE"] == "default"
    empty = {name for name, value in values(main).items() if value == ""}
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} < empty
    assert {"AWS_SECURITY_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"} < empty


def test_a_template_that_loads_no_configuration_is_set_right(kit: Any) -> None:
    own = {"name": "AWS_SDK_LOAD_CONFIG", "value": "0"}
    [main] = built(kit, pod={"containers": [{"name": "main", "env": [own]}]})["spec"]["containers"]
    assert [one["value"] for one in main["env"] if one["name"] == "AWS_SDK_LOAD_CONFIG"] == ["1"]


@pytest.mark.parametrize(
    ("annotation", "merged"), [(None, "main"), ("", "main"), ("proxy, other", "proxy,other,main"), ("main", "main")]
)
def test_the_template_may_have_other_containers_skipped_too(annotation: str | None, merged: str) -> None:
    own = {} if annotation is None else {SKIP_CONTAINERS: annotation}
    assert skipping(own, ("main",)) == {SKIP_CONTAINERS: merged}


def container(**more: Any) -> Pod:
    return {"containers": [{"name": "other", "image": "i"}, {"name": "main", "image": "i", **more}]}


def env(name: str) -> Pod:
    return container(env=[{"name": name, "value": "x"}])


def mount(path: Any) -> Pod:
    return container(volumeMounts=[{"name": "cache", "mountPath": path}])


REFUSED = [
    *(env(name) for name in (*OTHER_SOURCES, "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")),
    mount(MOUNT_PATH),
    mount(f"{MOUNT_PATH}/"),
    mount(f"{MOUNT_PATH}/config"),
    mount("/var/run//secrets/x/.."),
    mount("/var/run"),
    mount("/run/secrets"),
    container(volumeMounts="text"),
    {**container(), "volumes": [{"name": VOLUME, "emptyDir": {}}]},
    {**container(), "volumes": "text"},
]


@pytest.mark.parametrize("pod", REFUSED)
def test_what_would_win_over_the_file_is_refused_with_its_place(kit: Any, pod: Pod) -> None:
    said = refusal(kit.run(pod=pod, delivery="File", credentialsFor=["main"]).spec)
    assert said is not None
    assert said.startswith("template.spec.")
    assert said.endswith(".")


ADMITTED = [
    env("AWS_REGION"),
    mount("/var/run/secrets/kubernetes.io"),
    mount("/var/run/secrets/aws.spacelift.io.mine"),
    mount("/home/me/.aws"),
    mount(7),
    container(volumeMounts=["nonsense"]),
    {**container(), "volumes": ["nonsense"]},
]


@pytest.mark.parametrize("pod", ADMITTED)
def test_everything_else_is_passed_on(kit: Any, pod: Pod) -> None:
    assert refusal(kit.run(pod=pod, delivery="File", credentialsFor=["main"]).spec) is None


EVERYWHERE = (*CREDENTIAL_VARIABLES, *PROFILES)
"""Refused in every container."""


@pytest.mark.parametrize("pod", [pod for pod in REFUSED if not any(f"'{name}'" in str(pod) for name in EVERYWHERE)])
def test_containers_without_credentials_are_free(kit: Any, pod: Pod) -> None:
    if VOLUME not in str(pod.get("volumes")) and pod.get("volumes") != "text":
        assert refusal(kit.run(pod=pod, delivery="File", credentialsFor=["other"]).spec) is None


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("delivery", ["Environment", "File"])
def test_the_variables_of_a_session_and_profiles_are_refused_everywhere(kit: Any, name: str, delivery: str) -> None:
    said = refusal(kit.run(pod=env(name), delivery=delivery, credentialsFor=["other"]).spec)
    assert said is not None
    assert said.startswith(f"template.spec.containers[1].env[0]: {name} ")


def admitted(kit: Any, change: Callable[[Pod], None]) -> Any:
    """The pod as the API server answers it after a webhook has changed it."""
    spec = copy.deepcopy(
        built(kit, pod={"containers": [{"name": "main", "env": [{"name": "X", "value": "1"}]}]})["spec"]
    )
    change(spec)
    return parse_pod(kit.pod_body(spec=spec))


def set_variable(name: str, **value: Any) -> Callable[[Pod], None]:
    return lambda spec: spec["containers"][0]["env"].append({"name": name, **value})


def unmount(spec: Pod) -> None:
    spec["containers"][0]["volumeMounts"] = [{"name": "token", "mountPath": "/var/run/secrets/token"}]


def mount_part(spec: Pod) -> None:
    spec["containers"][0]["volumeMounts"][0]["subPath"] = "config"


def swap_volume(spec: Pod) -> None:
    spec["volumes"] = [{"name": VOLUME, "secret": {"secretName": "another"}}]


@pytest.mark.parametrize(
    ("change", "hindrance"),
    [
        (
            set_variable("AWS_WEB_IDENTITY_TOKEN_FILE", value="/var/run/secrets/eks/token"),
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
        (set_variable("AWS_ROLE_ARN", value="arn"), "AWS_ROLE_ARN"),
        (set_variable("AWS_PROFILE", value="prod"), "AWS_PROFILE"),
        (set_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", value="http://x"), "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        (set_variable("AWS_ACCESS_KEY_ID", valueFrom={"secretKeyRef": {"name": "s", "key": "k"}}), "AWS_ACCESS_KEY_ID"),
        (set_variable("AWS_CONFIG_FILE", value="/other"), "AWS_CONFIG_FILE"),
        (set_variable("AWS_SHARED_CREDENTIALS_FILE", value="/other"), "AWS_SHARED_CREDENTIALS_FILE"),
        (unmount, MOUNT_PATH),
        (mount_part, MOUNT_PATH),
        (swap_volume, MOUNT_PATH),
    ],
)
def test_what_a_webhook_does_is_seen(kit: Any, change: Callable[[Pod], None], hindrance: str) -> None:
    [main] = admitted(kit, change).containers
    assert hindrance in (main.hindrances.get(Delivery.FILE, ""))


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: None,
        set_variable("AWS_STS_REGIONAL_ENDPOINTS", value="regional"),
        set_variable("AWS_PROFILE", value="default"),
        set_variable("AWS_ACCESS_KEY_ID", value=""),
    ],
)
def test_what_does_no_harm_is_let_be(kit: Any, change: Callable[[Pod], None]) -> None:
    pod = admitted(kit, change)
    assert Delivery.FILE not in pod.containers[0].hindrances
    assert pod.is_renewed
