"""Times, durations and messages on their way to the wire and back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spacelift_aws.api.awsintegration import AwsIntegrationSpec
from spacelift_aws.api.meta import MESSAGE_LIMIT, Condition, format_duration, parse_duration
from spacelift_aws.api.run import RunStatus

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("24h", timedelta(days=1)),
        ("90m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1h0m5s", timedelta(seconds=3605)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "15", "-5m", "1.5h", "1d", "5 m", "5m ", "٥m", 300, None])
def test_what_is_no_duration_is_refused_with_a_hint(text: object) -> None:
    with pytest.raises(ValueError, match="24h, 90m or 1h30m"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**8).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_duration_survives_the_wire(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.from_regex(r"\A([0-9]{1,5}(h|m|s)){1,3}\Z"))
def test_whatever_the_schema_lets_in_is_read(text: str) -> None:
    assert AwsIntegrationSpec.model_validate({"verifyEvery": text}).verify_every >= timedelta(0)


def test_a_duration_is_written_in_its_shortest_form() -> None:
    written = AwsIntegrationSpec(verify_every=timedelta(minutes=90)).model_dump(mode="json", by_alias=True)
    assert written["verifyEvery"] == "1h30m"
    assert format_duration(timedelta(0)) == "0s"


def test_a_moment_has_whole_seconds_of_utc_in_memory_too() -> None:
    berlin = timezone(timedelta(hours=1))
    status = RunStatus(started_at=datetime(2026, 1, 2, 13, 0, 0, 999_999, tzinfo=berlin))
    assert status.started_at == NOON
    written = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written["startedAt"] == "2026-01-02T12:00:00Z"
    assert RunStatus.model_validate(written) == status


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        RunStatus(started_at=datetime(2026, 1, 2))


def test_a_message_that_the_api_server_would_refuse_loses_its_end() -> None:
    status = RunStatus(message="ä" * (MESSAGE_LIMIT + 1))
    assert status.message is not None
    assert len(status.message) == MESSAGE_LIMIT
    assert status.message.endswith("ä…")
    assert RunStatus(message="ä" * MESSAGE_LIMIT).message == "ä" * MESSAGE_LIMIT


def test_a_condition_is_found_by_its_type() -> None:
    ready = Condition(type="Ready", status="True", reason="Verified", message="", last_transition_time=NOON)
    status = RunStatus(conditions=(ready,))
    assert status.condition("Ready") == ready
    assert status.condition("Complete") is None


def test_a_value_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunStatus().run_id = "another"  # type: ignore[misc]
