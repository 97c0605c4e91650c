"""How calls are named and found, and what the judge of a life complains about."""

import base64
import datetime as dt
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.audit import AuditEvent
from sandbox.crashpoints.calls import Call, Disturbance, Moment, Scope, Tape
from sandbox.crashpoints.judge import Evidence, complaints
from sandbox.crashpoints.lives import LIVES
from sandbox.crashpoints.minted import Minted
from sandbox.crashpoints.rules import Rules
from sandbox.faults import Request
from sandbox.writings import writings

USER = "system:serviceaccount:spacelift-aws:spacelift-aws-controller"
RULES = Rules.of("spacelift-aws-controller")
FINISHED = next(life for life in LIVES if life.name == "finished")
ENDED = {
    "status": {
        "phase": "Finished",
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Finished"}],
    }
}


def tape(at: dict[Call, Any]) -> tuple[Tape, Scope]:
    heard = Tape()
    heard.own("arn:role", "team")
    return heard, heard.begin("team", Scope(lambda _name: True, at))


def test_calls_have_the_same_names_in_every_namespace() -> None:
    heard, scope = tape({})
    runs = "/apis/aws.spacelift.io/v1beta1/namespaces/team/runs/it/status"
    heard.of_api("PATCH", runs, "")
    heard.of_api("PATCH", runs, "")
    heard.of_api("POST", "/api/v1/namespaces/team/secrets", "dryRun=All")
    heard.of_api("DELETE", f"/api/v1/namespaces/team/secrets/aws-run-{'0' * 26}", "")
    heard.of_api("GET", "/api/v1/namespaces/other/pods", "")
    heard.of_api("GET", "/api/v1/pods", "")
    heard.of_sts(Request("AssumeRole", {"RoleArn": "arn:role"}))
    heard.of_sts(Request("AssumeRole", {"RoleArn": "arn:role", "Policy": "{}"}))
    heard.of_sts(Request("AssumeRole", {"RoleArn": "arn:another"}))
    assert [str(call) for call in scope.calls] == [
        "PATCH runs/it/status #1",
        "PATCH runs/it/status #2",
        "POST secrets?dryRun #1",
        "DELETE secrets/aws-run-* #1",
        "AssumeRole #1",
        "AssumeRole by a probe #1",
    ]


def test_a_point_is_met_once_and_from_a_death_on_nothing_is_sent() -> None:
    second = Call("POST pods", 2)
    heard, scope = tape({second: Moment.BEFORE})
    pods = "/api/v1/namespaces/team/pods"
    assert heard.of_api("POST", pods, "") is None
    order = heard.of_api("POST", pods, "")
    assert order is not None
    assert order.what is Moment.BEFORE
    order.reached()
    held = heard.of_sts(Request("AssumeRole", {"RoleArn": "arn:role"}))
    assert held is not None
    assert held.what is None
    heard.resume(["team"])
    assert scope.released.is_set()
    assert heard.of_api("POST", pods, "") is None
    assert scope.met == {second}


def test_a_fault_takes_one_call() -> None:
    heard, _ = tape({Call("POST pods", 1): Disturbance.BUSY})
    orders = [heard.of_api("POST", "/api/v1/namespaces/team/pods", "") for _ in range(2)]
    assert [order.what if order else None for order in orders] == [Disturbance.BUSY, None]


def event(verb: str, resource: str, at: float, code: int = 200, **raw: Any) -> AuditEvent:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=at)
    name, _, subresource = resource.partition("/")
    group = "aws.spacelift.io" if name == "runs" else ""
    return AuditEvent(USER, verb, group, name, subresource, "team", "", code, "/", moment, moment, raw)


def tried_out(asked: AuditEvent) -> AuditEvent:
    return replace(asked, uri=f"{asked.uri}?dryRun=All")


def end(at: float) -> AuditEvent:
    return event("patch", "runs/status", at, requestObject={"status": {"phase": "Finished"}})


