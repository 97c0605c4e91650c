"""What a person reads in the status."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import AwsIntegration, AwsIntegrationStatus
from spacelift_aws.api.patch import status_patch, wire
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.identity import Identity
from spacelift_aws.controllers.awsintegration import pool
from spacelift_aws.controllers.awsintegration.history import Draw, History, Schedule, record_round
from spacelift_aws.controllers.awsintegration.probes.answers import ProbeRound
from spacelift_aws.controllers.awsintegration.probes.ask import Prober
from spacelift_aws.controllers.awsintegration.probes.plan import plan_of
from spacelift_aws.controllers.awsintegration.status import StatusInput, desired_status, displayed_verdict, remembered
from spacelift_aws.controllers.awsintegration.verdict import judge

PRINCIPAL = "arn:aws:iam::111122223333:role/op"
IDENTITY = Identity(PRINCIPAL, "AROAOP")
NOBODY = Identity(failure=StsError(Failure.NO_IDENTITY, "NoCredentialsError", "the operator has no AWS credentials"))
OURS = {
    "principal",
    "principalId",
    "trustPolicyStatement",
    "trustPolicy",
    "callerPolicyStatement",
    "createRoleUrl",
}


def known(
    kit: Any, integration: AwsIntegration, history: History | None = None, who: Identity = IDENTITY
) -> StatusInput:
    return StatusInput(integration, "demo", who, history, ("PowerUserAccess",), kit.clock.now)


def shown_status(known: StatusInput) -> dict[str, Any]:
    """The status as the API has it."""
    return wire(desired_status(known))


async def after_a_round(kit: Any, integration: AwsIntegration, trust: Any = None) -> History:
    plan = plan_of(integration, "demo")
    assert plan is not None
    answers = await Prober(kit.sts(trust), plan, "team", lambda: False, kit.clock).ask(plan.positions)
    verdict = judge(ProbeRound(plan, IDENTITY, answers))
    return record_round(History(plan), answers, verdict, "AROAOP", Draw(Schedule(jitter=0), Random(1)))


def condition(status: dict[str, Any], type_: str) -> dict[str, Any]:
    (found,) = [c for c in status["conditions"] if c["type"] == type_]
    return dict(found)


def with_status(integration: AwsIntegration, status: dict[str, Any]) -> AwsIntegration:
    return integration.model_copy(update={"status": AwsIntegrationStatus.model_validate(status)})


def test_everything_needed_to_create_the_role_is_there_before_the_role(kit: Any) -> None:
    status = shown_status(known(kit, kit.integration(roleArn=None)))
    assert status["externalId"] == "demo@team@deploy"
    assert status["principal"] == PRINCIPAL
    assert status["principalId"] == "AROAOP"
    statement = json.loads(status["trustPolicyStatement"])
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "demo@team@deploy"}}
    assert json.loads(status["trustPolicy"])["Statement"] == [statement]
    assert json.loads(status["callerPolicyStatement"])["Action"] == "sts:AssumeRole"
    assert "externalId=demo@team@deploy" in status["createRoleUrl"]
    assert "PowerUserAccess" in status["createRoleUrl"]
    for type_ in ("TrustVerified", "Ready"):
        assert (condition(status, type_)["status"], condition(status, type_)["reason"]) == ("False", "RoleNotSet")
    assert "nextVerifyTime" not in status


def test_tags_and_source_identity_show_on_both_sides_and_take_the_wizard_away(kit: Any) -> None:
    status = shown_status(known(kit, kit.integration(tagAssumeRole=True, sourceIdentity=True)))
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    assert json.loads(status["trustPolicyStatement"])["Action"] == actions
    assert json.loads(status["callerPolicyStatement"]) == {
        "Effect": "Allow",
        "Action": actions,
        "Resource": "arn:aws:iam::123456789012:role/deploy",
    }
    assert "createRoleUrl" not in status


def test_the_wizard_cannot_do_more_than_an_hour(kit: Any) -> None:
    assert "createRoleUrl" not in shown_status(known(kit, kit.integration(durationSeconds=3601)))


async def test_a_verified_integration(kit: Any) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration)
    status = shown_status(known(kit, integration, history))
    assert [(p["name"], p["result"]) for p in status["probes"]] == [
        ("Own", "Allowed"),
        ("None", "Denied"),
        ("Sibling", "Denied"),
        ("OtherInstallation", "Denied"),
        ("Spelling", "Denied"),
    ]
    assert [p.get("form") for p in status["probes"]] == [None, "Bare", "Bare", "Bare", "Bare"]
    assert not any("position" in probe for probe in status["probes"])
    assert status["probes"][0] == {
        "name": "Own",
        "result": "Allowed",
        "requestId": "req-1",
        "time": "2026-01-02T03:04:05Z",
    }
    assert not any("message" in probe for probe in status["probes"]), "a denial that ought to be needs no words"
    assert status["lastVerifiedTime"] == "2026-01-02T03:04:05Z"
    assert status["nextVerifyTime"] == "2026-01-03T03:04:05Z"
    assert condition(status, "TrustVerified")["reason"] == "Verified"
    assert condition(status, "Ready") == {
        "type": "Ready",
        "status": "True",
        "reason": "Verified",
        "message": "Runs may use this integration.",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }


async def test_a_probe_that_went_wrong_tells_what_sts_said(kit: Any) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration, lambda _: Failure.ACCESS_DENIED)
    assert shown_status(known(kit, integration, history))["probes"][0]["message"] == "because"


async def test_the_same_knowledge_gives_the_same_status_later(kit: Any) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration)
    status = shown_status(known(kit, integration, history))
    kit.clock.pass_(hours=1)
    again = with_status(integration, status)
    assert status_patch(again.status, desired_status(known(kit, again, history))) == {}


async def test_transition_times_move_with_the_status_only(kit: Any) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration, lambda _: Failure.ACCESS_DENIED)
    first = shown_status(known(kit, integration, history))
    kit.clock.pass_(minutes=1)
    still_no = await after_a_round(kit, integration, lambda _: None)
    second = shown_status(known(kit, with_status(integration, first), still_no))
    assert condition(second, "TrustVerified")["reason"] == "ExternalIdNotRequired"
    assert condition(second, "TrustVerified")["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    kit.clock.pass_(minutes=1)
    yes = await after_a_round(kit, integration)
    third = shown_status(known(kit, with_status(integration, second), yes))
    assert condition(third, "TrustVerified")["lastTransitionTime"] == "2026-01-02T03:06:05Z"


@pytest.mark.parametrize(
    ("spec", "external_id", "ready", "reason", "ready_reason"),
    [
        pytest.param({}, "demo@team@deploy", "True", "NotVerifiable", "WorkerMode", id="with a role it is usable"),
        pytest.param({"externalId": "mine"}, "mine", "True", "NotVerifiable", "WorkerMode", id="with its own ID"),
        pytest.param({"roleArn": None}, "demo@team@deploy", "False", "RoleNotSet", "RoleNotSet", id="without a role"),
    ],
)
def test_worker_mode(
    kit: Any, spec: dict[str, Any], external_id: str, ready: str, reason: str, ready_reason: str
) -> None:
    integration = kit.integration(generateCredentialsInWorker=True, **spec)
    status = shown_status(known(kit, integration))
    assert status["externalId"] == external_id
    assert not OURS & status.keys()
    assert condition(status, "TrustVerified")["reason"] == reason
    assert (condition(status, "Ready")["status"], condition(status, "Ready")["reason"]) == (ready, ready_reason)


def test_what_belonged_to_the_other_mode_is_removed_and_the_workers_words_stay(kit: Any) -> None:
    before = shown_status(known(kit, kit.integration()))
    before["workers"] = [{"pool": "default", "reason": "Verified"}]
    integration = with_status(kit.integration(generateCredentialsInWorker=True), before)
    patch = status_patch(integration.status, desired_status(known(kit, integration)))
    assert {key for key, value in patch.items() if value is None} == OURS
    assert "workers" not in patch


def test_an_operator_that_knows_nothing_of_itself_says_so(kit: Any) -> None:
    status = shown_status(known(kit, kit.integration(roleArn=None), who=NOBODY))
    assert not OURS & status.keys()
    assert status["externalId"] == "demo@team@deploy"
    assert condition(status, "TrustVerified")["reason"] == "RoleNotSet"
    assert "the operator has no AWS credentials" in condition(status, "TrustVerified")["message"]


def test_before_the_first_round_nothing_is_claimed(kit: Any) -> None:
    status = shown_status(known(kit, kit.integration()))
    assert condition(status, "TrustVerified")["reason"] == "NotVerifiedYet"
    assert condition(status, "Ready")["status"] == "False"


async def test_a_silence_is_told_beside_the_verdict_that_stays(kit: Any) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration)
    plan = history.plan
    kit.clock.pass_(hours=24)
    prober = Prober(kit.sts(lambda _: Failure.RETRYING), plan, "team", lambda: False, kit.clock)
    answers = await prober.ask(plan.ends)
    verdict = judge(ProbeRound(plan, IDENTITY, answers))
    silent = record_round(history, answers, verdict, "AROAOP", Draw(Schedule(), Random(1)))
    shown = displayed_verdict(known(kit, integration, silent))
    assert (shown.status, shown.reason) == ("True", "Verified")
    assert "Nothing could be asked of STS since 2026-01-03T03:04:05Z" in shown.message


async def test_a_restart_shows_what_was_known(kit: Any) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration)
    silent = replace(history, inconclusive=None)
    status = shown_status(known(kit, integration, silent))
    again = with_status(integration, status)
    memory = remembered(again, history.plan, "demo@team@deploy")
    assert memory.verdict is not None
    assert (memory.verdict.status, memory.verdict.reason) == ("True", "Verified")
    assert memory.verified_at == history.verified_at
    assert memory.principal_id == "AROAOP"
    assert not memory.may_issue


async def test_a_restart_makes_nobody_ask_more_often_for_what_is_long_missing(kit: Any) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration)
    status = shown_status(known(kit, integration, replace(history, inconclusive=None)))
    for entry in status["conditions"]:
        entry.update(status="False", lastTransitionTime="2026-01-02T00:00:00Z")
    memory = remembered(with_status(integration, status), history.plan, "demo@team@deploy")
    assert memory.no_since == datetime(2026, 1, 2, tzinfo=UTC)


async def test_a_restart_during_a_silence_does_not_repeat_it_twice(kit: Any) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration)
    status = shown_status(known(kit, integration, history))
    message = condition(status, "TrustVerified")["message"]
    status["conditions"][1]["message"] = f"{message} (Nothing could be asked of STS since yesterday: slow)"
    memory = remembered(with_status(integration, status), history.plan, "demo@team@deploy")
    assert memory.verdict is not None
    assert memory.verdict.message == message


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"externalId": "demo@other@deploy"}, id="another external ID: another installation, or forged"),
        pytest.param({"generation": 0}, id="an older spec"),
        pytest.param({"conditions": []}, id="no condition"),
        pytest.param({"unknown": True}, id="a condition that said nothing"),
    ],
)
async def test_what_does_not_fit_is_not_remembered(kit: Any, change: dict[str, Any]) -> None:
    integration = kit.integration()
    history = await after_a_round(kit, integration)
    status = shown_status(known(kit, integration, history))
    if "generation" in change:
        for entry in status["conditions"]:
            entry["observedGeneration"] = 0
    elif "unknown" in change:
        for entry in status["conditions"]:
            entry["status"] = "Unknown"
    else:
        status.update(change)
    assert remembered(with_status(integration, status), history.plan, "demo@team@deploy").verdict is None


async def test_a_forged_condition_of_ours_is_overwritten_and_others_stay(kit: Any) -> None:
    integration = kit.integration(
        status={
            "conditions": [
                {
                    "type": type_,
                    "status": "True",
                    "reason": "Forged",
                    "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
                for type_ in ("Ready", "TrustVerified", "Policy")
            ]
        }
    )
    history = await after_a_round(kit, integration, lambda _: Failure.ACCESS_DENIED)
    status = shown_status(known(kit, integration, history))
    assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [
        ("Ready", "False", "AccessDenied"),
        ("TrustVerified", "False", "AccessDenied"),
        ("Policy", "True", "Forged"),
        ("Reconciling", "True", "AccessDenied"),
    ]


async def test_never_verified_again_has_no_next_time(kit: Any) -> None:
    integration = kit.integration(verifyEvery="0s")
    history = await after_a_round(kit, integration)
    assert "nextVerifyTime" not in shown_status(known(kit, integration, history))


async def test_a_spelling_that_is_let_in_shows_its_place_and_form(kit: Any) -> None:
    def lets_in(request: Any) -> Any:
        plus = (request.external_id or "").find("+")
        return None if request.external_id == kit.own_id or (plus == 7 and request.tags) else Failure.ACCESS_DENIED

    integration = kit.integration(tagAssumeRole=True)
    status = shown_status(known(kit, integration, await after_a_round(kit, integration, lets_in)))
    assert condition(status, "TrustVerified")["reason"] == "OtherExternalIdAccepted"
    (spelling,) = [probe for probe in status["probes"] if probe["name"] == "Spelling"]
    assert (spelling["result"], spelling["position"], spelling["form"]) == ("Allowed", 8, "Run")


def test_entries_of_pools_that_are_gone_make_room(kit: Any) -> None:
    """The list holds 128: those that verified last keep their place."""
    integration = kit.integration(generateCredentialsInWorker=True)
    entries = [
        {"pool": f"pool-{number}", "lastVerifiedTime": f"2026-01-01T00:{number % 60:02}:{number // 60:02}Z"}
        for number in range(128)
    ]
    full = with_status(integration, {"workers": entries})
    workers = pool.desired_status(known(kit, full), "build").workers
    assert len(workers) == 128
    names = {entry.pool for entry in workers}
    assert "build" in names
    assert {f"pool-{number}" for number in range(128)} - names == {"pool-0"}
