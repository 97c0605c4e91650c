"""Every verdict on a role's trust, reached on purpose: an STS that evaluates trust policies, behind a fault proxy.

The reasons that need nothing but an integration and a role are reached all at once, by one fixture; what follows from
them is asked by a test each.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.stage import INSTALLATION, Stage

from .cases import ALLOW_ALL, ANOTHER_INSTALLATION, ANOTHER_NAMESPACE, CASES
from .probes import OWN, form_of, is_probe, probe_of
from .scene import Scene, events_of, eventually, is_ready, probes_of, reason_of, statements_in


@pytest.fixture(scope="module")
def scenes(_stage: Stage) -> Iterator[dict[str, Scene]]:
    """All cases, set up and judged, repaired and judged again."""
    namespaces = [_stage.namespace() for _ in range(4)]
    scenes = {}
    for number, (name, case) in enumerate(CASES.items()):
        scene = scenes[name] = Scene(_stage, namespaces[number % 4], name, f"{name}-role")
        scene.rules = [_stage.proxy.add(rule) for rule in case.faults(scene)]
        if (trust := case.trust(scene)) is not None:
            _stage.role(trust, scene.role_name)
        spec = {"roleArn": scene.role_arn, **case.spec}
        _stage.integration(scene.namespace, name, trusted=False, **{k: v for k, v in spec.items() if v is not None})
    _watch(scenes.values(), "first", lambda scene, body: reason_of(body) == CASES[scene.name].reason)
    to_repair = [scene for scene in scenes.values() if CASES[scene.name].repair and reason_of(scene.first)]
    for scene in to_repair:
        repair = CASES[scene.name].repair
        assert repair is not None
        repair(scene)
    _watch(to_repair, "healed", lambda _, body: is_ready(body))
    yield scenes
    _stage.proxy.clear()


def _watch(scenes: Any, attribute: str, until: Callable[[Scene, Object], bool]) -> None:
    """Keep each scene's integration as soon as it is as wanted; those that never are, as they are in the end."""
    waiting = list(scenes)

    def none_is_left() -> bool:
        for scene in list(waiting):
            body = scene.stage.objects.get("AwsIntegration", scene.namespace, scene.name) or {}
            setattr(scene, attribute, body)
            if until(scene, body):
                waiting.remove(scene)
        return not waiting

    with suppress(TimeoutError):
        wait_until(none_is_left, timeout=30, what=attribute)


@pytest.mark.parametrize("name", CASES)
def test_a_reason_is_reached_and_told(scenes: dict[str, Scene], name: str) -> None:
    case, scene = CASES[name], scenes[name]
    verdict, ready = condition(scene.first, "TrustVerified"), condition(scene.first, "Ready")
    assert (verdict.get("status"), verdict.get("reason")) == (case.status, case.reason), verdict
    for text in case.says:
        assert scene.fill(text) in verdict["message"]
    usable = case.status == "True" or case.reason == "NotVerifiable"
    assert ready["status"] == ("True" if usable else "False")
    assert verdict["observedGeneration"] == ready["observedGeneration"] == scene.first["metadata"]["generation"]
    assert (verdict["reason"] == ready["reason"]) is not usable or case.status == "True"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.repair])
def test_what_the_message_says_to_do_makes_it_ready(scenes: dict[str, Scene], name: str) -> None:
    assert is_ready(scenes[name].healed), condition(scenes[name].healed, "TrustVerified")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.shows_statement])
def test_the_message_holds_the_statement_of_the_status(scenes: dict[str, Scene], name: str) -> None:
    statement = json.loads(scenes[name].first["status"]["trustPolicyStatement"])
    assert statements_in(condition(scenes[name].first, "TrustVerified")["message"])[0] == statement