LIFE = [
    event("create", "secrets", 1, 201),
    event("create", "pods", 2, 201),
    event("delete", "secrets", 3),
    end(4),
]


FORBIDDEN = event("delete", "pods", 5, 403, annotations={"authorization.k8s.io/decision": "forbid"})


def judged(events: list[AuditEvent], rules: Rules = RULES, **other: Any) -> list[str]:
    usual: Counter[tuple[str, str]] = Counter({(one.verb, one.resource): 1 for one in LIFE})
    usual["patch", "runs/status"] = 1
    evidence = Evidence(
        **{
            "life": FINISHED,
            "events": events,
            "run": ENDED,
            "secrets": [],
            "usual": usual,
            "spare": 1,
            "minted": frozenset({"hush"}),
            **other,
        }
    )
    return complaints(evidence, rules)


def test_a_good_life_has_nothing_wrong() -> None:
    assert judged(LIFE) == []
    assert judged([*LIFE[:2], tried_out(LIFE[1]), *LIFE[2:]]) == [], "what was only asked was not made"


@pytest.mark.parametrize(
    ("events", "other", "wrong"),
    [
        ([*LIFE, event("create", "pods", 5, 201)], {}, "2 pods were made"),
        ([LIFE[0], *LIFE[2:]], {}, "0 pods were made"),
        (LIFE, {"secrets": ["aws-run-x"]}, "left behind: aws-run-x"),
        ([*LIFE, end(5)], {}, "2 ends were written"),
        ([LIFE[0], LIFE[1], LIFE[3], LIFE[2]], {}, None),
        ([*LIFE[:2], event("delete", "secrets", 5), LIFE[3]], {}, "the end was written before the Secret was gone"),
        ([*LIFE, event("get", "secrets", 5)], {}, "its role does not list get secrets"),
        ([*LIFE, *[event("delete", "secrets", 3)] * 3], {}, "4 times delete secrets, usually 1"),
        (
            [*LIFE, event("create", "events", 5, requestObject={"message": "it is hush"})],
            {},
            "credentials in the audit",
        ),
        (LIFE, {"run": None}, "ended / instead of Finished/Finished"),
        ([*LIFE, FORBIDDEN], {}, "forbidden: delete pods"),
    ],
)
def test_what_is_wrong_is_said(events: list[AuditEvent], other: dict[str, Any], wrong: str | None) -> None:
    found = judged(events, **other)
    assert found == [] if wrong is None else any(one.startswith(wrong) for one in found), found


def test_an_api_server_may_forbid_what_it_does_not_know_yet_and_a_namespace_takes_its_roles_along() -> None:
    assert judged([*LIFE, FORBIDDEN], replace(RULES, api_server_restarts=True)) == []
    assert judged([*LIFE, FORBIDDEN], life=replace(FINISHED, rights_end=True)) == []


SECRET = "q/W+e'r\"t<y&" + "0123456789abcdefghij"


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_value_is_found_inside_of_base64_wherever_it_begins(before: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(f"{before}{SECRET} and more".encode()).decode()
        assert any(form in text for form in writings(SECRET)), text


@pytest.mark.parametrize("text", [SECRET, repr(SECRET), quote(SECRET), SECRET.encode().hex(), quote(SECRET, safe="")])
def test_other_writings_are_found(text: str) -> None:
    assert any(form in text for form in writings(SECRET)), text


def test_no_writing_is_so_short_that_it_is_found_by_chance() -> None:
    assert min(map(len, writings(SECRET))) >= 30


def test_what_sts_gives_out_is_learnt_and_in_the_end_forgotten() -> None:
    minted = Minted(kept=2)
    minted.hear(b"<SecretAccessKey>first</SecretAccessKey>")
    minted.hear(b"<SecretAccessKey>second</SecretAccessKey><SessionToken>third</SessionToken>")
    assert sorted(minted.values) == ["second", "third"]
