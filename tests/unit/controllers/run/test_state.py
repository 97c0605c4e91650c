"""When credentials end, as far as anybody can know."""

from typing import Any

import pytest

from spacelift_aws.controllers.run.state import Progress


@pytest.mark.parametrize(
    ("why", "progress", "status", "pod", "expected"),
    [
        ("nothing is known", None, None, False, None),
        ("who issued them knows best", 900, 1800, True, 900),
        ("the pod knows what they were at its creation", None, None, True, 3601),
        ("the status knows of a later renewal", None, 7200, True, 7200),
        ("an older status does not count", None, 1800, True, 3601),
        ("no session ended before its Run began", None, -5, False, None),
        ("no session lives longer than twelve hours", None, 100_000, True, 3601),
    ],
)
def test_the_end_of_credentials(
    kit: Any, why: str, progress: float | None, status: float | None, pod: bool, expected: float | None
) -> None:
    seen = kit.seen(
        10,
        run=kit.run(status={"credentialsExpireAt": kit.time(status)} if status is not None else {}),
        pod=kit.pod() if pod else None,
        progress=Progress(expires_at=kit.at(progress) if progress is not None else None),
    )
    assert seen.expires_at == (kit.at(expected) if expected is not None else None), why


def test_a_run_is_stopped_by_a_word_or_by_its_deletion(kit: Any) -> None:
    assert not kit.seen().stopped
    assert kit.seen(run=kit.run(stop=True)).stopped
    assert kit.seen(run=kit.run(metadata={"deletionTimestamp": kit.time(1)})).stopped
