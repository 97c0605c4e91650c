"""From what AWS shows to a run."""

import json

import pytest

from spacelift_aws.names import run_id
from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.model import times, traces
from spacelift_aws_cli.model.redaction import redacted, text

BORN = times.parse("2026-01-02T03:04:05Z")
assert BORN is not None
ID = run_id(BORN, "uid")
ARN = f"arn:aws:sts::222222222222:assumed-role/deploy/{ID}"
KEY = "ASIAIOSFODNN7EXAMPLE"
ACTED = {"userIdentity": {"type": "AssumedRole", "arn": ARN, "accessKeyId": KEY}, "eventName": "PutObject"}
ISSUED = {
    "userIdentity": {
        "type": "IAMUser",
        "arn": "arn:aws:iam::111111111111:user/x",
        "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
    },
    "requestParameters": {"roleSessionName": ID},
    "responseElements": {"credentials": {"accessKeyId": KEY}},
}


@pytest.mark.parametrize(
    "reference",
    [
        ID,
        ID.lower(),
        f"aws-run-{ID.lower()}",
        ARN,
        json.dumps(ACTED),
        json.dumps(ISSUED),
        json.dumps({"Records": [ACTED, ISSUED]}),
        json.dumps({"Events": [{"CloudTrailEvent": json.dumps(ACTED)}]}),
    ],
)
def test_each_of_these_leads_to_the_run(reference: str) -> None:
    found = traces.read(reference)
    assert found.run_id == ID
    assert found.created == BORN


def test_events_give_the_sessions_key_and_not_the_callers() -> None:
    assert traces.read(json.dumps(ISSUED)).access_key_id == KEY
    assert traces.read(json.dumps(ACTED)).access_key_id == KEY
    assert traces.read(KEY) == traces.Trail(access_key_id=KEY)
    assert traces.read("whoami") == traces.Trail(name="whoami")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("{not json", "not valid JSON"),
        ("{}", "names no session of a run"),
        ("arn:aws:sts::222222222222:assumed-role/deploy/somebody", "is not of a run"),
    ],
)
def test_what_leads_nowhere_says_so(reference: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        traces.read(reference)


def test_the_audit_trail_is_read_among_other_lines() -> None:
    issued = {"log": "spacelift-aws-audit", "event": "SessionIssued", "runId": ID, "run": "plan", "accessKeyId": KEY}
    ended = {"log": "spacelift-aws-audit", "event": "RunEnded", "runId": ID, "run": "plan"}
    other = {"log": "spacelift-aws-audit", "event": "RunEnded", "runId": "other"}
    lines = ["plain words", json.dumps({"runId": ID}), "{broken", *map(json.dumps, (issued, other, ended))]
    records = list(traces.audit_records(lines))
    assert traces.of_trail(traces.Trail(access_key_id=KEY), records) == [issued, ended]
    assert traces.of_trail(traces.Trail(run_id=ID), records) == [issued, ended]
    assert traces.of_trail(traces.Trail(name="plan"), records) == [issued, ended]
    assert traces.of_trail(traces.Trail(access_key_id="ASIANOBODY0000000000"), records) == []


SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_nothing_that_may_be_a_secret_is_packed() -> None:
    container = {
        "command": ["sh", "-c", f"export X={SECRET}"],
        "args": ["--password", "hunter2"],
        "env": [{"name": "A", "value": "hunter2"}, {"name": "SPACELIFT_AWS_POOL", "value": "build"}],
    }
    packed = json.dumps(redacted({"spec": container, "data": {"k": "aHVudGVyMg=="}}))
    assert "hunter2" not in packed
    assert SECRET not in packed
    assert "aHVudGVyMg" not in packed
    assert "build" in packed
    assert SECRET not in text(f"the key {SECRET}.")
    assert "abc123" not in text("Authorization: Bearer abc123")
    assert ID in text(f"run {ID}")
