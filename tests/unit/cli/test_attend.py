"""Ctrl-C at a Run that is followed, also by somebody impatient."""

import signal

import pytest

from spacelift_aws_cli.exits import Exit
from spacelift_aws_cli.following import attend


class Client:
    """Takes what is patched."""

    def __init__(self) -> None:
        self.patches: list[object] = []

    def patch(self, _resource: object, namespace: str, name: str, body: object) -> None:
        self.patches.append((namespace, name, body))


def test_a_second_ctrl_c_while_the_first_is_still_handled_leaves_a_run_that_was_told_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client()
    monkeypatch.setattr(attend, "say", lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(attend.Left) as left, attend.interrupts(client, "payments", "plan"):  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
    assert left.value.code == Exit.INTERRUPTED
    assert client.patches == [("payments", "plan", {"spec": {"stop": True}})]


def test_one_ctrl_c_stops_it_and_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    client, said = Client(), list[str]()
    monkeypatch.setattr(attend, "say", said.append)
    with attend.interrupts(client, "payments", "plan"):  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
    assert len(said) == len(client.patches) == 1
