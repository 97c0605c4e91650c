"""docs/eks.md, command by command: from nothing to the first Run, with a role by CloudFormation and by Terraform.

What EKS would do is done by hand: the pod's web identity is a token of the API server's own, and the controller runs
beside the cluster with the two variables that EKS puts into its pod.
"""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hcl2
import pytest

from sandbox import binaries
from sandbox.aws import aws_cli
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT
from sandbox.program import ROOT
from sandbox.stage import CUSTOMER, VENDOR, Stage, set_stage

pytestmark = pytest.mark.slow

EKS = ROOT / "docs" / "eks"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "eks.md").read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = [block for block in BLOCKS if not block.startswith("# Needs ")]
OPERATOR_ROLE, INSTALL, ROLE, INTEGRATION, RUN = COMMANDS
PARAMETERS = {
    "operator_role_arn": f"arn:aws:iam::{VENDOR}:role/spacelift-operator",
    "installation": "acme-prod",
    "namespace": "payments",
    "integration": "prod",
}


@dataclass
class Shell:
    """Where the commands are typed: at the repository's root, with `aws`, `helm` and `kubectl` on the PATH."""

    stage: Stage
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir()
        for name, path in binaries.ensure("helm", "kubectl").items():
            (programs / name).symlink_to(path)
        profiles = self.folder / "profiles"
        accounts = {"operator": VENDOR, "payments": CUSTOMER}
        profiles.write_text(
            "".join(
                f"[profile {name}]\naws_access_key_id = {account}\naws_secret_access_key = root\n"
                f"endpoint_url = {self.stage.aws.endpoint}\nregion = eu-west-1\n"
                for name, account in accounts.items()
            )
        )
        self.variables = {
            **self.stage.cluster.kubectl_environment(),
            **{f"HELM_{kind}_HOME": str(self.folder / "helm") for kind in ("CACHE", "CONFIG", "DATA")},
            "PATH": f"{programs}:{aws_cli()}:{os.environ['PATH']}",
            "AWS_CONFIG_FILE": str(profiles),
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def type(self, commands: str) -> str:
        """Run what the page says; its output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=ROOT, env=self.variables, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with set_stage(install=False) as stage:
        yield Shell(stage, tmp_path_factory.mktemp("shell"))


def web_identity(shell: Shell, audience: str = "sts.amazonaws.com") -> str:
    """A token as EKS projects it into the controller's pod."""
    words = ("create", "token", SERVICE_ACCOUNT, "--namespace", NAMESPACE, "--audience", audience)
    return shell.stage.cluster.kubectl(*words).stdout.strip()


def issuer(token: str) -> str:
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return str(claims["iss"]).removeprefix("https://")


@pytest.fixture(scope="module")
def operator(shell: Shell) -> Shell:
    """Steps 1 and 2, and the controller as EKS would start it."""
    # The issuer is known from any token; the page asks EKS for it.
    token = shell.stage.cluster.kubectl("create", "token", "default", "--namespace", "default").stdout
    shell.variables["ISSUER"] = issuer(token)
    shell.type(OPERATOR_ROLE)
    shell.type(INSTALL)
    account = json.loads(
        shell.type(f"kubectl get serviceaccount {SERVICE_ACCOUNT} --namespace {NAMESPACE} --output json")
    )
    file = shell.folder / "token"
    file.write_text(web_identity(shell))
    controller = shell.stage.controller
    controller.environment = {
        **shell.stage.aws.place(),
        **variables_of_the_deployment(shell),
        "AWS_ROLE_ARN": account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"],
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
    }
    controller.start()
    return shell


def variables_of_the_deployment(shell: Shell) -> dict[str, str]:
    """What the chart sets for the controller, but for its port, and its image, which the stand-in node cannot run."""
    deployment = json.loads(
        shell.type(f"kubectl get deployment spacelift-aws-controller --namespace {NAMESPACE} --output json")
    )
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    left_out = ("SPACELIFT_AWS_HEALTH_PORT", "SPACELIFT_AWS_HELPER_IMAGE")
    return {entry["name"]: entry["value"] for entry in env if "value" in entry and entry["name"] not in left_out}


def test_the_page_has_the_steps_that_are_run_here() -> None:
    assert [block.split(" --")[0].split("\n")[0] for block in COMMANDS] == [
        "aws cloudformation deploy",
        "helm install spacelift-aws charts/spacelift-aws-operator",
        "aws cloudformation deploy",
        "kubectl create namespace payments",
        "kubectl create",
    ]


def test_only_the_controllers_account_gets_the_operators_role(operator: Shell) -> None:
    aws, role = operator.stage.aws, PARAMETERS["operator_role_arn"]
    nobody = aws.account(VENDOR).root

    def assume(token: str) -> Any:
        sts = aws.client("sts", nobody)
        return sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="test", WebIdentityToken=token)

    assert assume(web_identity(operator))["AssumedRoleUser"]
    other = operator.stage.cluster.kubectl(
        "create", "token", "default", "--namespace", NAMESPACE, "--audience", "sts.amazonaws.com"
    )
    for token in (web_identity(operator, "somebody-else"), other.stdout.strip()):
        with pytest.raises(Exception, match="AccessDenied"):
            assume(token)