@pytest.mark.parametrize(
    ("name", "probes"),
    [
        ("plain", "Allowed Denied Denied Denied Denied"),
        ("one-namespace", "Allowed Denied Denied Denied Denied"),
        ("role-missing", "Denied Unknown Unknown Unknown Unknown"),
        ("no-condition", "Allowed Allowed Allowed Allowed Unknown"),
        ("if-exists", "Allowed Allowed Denied Denied Unknown"),
        ("star", "Allowed Denied Allowed Allowed Unknown"),
        ("one-installation", "Allowed Denied Allowed Denied Unknown"),
        ("one-name", "Allowed Denied Allowed Allowed Unknown"),
        ("namespace-prefix", "Allowed Denied Allowed Denied Unknown"),
        ("any-installation", "Allowed Denied Denied Allowed Unknown"),
        ("tags", "Denied Denied Denied Denied Unknown"),
        ("throttled", "Unknown Unknown Unknown Unknown Unknown"),
        ("sibling-throttled", "Allowed Denied Unknown Denied Unknown"),
    ],
)
def test_the_status_shows_what_each_probe_was_answered(scenes: dict[str, Scene], name: str, probes: str) -> None:
    first = scenes[name].first
    names = ["Own", "None", "Sibling", "OtherInstallation", "Spelling"]
    assert probes_of(first) == dict(zip(names, probes.split(), strict=True))
    answered = [probe for probe in first["status"]["probes"] if probe["result"] != "Unknown"]
    ids = {call.request_id for call in scenes[name].calls}
    assert all(probe["requestId"] in ids and probe["time"] for probe in answered)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("one-installation", ANOTHER_NAMESPACE),
        ("namespace-prefix", ANOTHER_NAMESPACE),
        ("any-installation", ANOTHER_INSTALLATION),
    ],
)
def test_the_message_names_only_whose_external_id_was_accepted(
    scenes: dict[str, Scene], name: str, accepted: str
) -> None:
    message = condition(scenes[name].first, "TrustVerified")["message"]
    (other,) = {ANOTHER_NAMESPACE, ANOTHER_INSTALLATION} - {accepted}
    assert accepted in message
    assert other not in message


def test_before_there_is_a_role_the_status_shows_all_that_is_needed_to_create_it(scenes: dict[str, Scene]) -> None:
    scene = scenes["role-not-set"]
    status, operator = scene.first["status"], scene.stage.operator
    assert status["externalId"] == scene.external_id
    assert status["principal"] == operator.arn == "arn:aws:iam::111111111111:user/platform/spacelift-operator"
    assert status["principalId"] == operator.user_id
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": operator.arn},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": scene.external_id}},
    }
    assert json.loads(status["trustPolicyStatement"]) == statement
    assert json.loads(status["trustPolicy"]) == {"Version": "2012-10-17", "Statement": [statement]}
    assert json.loads(status["callerPolicyStatement"])["Action"] == "sts:AssumeRole"
    for part in ("https://console.aws.amazon.com/iam/", "111111111111", scene.external_id, "PowerUserAccess"):
        assert part in status["createRoleUrl"]
    assert not {"probes", "lastVerifiedTime"} & status.keys()


@pytest.mark.parametrize("name", ["worker", "worker-without-role"])
def test_in_worker_mode_nothing_of_the_controllers_is_shown(scenes: dict[str, Scene], name: str) -> None:
    ours = {"principal", "principalId", "trustPolicyStatement", "trustPolicy", "callerPolicyStatement", "createRoleUrl"}
    scene = scenes[name]
    assert not ours & scene.first["status"].keys()
    assert scene.first["status"]["externalId"] == ("of-my-own" if name == "worker" else scene.external_id)
    assert not scene.calls


def test_with_tags_both_sides_get_the_action_and_there_is_no_wizard(scenes: dict[str, Scene]) -> None:
    status = scenes["tags"].first["status"]
    assert "sts:TagSession" in json.loads(status["trustPolicyStatement"])["Action"]
    assert "sts:TagSession" in json.loads(status["callerPolicyStatement"])["Action"]
    assert "createRoleUrl" not in status


def test_own_goes_first_and_carries_what_runs_would_carry(scenes: dict[str, Scene]) -> None:
    scene = scenes["everything"]
    ordinary, proposed, *negatives = scene.calls[:5]
    assert [call.external_id for call in (ordinary, proposed)] == [scene.external_id] * 2
    for call in (ordinary, proposed):
        assert is_probe(call)
        assert probe_of(call) == OWN
        assert call.duration_seconds == 1800
        assert call.tags == {"run": call.session_name, "stack": "network", "space": scene.namespace}
        assert call.parameters["SourceIdentity"] == call.session_name
    assert ordinary.parameters["Policy"] == ALLOW_ALL
    # The user's policies and, as the inline place is taken, the managed one that denies everything.
    arns = [value for key, value in ordinary.parameters.items() if key.startswith("PolicyArns.")]
    assert arns == ["arn:aws:iam::aws:policy/AWSDenyAll"] * 2
    # `proposed: {}` has no policy of its own, and so the probes' own is inline.
    assert '"Effect":"Deny"' in proposed.parameters["Policy"]
    assert not proposed.has("PolicyArns")
    assert len(negatives) == 3


