"""What the environment may say, and what the command answers where it says something else."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from spacelift_aws import __main__ as program
from spacelift_aws import settings
from spacelift_aws.controllers.run.pod.helper import Helper, HelperDelivery
from spacelift_aws.roles import assembly
from spacelift_aws.roles.controller import controller_role
from spacelift_aws.roles.worker import worker_role
from spacelift_aws.runtime.role import LeaseName
from spacelift_aws.settings import Settings, WorkerSettings

COMPLETE = {"SPACELIFT_AWS_INSTALLATION": "acme-prod", "SPACELIFT_AWS_NAMESPACE": "research-workers"}

SetVariables = Callable[..., None]


@pytest.fixture(autouse=True)
def outside_a_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "_OWN_NAMESPACE", tmp_path / "namespace")


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> SetVariables:
    def set_all(**given: str) -> None:
        for name, value in {**COMPLETE, **{f"SPACELIFT_AWS_{key}": value for key, value in given.items()}}.items():
            monkeypatch.setenv(name, value)

    return set_all


def test_a_worker_serves_where_it_lives_unless_told_otherwise(variables: SetVariables) -> None:
    variables()
    chosen = WorkerSettings()
    assert (chosen.pool, chosen.namespaces) == ("default", ())
    assert worker_role(chosen).namespaces == ("research-workers",)


def test_it_serves_a_list_of_namespaces_and_competes_where_it_lives(variables: SetVariables) -> None:
    variables(POOL="build", NAMESPACES='["team-1", "team-2"]')
    role = worker_role(WorkerSettings())
    assert role.namespaces == ("team-1", "team-2")
    assert role.lease is not None
    assert (role.lease.namespace, role.lease.name) == ("research-workers", "spacelift-aws-worker-build")


def test_in_a_cluster_it_finds_its_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("research-workers\n")
    monkeypatch.setenv("SPACELIFT_AWS_INSTALLATION", "acme-prod")
    assert WorkerSettings().namespace == "research-workers"


def test_the_controller_needs_no_setting_and_competes_with_nobody_outside_a_cluster() -> None:
    chosen = Settings()
    assert (chosen.installation, chosen.namespace, chosen.namespaces) == (None, "", ())
    role = controller_role(chosen)
    assert (role.lease, role.namespaces) == (None, ())


def test_in_a_cluster_the_controllers_replicas_compete_for_a_lease(tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("spacelift-aws\n")
    assert controller_role(Settings()).lease == LeaseName("spacelift-aws", "spacelift-aws-controller")


def test_a_controller_of_given_namespaces_acts_there_only(variables: SetVariables) -> None:
    variables(NAMESPACES='["team-1", "team-2"]')
    assert controller_role(Settings()).namespaces == ("team-1", "team-2")


def test_a_controller_of_given_namespaces_needs_a_name_for_its_installation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPACELIFT_AWS_NAMESPACES", '["team-1"]')
    assert program.main(["controller"]) == 2
    assert "set SPACELIFT_AWS_INSTALLATION: with SPACELIFT_AWS_NAMESPACES" in capsys.readouterr().err


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"NAMESPACES": "team-1"}, "namespaces"),
        ({"NAMESPACES": '["team-*"]'}, "SPACELIFT_AWS_NAMESPACES: "),
        ({"NAMESPACES": '["!team"]'}, "SPACELIFT_AWS_NAMESPACES: "),
        ({"NAMESPACES": '["team", "team"]'}, "SPACELIFT_AWS_NAMESPACES names a namespace twice"),
        ({"NAMESPACE": "a/../b"}, "SPACELIFT_AWS_NAMESPACE: "),
        ({"NAMESPACE": ""}, "set SPACELIFT_AWS_NAMESPACE"),
        ({"POOL": "Build"}, "SPACELIFT_AWS_POOL: "),
        ({"POOL": "b" * 64}, "SPACELIFT_AWS_POOL: "),
        ({"INSTALLATION": "a@b"}, "SPACELIFT_AWS_INSTALLATION: "),
        ({"POOL_SILENT_AFTER": "0"}, "SPACELIFT_AWS_POOL_SILENT_AFTER: "),
    ],
)
def test_a_wrong_setting_is_named_and_ends_the_command(
    variables: SetVariables, capsys: pytest.CaptureFixture[str], given: dict[str, str], answer: str
) -> None:
    variables(**given)
    assert program.main(["worker"]) == 2
    said = capsys.readouterr().err
    assert answer in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("missing", "namespace"), [("SPACELIFT_AWS_INSTALLATION", "w"), ("SPACELIFT_AWS_NAMESPACE", "")]
)
def test_what_a_worker_cannot_guess_has_to_be_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str, namespace: str
) -> None:
    for name, value in COMPLETE.items():
        if name != missing:
            monkeypatch.setenv(name, value)
    if namespace:
        monkeypatch.setenv("SPACELIFT_AWS_NAMESPACE", namespace)
    assert program.main(["worker"]) == 2
    assert f"set {missing}" in capsys.readouterr().err


def test_a_certificate_for_metrics_needs_a_port_of_its_own(
    variables: SetVariables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variables(METRICS_CERTIFICATE=str(tmp_path), METRICS_PORT="8080", HEALTH_PORT="8080")
    assert program.main(["controller"]) == 2
    assert "set SPACELIFT_AWS_METRICS_PORT to a port of its own" in capsys.readouterr().err
    variables(METRICS_CERTIFICATE=str(tmp_path), METRICS_PORT="8443")
    assert program.main(["controller"]) == 2
    assert "a folder without tls.crt and tls.key" in capsys.readouterr().err
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).touch()
    assert Settings().metrics_certificate == tmp_path


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "0", "1e12"])
def test_a_duration_that_is_none_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SPACELIFT_AWS_STS_TIMEOUT", value)
    with pytest.raises(ValidationError, match="sts_timeout"):
        Settings()


@pytest.mark.parametrize(
    ("principal", "fits"),
    [
        ("arn:aws:iam::111122223333:role/path/op", True),
        ("arn:aws-cn:iam::111122223333:user/op", True),
        ("arn:aws:iam::111122223333:root", True),
        ("111122223333", True),
        ("arn:aws:iam::111122223333:roles/op", False),
        ("arn:aws:sts::111122223333:assumed-role/op/x", False),
        ("op", False),
    ],
)
def test_a_mistyped_principal_does_not_reach_a_trust_policy(
    monkeypatch: pytest.MonkeyPatch, principal: str, fits: bool
) -> None:
    monkeypatch.setenv("SPACELIFT_AWS_PRINCIPAL", principal)
    if fits:
        assert Settings().principal == principal
        return
    with pytest.raises(ValidationError, match="principal"):
        Settings()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HELPER_DELIVERY", "Volume", "'Auto', 'Image' or 'InitContainer'"),
        ("HELPER_RESOURCES", '{"request": {}}', "Extra inputs are not permitted"),
        ("HELPER_RESOURCES", '{"limits": {"memory": "32 MB"}}', "String should match pattern"),
        ("HELPER_RESOURCES", '{"limits": {"gpu": "1"}}', "'cpu', 'memory' or 'ephemeral-storage'"),
        ("HELPER_RESOURCES", '{"requests": {"cpu": 1}, "limits": {"cpu": "900m"}}', "cpu is above its limit"),
        ("HELPER_RESOURCES", '{"limits": {"memory": "8Mi"}}', "below 16Mi has no room"),
        ("HELPER_SECURITY_CONTEXT", '{"runAsuser": 1}', "has no runAsuser"),
        ("HELPER_SECURITY_CONTEXT", '{"fsGroup": 1}', "has no fsGroup"),
    ],
)
def test_what_the_helper_cannot_be_is_said_at_the_start(
    variables: SetVariables, variable: str, value: str, words: str
) -> None:
    variables(**{variable: value})
    with pytest.raises(ValidationError, match=re.escape(words)):
        Settings()


def test_the_helper_as_it_is_configured(variables: SetVariables) -> None:
    assert assembly.configured_helper(Settings()) is None
    variables(HELPER_IMAGE="operator:1")
    assert assembly.configured_helper(Settings()) == Helper("operator:1", HelperDelivery.AUTO)
    variables(
        HELPER_DELIVERY="Image",
        HELPER_RESOURCES='{"requests": {"cpu": 1}}',
        HELPER_SECURITY_CONTEXT='{"runAsUser": 1234}',
    )
    assert assembly.configured_helper(Settings()) == Helper(
        "operator:1", HelperDelivery.IMAGE, {"requests": {"cpu": "1"}}, {"runAsUser": 1234}
    )
