"""The forms of a role: each is what its tool takes, and says the same."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import hcl2
import pytest
import yaml

from spacelift_aws_cli.exits import UserError
from spacelift_aws_cli.model import roles

NEEDS = roles.Needs("payments", "prod", tags=True, source_identity=True, duration=7200)
ROLE = roles.role(NEEDS, "arn:aws:iam::111111111111:role/operator", roles.computed(NEEDS, "acme-prod"))


def test_the_trust_is_what_the_operator_asks_for() -> None:
    first = ROLE.trust["Statement"][0]
    assert first["Condition"] == {"StringEquals": {"sts:ExternalId": "acme-prod@payments@prod"}}
    assert first["Action"] == ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    assert ROLE.duration == 7200


def test_terraform_can_be_parsed_and_escapes_templates() -> None:
    parsed = hcl2.loads(roles.as_terraform(ROLE))
    assert "aws_iam_role" in str(parsed)
    odd = roles.Role("x", {"Statement": [{"Resource": "${aws:username}"}]})
    assert "$${aws:username}" in roles.as_terraform(odd)


@pytest.mark.slow
def test_cloudformation_has_nothing_to_complain_about(tmp_path: Path) -> None:
    template = tmp_path / "role.yaml"
    template.write_text(roles.as_cloudformation(ROLE))
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), template, "--regions", "eu-central-1"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")
    resource = next(iter(yaml.safe_load(template.read_text())["Resources"].values()))
    assert resource["Properties"]["AssumeRolePolicyDocument"] == ROLE.trust


def test_pulumi_is_python() -> None:
    compile(roles.as_pulumi(ROLE), "role.py", "exec")


def test_the_commands_carry_the_policy_through_a_shell() -> None:
    words = shlex.split(roles.as_commands(ROLE).replace("\\\n", " "))
    assert json.loads(words[words.index("--assume-role-policy-document") + 1]) == ROLE.trust


def test_an_existing_role_keeps_its_name_and_path() -> None:
    needs = roles.Needs("payments", "prod", role_arn="arn:aws:iam::222222222222:role/spacelift/deploy")
    role = roles.role(needs, "arn:aws:iam::111111111111:user/x", "a@b@c")
    assert (role.name, role.path, role.account) == ("deploy", "/spacelift/", "222222222222")
    assert len(roles.default_name(roles.Needs("n" * 63, "m" * 253))) <= roles.NAME_LIMIT


def integration(name: str, external_id: str, principal: str, **spec: object) -> dict[str, object]:
    """One that the operator has looked at."""
    status = {"externalId": external_id, "principal": principal}
    return {"metadata": {"namespace": "a", "name": name}, "spec": spec, "status": status}


def test_other_integrations_tell_who_the_operator_is() -> None:
    one, two = integration("x", "acme@a@x", "arn:p"), integration("y", "acme@a@y", "arn:p")
    assert roles.guessed([one, two]) == ("acme", "arn:p")
    assert roles.guessed([one, integration("y", "other@a@y", "arn:q")]) == (None, None)
    assert roles.guessed([integration("x", "chosen", "arn:p", generateCredentialsInWorker=True)]) == (None, None)


def test_of_several_pools_one_has_to_be_named() -> None:
    worker = integration("x", "acme@a@x", "", generateCredentialsInWorker=True)
    worker["status"] = {
        "externalId": "e",
        "workers": [{"pool": "a", "principal": "pa"}, {"pool": "b", "principal": "pb"}],
    }
    assert roles.sent_by(worker, "b") == ("pb", "e")
    with pytest.raises(UserError, match="Several pools"):
        roles.sent_by(worker, None)
