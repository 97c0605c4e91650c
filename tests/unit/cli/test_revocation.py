"""The deny on a role, and when it goes."""

import importlib
import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from spacelift_aws_cli.aws.iam import Iam
from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.model.revocation import Revocation, commands, revocation

# The package has the command under this name, and the module behind it.
revoke = importlib.import_module("spacelift_aws_cli.commands.revoke")

ID = "01M85C85X87P992KB9A3MRQFZD"
ROLE = "arn:aws:iam::222222222222:role/spacelift/deploy"


def test_it_is_about_the_runs_own_sessions(make_run: Callable[..., dict[str, Any]]) -> None:
    found = revocation(make_run("Running", roleArn=ROLE, runId=ID, credentialsExpireAt="2026-01-01T13:00:00Z"))
    assert (found.role, found.account) == ("deploy", "222222222222")
    put, when, delete = commands(found)
    words = shlex.split(put)
    assert json.loads(words[words.index("--policy-document") + 1]) == found.document
    assert found.document["Statement"][0]["Condition"] == {"StringLike": {"aws:userid": f"*:{ID}"}}
    assert "2026-01-01 13:00:00 UTC" in when
    assert delete == f"aws iam delete-role-policy --role-name deploy --policy-name revoke-{ID}"


def test_a_run_without_a_session_has_none(make_run: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="never issued credentials"):
        revocation(make_run("Queued"))


class FakeIam:
    """Notes when a policy is taken away."""

    def __init__(self) -> None:
        self.deleted: list[tuple[str, str, datetime]] = []

    def delete_policy(self, role: str, name: str) -> None:
        """As IAM does."""
        self.deleted.append((role, name, datetime.now(UTC)))


def test_the_deny_goes_when_the_last_session_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoke, "AFTER", 0.2)
    iam = FakeIam()
    until = datetime.now(UTC) + timedelta(seconds=0.5)
    revoke._take_away(cast("Iam", iam), Revocation("deploy", "2" * 12, ID, until))
    role, name, at = iam.deleted[0]
    assert (role, name) == ("deploy", f"revoke-{ID}")
    assert at >= until + timedelta(seconds=0.2)


def test_a_deny_whose_end_is_not_known_stays() -> None:
    iam = FakeIam()
    with pytest.raises(UserError, match="stays"):
        revoke._take_away(cast("Iam", iam), Revocation("deploy", "2" * 12, ID, None))
    assert iam.deleted == []
