"""What becomes of a verdict: trust that breaks, that cannot be asked about, and specs that change."""

import time
from functools import partial
from typing import Any

import pytest

from sandbox.faults import (
    Match,
    Rule,
    denied,
    throttled,
)
from sandbox.objects import condition
from sandbox.stage import Stage

from . import probes
from .scene import Scene, eventually, is_ready, lift, paste_statement, probes_of, reason_of, wait_for
from .verified import (
    FORGED,
    break_trust,
    calls_of_run,
    finish,
    rounds,
    since_when,
    stay,
    told,
    verify_now,
    wait_for_refusal,
)


def test_a_verified_trust_that_breaks_stops_runs_until_it_is_repaired(scene: Scene) -> None:
    before = len(rounds(scene))
    break_trust(scene)
    verify_now(scene, "1")
    eventually(lambda: len(rounds(scene)) > before, "a round that doubts")
    doubted_at = rounds(scene)[before].finished
    gone = wait_for(scene, lambda body: not is_ready(body))
    assert time.time() - doubted_at >= 3, "one round is not enough"
    assert reason_of(gone) == condition(gone, "Ready")["reason"] == "AccessDenied"
    assert len(rounds(scene)) >= before + 2
    eventually(lambda: [e["reason"] for e in told(scene)] == ["Verified", "AccessDenied"], "an Event tells")

    name = scene.stage.run(scene.namespace)
    waiting = wait_for_refusal(scene, name)
    assert waiting["status"]["phase"] == "Queued"
    assert "trust policy needs this statement" in condition(waiting, "CredentialsIssued")["message"]
    assert not calls_of_run(scene, waiting)

    scene.first = gone
    paste_statement(scene)
    done = finish(scene, name)
    assert is_ready(wait_for(scene, is_ready))
    assert len(calls_of_run(scene, done)) == 1


def test_one_round_that_fails_changes_nothing(scene: Scene) -> None:
    before = len(rounds(scene))
    rule = Rule(Match(role_arn=scene.role_arn, session_name_like=probes.named(probes.OWN)), denied(), times=1)
    scene.stage.proxy.add(rule)
    verify_now(scene, "1")
    eventually(lambda: rule.used, "the round that fails")
    name = scene.stage.run(scene.namespace)
    finish(scene, name)
    eventually(lambda: len(rounds(scene)) == before + 2, "the round that is good")
    shown = wait_for(
        scene, lambda body: body and body["status"]["lastVerifiedTime"] > scene.first["status"]["lastVerifiedTime"]
    )
    assert since_when(shown) == since_when(scene.first)
    eventually(lambda: told(scene), "the Event of the first verification")
    assert {event["type"] for event in told(scene)} == {"Normal"}


def test_what_cannot_be_asked_leaves_the_verdict_and_is_told(scene: Scene) -> None:
    match = Match(role_arn=scene.role_arn, session_name_like=probes.ALL)
    scene.rules = [scene.stage.proxy.add(Rule(match, throttled()))]
    verify_now(scene, "1")
    silent = wait_for(scene, lambda body: "Nothing could be asked" in condition(body, "TrustVerified")["message"])
    assert since_when(silent) == since_when(scene.first)
    assert reason_of(silent) == "Verified"
    assert "Rate exceeded" in condition(silent, "TrustVerified")["message"]
    assert probes_of(silent) == probes_of(scene.first)
    finish(scene, scene.stage.run(scene.namespace))
    lift(scene)
    heard = wait_for(scene, lambda body: "Nothing could" not in condition(body, "TrustVerified")["message"])
    assert since_when(heard) == since_when(scene.first)
    eventually(lambda: told(scene), "the Event of the first verification")
    assert [event["reason"] for event in told(scene)] == ["Verified"]


def test_any_new_value_of_the_annotation_verifies(scene: Scene) -> None:
    for number, value in enumerate(["a", "b", "a"], start=2):
        verify_now(scene, value)
        eventually(partial(_has_rounds, scene, number), f"round {number}")
    wait_for(scene, lambda body: body and body["status"]["probes"][0]["requestId"] == rounds(scene)[-1].request_id)
    verify_now(scene, "a")
    stay(lambda: len(rounds(scene)) == 4, "the same value asks for nothing")


def _has_rounds(scene: Scene, count: int) -> bool:
    return len(rounds(scene)) == count


@pytest.mark.parametrize(
    "spec", [{"verifyEvery": "48h"}, {"allowedNamespaces": {"from": "All"}}, {"durationSeconds": 1800}]
)
def test_every_change_of_spec_verifies(scene: Scene, spec: dict[str, Any]) -> None:
    scene.set_spec(**spec)
    shown = wait_for(scene, lambda body: body and condition(body, "Ready")["observedGeneration"] == 2)
    assert since_when(shown) == since_when(scene.first)
    assert len(rounds(scene)) == 2
    if "verifyEvery" in spec:
        assert shown["status"]["nextVerifyTime"] > scene.first["status"]["nextVerifyTime"]


def test_a_forged_status_issues_nothing(stage: Stage, namespace: str) -> None:
    scene = Scene(stage, namespace, "prod", f"{namespace}-prod")
    stage.role(stage.trust("somebody@else"), scene.role_name)
    stage.integration(namespace, roleArn=scene.role_arn)
    wait_for(scene, lambda body: reason_of(body) == "AccessDenied")
    name = stage.run(namespace)
    for _ in range(3):
        stage.objects.patch(
            "AwsIntegration", namespace, "prod", {"status": {"conditions": FORGED}}, subresource="status"
        )
        time_of_writing_over = wait_for(scene, lambda body: not is_ready(body))
        assert reason_of(time_of_writing_over) == "AccessDenied"
    waiting = wait_for_refusal(scene, name)
    assert not calls_of_run(scene, waiting)
