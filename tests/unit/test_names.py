"""Names follow from what nobody can forge, and are the same in every process."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from spacelift_aws.names import assumed_role_arn, child_name, external_id, run_id

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_run_id_is_a_ulid_that_never_changes() -> None:
    # A value written down: another algorithm would give running Runs other names.
    assert run_id(CREATED, "3c9a0b52-6f5e-4b8e-9f1c-0d4a3a1f7c11") == GOLDEN


GOLDEN = "01KDYAK348Z748BMS1CDM80HTQ"


def test_the_first_ten_characters_are_the_creation_time() -> None:
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    text = run_id(CREATED, "uid")
    milliseconds = 0
    for character in text[:10]:
        milliseconds = milliseconds * 32 + alphabet.index(character)
    assert milliseconds == int(CREATED.timestamp()) * 1000


@pytest.mark.parametrize(
    ("why", "created", "uid"),
    [
        ("a Run that is created again has another UID", CREATED, "other"),
        ("one created later has another time", CREATED + timedelta(seconds=1), "uid"),
    ],
)
def test_another_run_has_another_id(why: str, created: datetime, uid: str) -> None:
    assert run_id(created, uid) != run_id(CREATED, "uid"), why


def test_ids_sort_by_creation_and_know_no_time_zone() -> None:
    ids = [run_id(CREATED + timedelta(seconds=second), f"uid-{second % 7}") for second in range(50)]
    assert ids == sorted(ids)
    assert run_id(CREATED.astimezone(timezone(timedelta(hours=5))), "uid") == run_id(CREATED, "uid")


def test_a_child_name_is_a_dns_label() -> None:
    name = child_name(run_id(CREATED, "uid"))
    assert name == name.lower()
    assert len(name) <= 63
    assert name.removeprefix("aws-run-").upper() == run_id(CREATED, "uid")


def test_an_external_id_has_three_parts() -> None:
    assert external_id("acme", "team", "prod") == "acme@team@prod"


def test_sts_drops_the_path_of_a_role() -> None:
    arn = assumed_role_arn("arn:aws-cn:iam::222222222222:role/a/b/deploy", "01ABC")
    assert arn == "arn:aws-cn:sts::222222222222:assumed-role/deploy/01ABC"
