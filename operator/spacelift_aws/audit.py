"""The audit trail: one JSON line for each session asked of STS for a Run, and for each Run's end. `docs/audit.md`.

Its stream is none of the logs': the container's standard output, where every line is marked, or a file. A line is
written before anything else comes of what it tells. Who is killed in between may leave one twice, and none out.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from spacelift_aws import metrics

log = logging.getLogger(__name__)

MARK = "spacelift-aws-audit"
"""The value of `log` in every line."""

STDOUT = "stdout"
OFF = "off"

FIELDS: Mapping[str, str] = {
    "log": f"`{MARK}`: marks the line among others of the same stream",
    "time": "When it was written, UTC",
    "event": "`SessionIssued`, `SessionRenewed`, `SessionRefused` or `RunEnded`",
    "outcome": "`Issued`; the error code of STS; or the reason of the Run's condition `Succeeded`",
    "namespace": "Of the Run",
    "run": "Its name",
    "uid": "Its UID: a Run of the same name made later has another",
    "runId": "Its ID, in AWS the name of the session",
    "type": "`spec.type`",
    "stack": "`spec.stack`",
    "requestedBy": "Who created it; absent where the cluster cannot tell",
    "stoppedBy": "Who stopped it",
    "executor": "`controller` or `worker/POOL`",
    "integration": "`NAMESPACE/NAME` of the AwsIntegration",
    "roleArn": "The role asked for",
    "sessionArn": "Under which AWS sees the run",
    "accessKeyId": "The session's public part; CloudTrail has it in `userIdentity.accessKeyId`",
    "expiration": "When the session ends, UTC",
    "stsRequestId": "Of the call of STS; CloudTrail has it in `requestID`",
    "policiesDigest": "SHA-256 of the session policies sent: two sessions with the same digest had the same",
    "phase": "The Run's, at its end",
    "exitCode": "Of the container that decided the end",
}
"""Every field that a line may have. What does not apply is absent."""


class AuditTrail:
    """Writes lines, each at once and whole."""

    def __init__(self, stream: TextIO | None) -> None:
        """Without a stream nothing is written."""
        self._stream = stream

    def write(self, event: str, **fields: object) -> None:
        """Write one line; None stands for what does not apply. Never raises: no Run may wait for its audit."""
        if self._stream is None:
            return
        try:
            self._stream.write(line(event, datetime.now(UTC), fields))
            self._stream.flush()
        except (OSError, ValueError) as error:
            metrics.AUDIT_FAILURES.inc()
            log.error("the audit trail cannot be written: %s", error)


def open_trail(where: str) -> AuditTrail:
    """The trail at `stdout`, in a file, or nowhere (`off`). Raises OSError if the file cannot be opened."""
    if where == OFF:
        return AuditTrail(None)
    if where == STDOUT:
        return AuditTrail(sys.stdout)
    # Appended to, readable by the owner and the group, and unbuffered but for the one line.
    descriptor = os.open(where, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    return AuditTrail(os.fdopen(descriptor, "w", encoding="utf-8"))


def line(event: str, now: datetime, fields: Mapping[str, Any]) -> str:
    """A line as it is written. Raises KeyError for a field that is not documented."""
    for name in fields:
        if name not in FIELDS:
            raise KeyError(name)
    moment = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shown = {"log": MARK, "time": moment, "event": event}
    shown |= {name: value for name, value in fields.items() if value is not None}
    return json.dumps(shown, ensure_ascii=False) + "\n"


def reference() -> str:
    """The fields as a table in Markdown."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in FIELDS.items()]
    return "\n".join(["| Field | Meaning |", "| --- | --- |", *rows]) + "\n"
