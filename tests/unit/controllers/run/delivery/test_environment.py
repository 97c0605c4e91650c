"""`delivery: Environment`: what is in the pod, what a template may not contain, what a webhook may not do."""

from collections.abc import Callable
from typing import Any

import pytest

from spacelift_aws.api.run import Delivery
from spacelift_aws.controllers.run.delivery.sources import OTHER_SOURCES
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.pod.view import parse_pod
from spacelift_aws.controllers.run.template_rules import caveats, refusal

Pod = dict[str, Any]
OWN = {"configMapRef": {"name": "mine"}}


def built(kit: Any, **main: Any) -> Pod:
    run = kit.run(pod={"containers": [{"name": "main", **main}]})
    return build_pod(run, kit.run_id, role_arn=kit.role, executor="controller", expires_at=kit.at(3600))


def test_the_variables_come_last_and_eks_skips_the_container(kit: Any) -> None:
    pod = built(kit, envFrom=[OWN])
    [main] = pod["spec"]["containers"]
    assert main["envFrom"] == [OWN, {"secretRef": {"name": kit.name}}]
    assert {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": ""} in main["env"]
    assert pod["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"] == "main"


def test_a_container_without_sources_of_its_own_needs_no_shield(kit: Any) -> None:
    [main] = built(kit)["spec"]["containers"]
    assert not any(variable["name"].startswith("AWS_") for variable in main["env"])


@pytest.mark.parametrize("name", OTHER_SOURCES)
def test_another_source_is_refused_by_its_name(kit: Any, name: str) -> None:
    said = refusal(kit.run(pod={"containers": [{"name": "main", "env": [{"name": name, "value": "x"}]}]}).spec)
    assert said is not None
    assert said.startswith(f"template.spec.containers[0].env[0]: {name} ")


@pytest.mark.parametrize(("sources", "told"), [([OWN], True), ([], False)])
def test_a_profile_that_nobody_can_see_is_told_of(kit: Any, sources: list[Pod], told: bool) -> None:
    spec = kit.run(pod={"containers": [{"name": "main", "envFrom": sources}]}).spec
    assert ("AWS_PROFILE" in caveats(spec)) is told


def hindrance(kit: Any, change: Callable[[Pod], object]) -> str | None:
    spec = built(kit, envFrom=[OWN])["spec"]
    change(spec["containers"][0])
    [main] = parse_pod(kit.pod_body(spec=spec)).containers
    return main.hindrances.get(Delivery.ENVIRONMENT)


@pytest.mark.parametrize("name", OTHER_SOURCES)
@pytest.mark.parametrize("value", [{"value": "x"}, {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}])
def test_what_a_webhook_sets_is_seen(kit: Any, name: str, value: Pod) -> None:
    assert f"variable {name}," in str(hindrance(kit, lambda main: main["env"].append({"name": name, **value})))


def test_sources_of_variables_behind_the_runs_own_are_seen(kit: Any) -> None:
    assert "`envFrom`" in str(hindrance(kit, lambda main: main["envFrom"].append(OWN)))
    assert "no variables" in str(hindrance(kit, lambda main: main["envFrom"].pop()))


@pytest.mark.parametrize(
    "change",
    [
        lambda main: None,
        lambda main: main["env"].append({"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional"}),
        lambda main: main["env"].append({"name": "AWS_PROFILE", "value": ""}),
        lambda main: main["envFrom"].insert(0, OWN),
    ],
)
def test_what_does_no_harm_is_let_be(kit: Any, change: Callable[[Pod], object]) -> None:
    assert hindrance(kit, change) is None