def test_from_the_role_by_cloudformation_to_the_first_run(operator: Shell) -> None:
    operator.type(ROLE)
    operator.type(INTEGRATION)
    log = operator.type(RUN)
    run = operator.stage.objects.get("Run", "payments", "whoami")
    assert run is not None
    assert run["status"]["phase"] == "Finished"
    assert f"arn:aws:sts::{CUSTOMER}:assumed-role/payments-prod/{run['status']['runId']}" in log
    integration = operator.stage.objects.get("AwsIntegration", "payments", "prod")
    assert integration is not None
    assert integration["status"]["principal"] == PARAMETERS["operator_role_arn"]


def text(value: Any) -> Any:
    """A value of Terraform's with the variables put in."""
    if isinstance(value, list):
        return [text(entry) for entry in value]
    return re.sub(r"\$\{var\.(\w+)\}", lambda found: PARAMETERS[found[1]], str(value).strip('"'))


def unquoted(block: dict[str, Any]) -> dict[str, Any]:
    """A block's labels without their quotes."""
    return {key.strip('"'): value for key, value in block.items()}


def test_the_role_by_terraform_is_trusted_as_well(operator: Shell) -> None:
    with (EKS / "role.tf").open() as file:
        configuration = hcl2.load(file)
    (statement,) = unquoted(unquoted(configuration["data"][0])["aws_iam_policy_document"])["trust"]["statement"]
    (principals,), (condition,) = statement["principals"], statement["condition"]
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": text(statement["actions"]),
                "Principal": {text(principals["type"]): text(principals["identifiers"])},
                "Condition": {text(condition["test"]): {text(condition["variable"]): text(condition["values"])}},
            }
        ],
    }
    role = unquoted(unquoted(configuration["resource"][0])["aws_iam_role"])["runs"]
    assert role["assume_role_policy"] == "${data.aws_iam_policy_document.trust.json}"
    # Another name, because CloudFormation has made that one; the same integration, which takes the other role now.
    stage = operator.stage
    arn = stage.customer.create_role(f"{text(role['name'])}-by-terraform", trust, path=text(role["path"]))
    stage.cluster.kubectl("delete", "awsintegration", "prod", "--namespace", "payments")
    stage.integration("payments", "prod", trusted=False, roleArn=arn)
    stage.cluster.kubectl(
        "wait", "--namespace", "payments", "--for=condition=Ready", "awsintegration/prod", "--timeout=20s"
    )


def test_the_aws_cli_knows_the_association_without_session_tags(shell: Shell) -> None:
    (command,) = [block for block in BLOCKS if "create-pod-identity-association" in block]
    answer = shell.type(command.rstrip() + " --generate-cli-skeleton output\n")
    assert "association" in answer
