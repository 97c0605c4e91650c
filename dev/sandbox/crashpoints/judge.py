"""What must hold of a life, whatever befell it, judged by what the API server wrote down."""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.audit import AuditEvent, read_from
from sandbox.crashpoints.lives import Life
from sandbox.crashpoints.rules import Rules
from sandbox.objects import Object, condition

TERMINAL = ("Finished", "Failed", "Stopped")
Kind = tuple[str, str]
"""Verb and resource, subresource included."""


class AuditTail:
    """The audit log by namespace, read on from where it was read last."""

    def __init__(self, log: Path) -> None:
        self._log, self._lock = log, threading.Lock()
        self._offset = log.stat().st_size
        self._events: defaultdict[str, list[AuditEvent]] = defaultdict(list)

    def of(self, namespace: str) -> list[AuditEvent]:
        """All that was done in a namespace so far."""
        with self._lock:
            events, self._offset = read_from(self._log, self._offset)
            for event in events:
                self._events[event.namespace].append(event)
            return list(self._events[namespace])

    def forget(self, namespace: str) -> None:
        self._events.pop(namespace, None)


def kinds(events: Iterable[AuditEvent], rules: Rules) -> Counter[Kind]:
    """The executor's own calls, counted. Events may be dropped, and are none of a life's course.

    Neither are calls that were forbidden: that is looked at by itself.
    """
    ours = (event for event in events if event.user.endswith(rules.user_ends) and event.resource != "events")
    return Counter((event.verb, _resource(event)) for event in ours if not _is_forbidden(event))


@dataclass(frozen=True)
class Evidence:
    """What there is when a life is over."""

    life: Life
    events: Sequence[AuditEvent]
    run: Object | None
    secrets: Sequence[str]
    """Names of the Secrets with run credentials that are left."""
    usual: Counter[Kind]
    """What is called where nothing goes wrong."""
    spare: int
    """How many more calls of a kind than twice the usual there may be."""
    minted: frozenset[str]
    """Secret values that STS gave out meanwhile, in all their writings."""


def complaints(evidence: Evidence, rules: Rules) -> list[str]:
    """All that is wrong; empty where nothing is."""
    ours = [event for event in evidence.events if event.user.endswith(rules.user_ends)]
    return [
        *_of_the_end(evidence),
        *_of_pods(evidence),
        *_of_secrets(evidence),
        *_of_permissions(evidence.life, ours, rules),
        *_of_the_budget(evidence, rules),
        *_of_credentials(evidence),
    ]


def _of_the_end(evidence: Evidence) -> Iterable[str]:
    life, run = evidence.life, evidence.run
    if not life.ends:
        if run is not None:
            yield "the Run is still there"
        return
    end = ((run or {}).get("status", {}).get("phase", ""), condition(run, "Succeeded").get("reason", ""))
    if end not in life.ends:
        yield f"ended {'/'.join(end)} instead of {' or '.join('/'.join(one) for one in sorted(life.ends))}"


def _of_pods(evidence: Evidence) -> Iterable[str]:
    """Whoever made them: no two executors may make one each."""
    done = _carried_out(evidence.events)
    made = sum((event.verb, _resource(event), event.code) == ("create", "pods", 201) for event in done)
    least, most = evidence.life.pods
    if not least <= made <= most:
        yield f"{made} pods were made"


def _carried_out(events: Sequence[AuditEvent]) -> Iterable[AuditEvent]:
    """Without those that only ask whether they would be."""
    return (event for event in events if "dryRun=" not in event.uri)


def _of_secrets(evidence: Evidence) -> Iterable[str]:
    if evidence.secrets:
        yield f"left behind: {', '.join(evidence.secrets)}"
    ends = [event for event in evidence.events if _is_end(event)]
    if len(ends) > 1:
        yield f"{len(ends)} ends were written"
    made = [e for e in _carried_out(evidence.events) if (e.verb, e.resource, e.code) == ("create", "secrets", 201)]
    if not ends or not made:
        return
    gone = [
        event
        for event in evidence.events
        if (event.verb, event.resource) == ("delete", "secrets") and event.code in (200, 404)
    ]
    if not any(made[-1].completed <= event.completed <= ends[0].received for event in gone):
        yield "the end was written before the Secret was gone"


def _is_end(event: AuditEvent) -> bool:
    phase = event.raw.get("requestObject", {}).get("status", {}).get("phase")
    return (event.verb, _resource(event), event.code) == ("patch", "runs/status", 200) and phase in TERMINAL


def _of_permissions(life: Life, ours: Sequence[AuditEvent], rules: Rules) -> Iterable[str]:
    for event in ours:
        if (event.verb, event.api_group, _resource(event)) not in rules.allowed:
            yield f"its role does not list {event.verb} {_resource(event)}"
        if _is_forbidden(event) and not (rules.api_server_restarts or life.rights_end):
            yield f"forbidden: {event.verb} {_resource(event)}"


def _is_forbidden(event: AuditEvent) -> bool:
    return bool(event.raw.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid")


def _of_the_budget(evidence: Evidence, rules: Rules) -> Iterable[str]:
    if evidence.life.open_ended:
        return
    for kind, count in kinds(evidence.events, rules).items():
        if count > 2 * evidence.usual[kind] + evidence.spare:
            yield f"{count} times {kind[0]} {kind[1]}, usually {evidence.usual[kind]}"


def _of_credentials(evidence: Evidence) -> Iterable[str]:
    text = "\n".join(json.dumps(event.raw) for event in evidence.events)
    if any(value in text for value in evidence.minted):
        yield "credentials in the audit log"


def _resource(event: AuditEvent) -> str:
    return f"{event.resource}/{event.subresource}".rstrip("/")