@pytest.mark.parametrize("name", ["everything", "plain", "one-namespace", "star", "tags", "source-identity"])
def test_negative_probes_are_bare_and_follow_in_order(scenes: dict[str, Scene], name: str) -> None:
    scene = scenes[name]
    own = [call for call in scene.calls if probe_of(call) == OWN]
    negatives = [call for call in scene.calls if call not in own and form_of(call) == "B"][:3]
    none, sibling, other = negatives
    assert none.external_id is None
    assert sibling.external_id is not None
    assert other.external_id is not None
    installation, namespace, short = sibling.external_id.split("@")
    assert (installation, short) == (INSTALLATION, name)
    assert namespace.startswith(f"{scene.namespace}-")
    assert namespace.endswith(f"-{scene.namespace}")
    assert len(namespace) > 63
    installation, *rest = other.external_id.split("@")
    assert rest == [scene.namespace, name]
    assert installation.startswith(f"{INSTALLATION}-")
    assert installation.endswith(f"-{INSTALLATION}")
    for call in negatives:
        assert is_probe(call)
        assert call.parameters["DurationSeconds"] == "900"
        assert not any(call.has(parameter) for parameter in ("Tags", "SourceIdentity", "PolicyArns"))
        assert call.started >= own[0].finished


@pytest.mark.parametrize("name", ["everything", "plain", "no-condition", "malformed-policy"])
def test_no_probes_session_can_do_anything(scenes: dict[str, Scene], name: str) -> None:
    """Each call that STS allowed is made again with its session policies, and the session is tried out."""
    scene, tried = scenes[name], 0
    for call in [call for call in scene.calls if call.status == 200][:6]:
        parameters: dict[str, Any] = {"ExternalId": scene.external_id}
        if call.has("Policy"):
            parameters["Policy"] = call.parameters["Policy"]
        arns = [value for key, value in call.parameters.items() if key.startswith("PolicyArns.")]
        if arns:
            parameters["PolicyArns"] = [{"arn": arn} for arn in arns]
        session = scene.stage.aws.assume_role(
            scene.stage.operator, scene.role_arn, call.session_name, DurationSeconds=900, **parameters
        )
        iam = scene.stage.aws.client("iam", session)
        with pytest.raises(iam.exceptions.ClientError, match="AccessDenied"):
            iam.list_users()
        tried += 1
    assert tried


@pytest.mark.parametrize(
    "name", ["wrong-external-id", "no-condition", "star", "duration-of-role", "throttled", "plain"]
)
def test_one_event_tells_of_each_change_of_the_verdict(stage: Stage, scenes: dict[str, Scene], name: str) -> None:
    scene, case = scenes[name], CASES[name]
    reasons = [case.reason, "Verified"] if case.repair else [case.reason]

    def told() -> list[Object]:
        return events_of(stage, scene.namespace, name)

    eventually(lambda: len(told()) >= len(reasons), "Events are there")
    assert [event["reason"] for event in told()] == reasons
    assert [event["type"] for event in told()][-1] == "Normal"
    if case.repair:
        assert told()[0]["type"] == "Warning"


def test_kubectl_waits_and_shows_columns(stage: Stage, scenes: dict[str, Scene]) -> None:
    scene = scenes["plain"]
    stage.cluster.kubectl(
        "wait", f"--namespace={scene.namespace}", "awsint/plain", "--for=condition=Ready", "--timeout=10s"
    )
    table = stage.cluster.kubectl("get", "awsint", "plain", f"--namespace={scene.namespace}").stdout
    heading, line = table.splitlines()
    assert heading.split() == ["NAME", "ROLE", "READY", "REASON", "VERIFIED", "AGE"]
    assert line.split()[:4] == ["plain", scene.role_arn, "True", "Verified"]
    described = stage.cluster.kubectl("describe", "awsint", "plain", f"--namespace={scene.namespace}").stdout
    assert "Trust Policy Statement" in described
