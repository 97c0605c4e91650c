"""From what AWS shows of a session to the Run behind it, and back."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from spacelift_aws_cli.exits import Exit, UserError
from spacelift_aws_cli.model.objects import Object, condition, status_of

_RUN_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_KEY = re.compile(r"A(?:SI|KI)A[A-Z0-9]{12,124}")
_SESSION = re.compile(r"arn:aws[a-z-]*:sts::\d{12}:assumed-role/[^/]+/([^/]+)")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Trail:
    """What leads to a Run: its run ID, an access key ID of its sessions, or its own name."""

    run_id: str | None = None
    access_key_id: str | None = None
    name: str | None = None

    @property
    def created(self) -> datetime | None:
        """When the Run was created: it stands in the run ID."""
        if self.run_id is None:
            return None
        number = 0
        for letter in self.run_id:
            number = number << 5 | _CROCKFORD.index(letter)
        return datetime.fromtimestamp((number >> 80) / 1000, UTC)

    def __str__(self) -> str:
        return self.run_id or self.access_key_id or self.name or "nothing"


def read(text: str) -> Trail:
    """The trail in a reference, or in a CloudTrail event as JSON. Raises UserError."""
    word = text.strip()
    if word.startswith(("{", "[")):
        return _of_event(word)
    if session := _SESSION.fullmatch(word):
        if _RUN_ID.fullmatch(session[1]):
            return Trail(run_id=session[1])
        raise UserError(
            f"The session {session[1]} is not of a run: the session of a run has the run ID as its name.", Exit.NO
        )
    if _RUN_ID.fullmatch(word.upper().removeprefix("AWS-RUN-")):
        return Trail(run_id=word.upper().removeprefix("AWS-RUN-"))
    if _KEY.fullmatch(word):
        return Trail(access_key_id=word)
    return Trail(name=word)


def _of_event(text: str) -> Trail:
    """Of one event, of a log file's `Records`, or of what `aws cloudtrail lookup-events` prints."""
    try:
        events = list(_events(json.loads(text)))
    except ValueError:
        raise UserError("This is not a CloudTrail event: it is not valid JSON.", Exit.USAGE) from None
    trails = {trail for trail in map(_in_event, events) if trail != Trail()}
    by_run = {trail.run_id: trail for trail in trails if trail.run_id}
    if len(by_run) > 1:
        named = ", ".join(sorted(by_run))
        raise UserError(f"These events are of {len(by_run)} runs ({named}): give one event.", Exit.USAGE)
    found = next(iter(by_run.values()), None) or next(iter(trails), None)
    if found is None:
        raise UserError("This event names no session of a run: neither a run ID nor an access key ID.", Exit.NO)
    return found


def _events(content: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(content, list):
        for one in content:
            yield from _events(one)
    elif isinstance(content, dict):
        inner = content.get("Records") or content.get("Events")
        if inner is not None:
            yield from _events(inner)
        elif isinstance(content.get("CloudTrailEvent"), str):
            yield from _events(json.loads(content["CloudTrailEvent"]))
        else:
            yield content


def _in_event(event: Mapping[str, Any]) -> Trail:
    """Of what a run did, or of the operator's own AssumeRole for it."""
    identity = event.get("userIdentity") or {}
    session = _SESSION.fullmatch(str(identity.get("arn") or ""))
    asked = event.get("requestParameters") or {}
    issued = ((event.get("responseElements") or {}).get("credentials") or {}).get("accessKeyId")
    names = (session[1] if session else "", str(asked.get("roleSessionName") or ""))
    run_id = next((name for name in names if _RUN_ID.fullmatch(name)), None)
    key = identity.get("accessKeyId") if session and run_id == session[1] else issued or identity.get("accessKeyId")
    return Trail(run_id=run_id, access_key_id=str(key) if key else None)


def fits(trail: Trail, run: Object) -> bool:
    """Whether a Run is the one. Its access key ID is public and stands in its condition."""
    status = status_of(run)
    if trail.run_id:
        return bool(status.get("runId") == trail.run_id)
    if trail.name:
        return bool(run["metadata"]["name"] == trail.name)
    return str(trail.access_key_id) in str(condition(run, "CredentialsIssued").get("message") or "")


AUDIT_MARK = "spacelift-aws-audit"
"""The field `log` of every line of the audit trail; `docs/audit.md`."""


def audit_records(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The records of an audit trail among whatever other lines there are."""
    for line in lines:
        start = line.find("{")
        if start < 0:
            continue
        try:
            record = json.loads(line[start:])
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("log") == AUDIT_MARK and record.get("runId"):
            yield record


def of_trail(trail: Trail, records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records of the one Run that the trail leads to, in the order of the audit trail."""
    known = list(records)
    run_ids = {
        str(one["runId"])
        for one in known
        if trail.run_id == one["runId"]
        or (trail.access_key_id and trail.access_key_id == one.get("accessKeyId"))
        or (trail.name and trail.name == one.get("run"))
    }
    return [one for one in known if str(one["runId"]) in run_ids]
