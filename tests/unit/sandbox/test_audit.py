"""Reading the API server's audit log."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

from sandbox import audit

ENTRY: dict[str, Any] = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "level": "Metadata",
    "stage": "ResponseComplete",
    "requestURI": "/api/v1/namespaces/team/pods/one/status",
    "verb": "patch",
    "user": {"username": "system:serviceaccount:team:operator"},
    "objectRef": {"resource": "pods", "namespace": "team", "name": "one", "apiVersion": "v1", "subresource": "status"},
    "responseStatus": {"metadata": {}, "code": 200},
    "requestReceivedTimestamp": "2026-01-02T03:04:05.000006Z",
    "stageTimestamp": "2026-01-02T03:04:05.100000Z",
}


def test_an_entry_tells_who_did_what_to_which_object(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(json.dumps(ENTRY) + "\n")
    [event] = audit.read(log)
    assert (event.user, event.verb, event.code) == ("system:serviceaccount:team:operator", "patch", 200)
    assert (event.api_group, event.resource, event.subresource) == ("", "pods", "status")
    assert (event.namespace, event.name) == ("team", "one")
    assert event.received == dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    assert event.completed - event.received < dt.timedelta(seconds=1)


def test_a_request_without_an_object_has_empty_fields(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(json.dumps({k: v for k, v in ENTRY.items() if k not in ("objectRef", "responseStatus")}) + "\n")
    [event] = audit.read(log)
    assert (event.resource, event.name, event.code) == ("", "", 0)


def test_the_entries_of_one_namespace_can_be_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    other = {**ENTRY, "requestURI": '/"team"', "objectRef": {**ENTRY["objectRef"], "namespace": "team-2"}}
    log.write_text(f"{json.dumps(ENTRY)}\n{json.dumps(other)}\n")
    assert [event.namespace for event in audit.read(log, "team")] == ["team"]
    assert [event.namespace for event in audit.read(log)] == ["team", "team-2"]


def test_a_line_that_is_being_written_is_left_for_the_next_time(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(f"{json.dumps(ENTRY)}\n{json.dumps(ENTRY)[:40]}")
    assert len(list(audit.read(log))) == 1
