"""A Run in words, and the exit code of who waited for it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from spacelift_aws_cli.model import manifest, story, times, workdir
from spacelift_aws_cli.model.objects import Object
from spacelift_aws_cli.model.runs import exit_code, row, why
from spacelift_aws_cli.output.tables import columns, plain

MakeRun = Callable[..., Object]
NOW = datetime(2026, 1, 1, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("phase", "code", "expected"),
    [
        ("Finished", None, 0),
        ("Finished", 0, 0),
        ("Finished", 2, 2),
        ("Failed", 3, 3),
        ("Failed", None, 1),
        ("Failed", 256, 1),
        ("Failed", 0, 1),
        ("Failed", -1, 255),
        ("Stopped", None, 130),
        ("Stopped", 143, 143),
        ("Stopped", 0, 130),
    ],
)
def test_exit_codes(make_run: MakeRun, phase: str, code: int | None, expected: int) -> None:
    assert exit_code(make_run(phase, **({} if code is None else {"exitCode": code}))) == expected


def test_a_failed_run_never_ends_with_zero(make_run: MakeRun) -> None:
    assert all(exit_code(make_run("Failed", exitCode=code)) != 0 for code in range(-300, 300))


def test_why_a_run_waits_is_reason_and_message(make_run: MakeRun) -> None:
    condition = {"type": "CredentialsIssued", "status": "False", "reason": "IntegrationNotReady", "message": "x"}
    waiting = make_run(conditions=[condition], message="Its trust is not verified:\n{a statement}")
    assert why(waiting) == "IntegrationNotReady: Its trust is not verified:"
    assert story.step(waiting) == "Queued: IntegrationNotReady: Its trust is not verified:"


def test_a_row_counts_down_and_names_who_asked(make_run: MakeRun) -> None:
    running = make_run("Running", credentialsExpireAt="2026-01-01T13:20:30Z")
    line = plain(columns((), [row(running, NOW, with_namespace=True)])[0])
    assert line.split() == ["payments", "plan", "Proposed", "Running", "prod", "in", "20m", "1h", "anna"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (61, "1m1s"), (600, "10m"), (3661, "1h1m"), (90000, "1d1h"), (-5, "0s")],
)
def test_spans(seconds: float, text: str) -> None:
    assert times.span(seconds) == text


def test_the_time_line_is_in_order_and_names_both_hands(make_run: MakeRun) -> None:
    run = make_run("Stopped", startedAt="2026-01-01T12:00:05Z", finishedAt="2026-01-01T12:01:00Z", message="Stopped.")
    run["metadata"]["annotations"]["aws.spacelift.io/stopped-by"] = "bob"
    warning = {
        "type": "Warning",
        "reason": "Trouble",
        "message": "oh",
        "firstTimestamp": "2026-01-01T12:00:02Z",
        "metadata": {},
    }
    lines = [plain(line) for line in story.drawn(story.time_line(run, None, [warning]))]
    assert [line[31:] for line in lines] == [
        "created by anna",
        "Trouble: oh",
        "its first container runs",
        "Stopped by bob: Stopped.",
    ]
    assert "+55s" in lines[-1]


def test_a_pods_own_words_say_what_keeps_it() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
    starting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    assert story.pod_trouble({"status": {"containerStatuses": [starting]}}) == ""
    assert story.pod_trouble({"status": {"containerStatuses": [starting, waiting]}}).startswith("ImagePullBackOff: ")
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    assert story.pod_trouble({"status": {"conditions": [unschedulable]}}) == "Unschedulable: 0/3 nodes"


def test_a_rerun_is_the_spec_and_nothing_that_happened(make_run: MakeRun) -> None:
    new = manifest.again(make_run("Stopped"))
    assert "stop" not in new["spec"]
    assert "status" not in new
    assert new["metadata"] == {"generateName": "plan-rerun-", "annotations": {"mine": "1"}, "namespace": "payments"}
    again: dict[str, Any] = {**make_run(), "metadata": {"name": "plan-rerun-ab12c", "namespace": "payments"}}
    assert manifest.again(again)["metadata"]["generateName"] == "plan-rerun-"


def test_a_folder_comes_along_and_the_command_begins_there(make_run: MakeRun) -> None:
    files = [workdir.File("main.tf", b"a"), workdir.File("modules/x/run.sh", b"b", executable=True)]
    run = workdir.brought_along(make_run(), "workspace-1", files)
    pod = run["spec"]["template"]["spec"]
    items = pod["volumes"][0]["configMap"]["items"]
    assert [(item["path"], item["mode"]) for item in items] == [("dir/main.tf", 0o644), ("dir/modules/x/run.sh", 0o755)]
    assert pod["containers"][0]["command"][-1:] == ["true"]
    held = workdir.config_map("workspace-1", files, run)
    assert set(held["binaryData"]) == {item["key"] for item in items}
    assert held["metadata"]["ownerReferences"][0]["uid"] == "u-1"


def test_a_folder_that_is_too_large_is_refused_with_what_makes_it_so() -> None:
    with pytest.raises(Exception, match=r"at most 900,000 can be sent.*big\.zip \(900,001 bytes\)"):
        workdir.check_size({"main.tf": 10, "big.zip": 900_001}, ".")
    workdir.check_size({"main.tf": 899_000}, ".")
