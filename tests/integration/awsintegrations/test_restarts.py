"""A controller that starts anew, and one that comes back as somebody else, or as nobody."""

import pytest

from sandbox.faults import (
    Match,
    Rule,
    expired_token,
)
from sandbox.objects import condition

from .probes import is_probe
from .scene import Scene, is_ready, lift, reason_of, wait_for
from .verified import FORGED, calls_of_run, finish, since_when, verify_now, wait_for_refusal

pytestmark = pytest.mark.slow


def test_after_a_restart_nothing_is_believed_and_what_runs_wait_for_goes_first(scene: Scene) -> None:
    stage, namespace = scene.stage, scene.namespace
    # By name they all come before the one that a Run waits for.
    others = [Scene(stage, namespace, f"other-{number}", f"{namespace}-{number}") for number in range(40)]
    for other in others:
        stage.role(stage.trust(other.external_id), other.role_name)
        stage.integration(namespace, other.name, roleArn=other.role_arn)
    forged = Scene(stage, namespace, "forged", f"{namespace}-forged")
    stage.role(stage.trust("somebody@else"), forged.role_name)
    stage.integration(namespace, "forged", roleArn=forged.role_arn)
    wait_for(forged, lambda body: reason_of(body) == "AccessDenied")
    for other in others:
        wait_for(other, is_ready)

    stage.controller.stop()
    stage.objects.patch(
        "AwsIntegration",
        namespace,
        "forged",
        {"status": {"conditions": FORGED, "externalId": forged.external_id}},
        subresource="status",
    )
    names = stage.run(namespace, integration="prod"), stage.run(namespace, integration="forged")
    stage.proxy.forget_calls()
    stage.controller.start()

    done = finish(scene, names[0])
    calls = stage.proxy.calls_of(Match())
    mine = [call for call in calls if call.role_arn == scene.role_arn]
    probes = [call.session_name[10:14] for call in mine if is_probe(call)]
    assert probes[:4] == ["0WNR", "N0NB", "S1BB", "0THB"]
    assert probes[4:10] == ["SPEB"] * 6, "the ends of three parts"
    assert probes[10] == "0WNR"
    assert mine[11].session_name == done["status"]["runId"]
    arns = {other.role_arn for other in others}
    of_others = [call for call in calls if call.role_arn in arns]
    assert len([call for call in of_others if call.finished < mine[10].started]) < len(others), "it did not go first"

    gone = wait_for(forged, lambda body: not is_ready(body))
    assert reason_of(gone) == "AccessDenied"
    assert not calls_of_run(forged, wait_for_refusal(forged, names[1]))


def test_a_principal_created_anew_is_told(scene: Scene) -> None:
    """The operator comes back as another user: its old trust policies are void."""
    stage = scene.stage
    vendor = stage.aws.account("111111111111")
    other = vendor.create_user(f"operator-of-{scene.namespace}", "/platform/")
    vendor.put_user_policy(
        f"operator-of-{scene.namespace}",
        {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]},
    )
    stage.controller.stop()
    stage.controller.start({"AWS_ACCESS_KEY_ID": other.access_key_id, "AWS_SECRET_ACCESS_KEY": other.secret_access_key})
    try:
        gone = wait_for(scene, lambda body: not is_ready(body))
        message = condition(gone, "TrustVerified")["message"]
        assert reason_of(gone) == "AccessDenied"
        assert f"was {stage.operator.user_id} and is {other.user_id} now" in message
        assert "names it again" in message
        assert gone["status"]["principalId"] == other.user_id
    finally:
        stage.controller.stop()
        stage.controller.start()
    assert wait_for(scene, is_ready)["status"]["principalId"] == stage.operator.user_id


def test_without_an_identity_verdicts_stay_and_say_so(scene: Scene) -> None:
    says = "credentials have expired"
    stage, namespace = scene.stage, scene.namespace
    scene.rules = [stage.proxy.add(Rule(Match(action=None), expired_token()))]
    fresh = Scene(stage, namespace, "fresh", f"{namespace}-fresh")
    stage.role(stage.trust(fresh.external_id), fresh.role_name)
    stage.integration(namespace, "fresh", roleArn=fresh.role_arn)
    verify_now(scene, "1")
    unknown = wait_for(fresh, lambda body: reason_of(body) == "NoIdentity")
    assert condition(unknown, "TrustVerified")["status"] == "Unknown"
    assert condition(unknown, "Ready")["status"] == "False"
    assert says in condition(unknown, "TrustVerified")["message"]
    silent = wait_for(scene, lambda body: says in condition(body, "TrustVerified")["message"])
    assert since_when(silent) == since_when(scene.first)
    assert reason_of(silent) == "Verified"
    lift(scene)
    wait_for(fresh, is_ready, timeout=40)
    wait_for(scene, lambda body: says not in condition(body, "TrustVerified")["message"], timeout=40)
