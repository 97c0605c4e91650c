"""What a line of the audit trail looks like, and where it goes."""

import io
import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spacelift_aws import audit, metrics
from spacelift_aws.audit import AuditTrail, open_trail

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_a_line_is_marked_and_leaves_out_what_does_not_apply() -> None:
    written = audit.line("RunEnded", NOW, {"run": "plan", "stack": None, "exitCode": 0})
    assert written.endswith("}\n")
    assert json.loads(written) == {
        "log": "spacelift-aws-audit",
        "time": "2026-01-02T03:04:05.678Z",
        "event": "RunEnded",
        "run": "plan",
        "exitCode": 0,
    }


def test_only_documented_fields_can_be_written() -> None:
    with pytest.raises(KeyError):
        audit.line("SessionIssued", NOW, {"secretAccessKey": "x"})


def test_a_name_cannot_end_a_line() -> None:
    written = audit.line("RunEnded", NOW, {"requestedBy": 'x"}\n{"log": "forged'})
    assert written.count("\n") == 1
    assert json.loads(written)["requestedBy"] == 'x"}\n{"log": "forged'


def test_a_file_is_appended_to_and_for_few_to_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        open_trail(str(path)).write("RunEnded", run="plan")
    assert [json.loads(line)["run"] for line in path.read_text().splitlines()] == ["plan", "plan"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_standard_output_is_where_it_goes_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    open_trail("stdout").write("RunEnded", run="plan")
    open_trail("off").write("RunEnded", run="plan")
    assert len(capsys.readouterr().out.splitlines()) == 1


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_stops_no_run_and_is_counted() -> None:
    before = metrics.AUDIT_FAILURES._value.get()
    AuditTrail(FullDisk()).write("RunEnded", run="plan")
    assert metrics.AUDIT_FAILURES._value.get() == before + 1
