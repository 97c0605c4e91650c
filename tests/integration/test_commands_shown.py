"""What the pages tell people to type is typed here, in a shell, and does what the page says.

One stage has what the pages speak of: an installation `acme-prod`, a namespace `payments` with an integration `prod`,
Runs and users of the pages' names. First it is installed and in the end taken away, by the pages' own commands.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox import binaries, pages
from sandbox.aws import aws_cli
from sandbox.controller import NAMESPACE, wait_for_runs
from sandbox.process import wait_until
from sandbox.program import ROOT
from sandbox.stage import CUSTOMER, Stage, set_stage

from .conftest import SETTINGS

pytestmark = pytest.mark.slow

NOT_RUN = {
    # What a whole page is about, or another test is about.
    r"^docs/commands\.md: ": "a reference, which sandbox.reference writes from the plugin itself",
    r"^docs/eks\.md: (ISSUER|aws|helm|kubectl (create|apply|wait|logs))": "tests/integration/test_eks.py",
    r"^docs/jobs\.md: kubectl (wait|logs|get run)": "tests/integration/jobs/test_jobs.py: a_job_runs_with_credentials",
    r": kubectl apply -f install\.yaml": "tests/integration/charts/test_releases.py: without_helm_one_file",
    r": helm test ": "needs the image: tests/e2e/test_helm_test.py",
    r": kubectl spacelift-aws create-role prod --apply": "asks: tests/integration/cli/test_commands.py: create_role",
    r": kubectl spacelift-aws revoke RUN --apply": "asks: tests/integration/cli/test_commands.py: revoke",
    r": (uv tool|kubectl krew) install": "tests/integration/cli/test_install.py",
    # Other programs.
    r": ([A-Z_]+=\S+ )*dev/": "the project's own programs; tests/unit/test_commands_shown.py sees that they exist",
    r": aws iam (list-open|put-role-policy)": "AWS alone: tests/integration/cli/test_commands.py: revoke",
    r": aws eks": "needs EKS: tests/integration/test_eks.py checks its options",
    r": terraform": "needs AWS: tests/integration/test_eks.py makes the role of the same file",
    r": docker": "needs Docker",
    r": kind": "needs Docker and kind",
    r": (cosign|gh) ": "needs a release",
    # Sentences that speak of a command, not of what it is given.
    r": kubectl (apply|create|describe|drain|exec|logs --previous|set env)$": "a name in a sentence",
    r": kubectl spacelift-aws( run| logs| trace)?$": "a name in a sentence",
    r": kubectl wait --for=condition=(…|Complete)$": "a name in a sentence",
    r": helm (install|upgrade|uninstall|test)$": "a name in a sentence",
}
"""Which commands of which pages are not run here, and why, or which test runs them."""

INSTALL = (
    r"aws iam create-user",
    r"aws iam put-user-policy",
    r"kubectl create namespace spacelift-aws$",
    r"aws iam create-access-key .* kubectl create secret",
    r"helm install spacelift-aws .* --create-namespace .* installation=acme-prod$",
)
"""What is run before all others, in this order."""

TAKE_AWAY = (
    r"kubectl create namespace research-workers",
    r"kubectl create namespace research$",
    r"kubectl label namespace research",
    r"helm install build ",
    r"kubectl set env ",
    r"kubectl delete validatingadmissionpolicybinding",
    r"helm upgrade spacelift-aws",
    r"helm rollback",
    r"kubectl spacelift-aws runs .* --phase Running",
    r"kubectl spacelift-aws stop apply-7",
    r"helm uninstall build",
    r"helm uninstall spacelift-aws",
    r"kubectl delete crd",
    r"helm install spacelift-aws .* installation=kind-demo",
)
"""What is run after all others, in this order."""

RUN_ID = "01M85C85X87P992KB9A3MRQFZD"
"""The pages' run ID: that of `plan-x7k2p` here."""

SAYS = {
    r"kubectl create secret": "secret/aws-keys created",
    r"status\.trustPolicy": '"sts:ExternalId": "acme-prod@payments@prod"',
    r"wait --for=condition=Ready": "condition met",
    r"-- aws sts get-caller-identity": f"arn:aws:sts::{CUSTOMER}:assumed-role/deploy/",
    r"terraform plan": "No changes.",
    r"spacelift-aws integrations": "prod",
    r"spacelift-aws runs$": "plan-x7k2p",
    r"runs .* --phase Running": "apply-7",
    r"spacelift-aws get apply-7": "Issued a session as",
    r"spacelift-aws trust prod": "✓ Allowed",
    rf"trace ({RUN_ID}|RUN-ID)": "payments/plan-x7k2p",
    r"trust-policy prod -n orders": '"acme-prod@orders@prod"',
    r"spacelift-aws logs apply-7": "applying",
    r"spacelift-aws rerun NAME": "planned",
    r"spacelift-aws rerun apply-7": "applied",
    r"spacelift-aws explain": "Verified",
    r"spacelift-aws doctor": "admission policies are bound",
    r"auth can-i": "yes",
    r"LogsMasked": "helper",
    r"describe awsintegration": "Trust Policy",
    r"get awsintegration research": "build\tVerified\t",
    r"get run NAME .*runId": "01",
    r"jq": "created",
    r"set serviceAccount.annotations": "eks.amazonaws.com/role-arn: arn:aws:iam::111111111111:role/spacelift-operator",
    r"rollout status": "successfully rolled out",
    r"kubectl delete crd": "deleted",
}
"""What a command prints, by what the page says of it. All end with 0."""

WORDS = {
    r"awsintegration NAME\b": "awsintegration prod",
    r"\bNAME\b": "plan-x7k2p",
    r"\bNAMESPACE\b": "payments",
    r"\bREASON\b": "Verified",
    # The option of a chart alone.
    r"^--set": "helm template charts/spacelift-aws-operator --set installation=acme-prod --set",
}
"""What the pages leave open."""

TERRAFORM = """\
#!/bin/sh
case $1 in
  init) test -e main.tf && mkdir .terraform ;;
  plan) test -e .terraform && echo "No changes." ;;
esac
"""
"""It refuses what Terraform refuses: a folder without a configuration, and a plan without `init`."""


@dataclass(frozen=True)
class Shown:
    """A command, and a page that shows it."""

    page: Path
    command: str

    def __str__(self) -> str:
        one_line = " ".join(self.command.replace("\\\n", " ").split())
        return f"{self.page.relative_to(ROOT)}: {one_line}"


def commands_of(block: str) -> Iterator[str]:
    """Each command of a block, without comments; some take several lines."""
    command = ""
    for line in block.splitlines():
        if command or not line.startswith("#"):
            command += line + "\n"
        if command and not line.endswith(("\\", "|")) and command.count("'") % 2 == 0:
            yield command.strip()
            command = ""


def all_shown() -> Iterator[Shown]:
    """Every command of the pages."""
    for block in pages.blocks("sh"):
        for command in commands_of(block.text):
            yield Shown(block.page, command)
    for page, command in pages.asides("kubectl", "helm"):
        yield Shown(page, command)


def matches(patterns: Iterable[str], shown: Shown) -> list[str]:
    """Those of the patterns that are about this command."""
    return [pattern for pattern in patterns if re.search(pattern, str(shown))]


ALL = list(all_shown())
RUN = list({shown.command: shown for shown in ALL if not matches(NOT_RUN, shown)}.values())
"""What several pages show alike is run once."""
BETWEEN = [shown for shown in RUN if not matches(INSTALL + TAKE_AWAY, shown)]


def the_one(pattern: str) -> Shown:
    """The only command that the pattern is about."""
    (found,) = [shown for shown in RUN if re.search(pattern, str(shown))]
    return found


@dataclass(frozen=True)
class Shell:
    """Where the commands are typed: in a stack's folder."""

    folder: Path
    variables: dict[str, str]
    words: dict[str, str]
    """Patterns, and what is typed instead."""

    def type(self, shown: Shown) -> str:
        """What it printed. It has to end with 0 and to say what the page says."""
        command = shown.command
        for word, here in self.words.items():
            command = re.sub(word, here, command)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        told = f"{shown}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, told
        for pattern in matches(SAYS, shown):
            assert SAYS[pattern] in done.stdout, told
        return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is typed with, and what containers run."""
    folder = tmp_path_factory.mktemp("programs")
    for name, path in binaries.ensure("helm", "kubectl").items():
        (folder / name).symlink_to(path)
    (folder / "terraform").write_text(TERRAFORM)
    (folder / "terraform").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack's folder, in which the repository's charts are found too, by a link that `--dir` leaves out."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "main.tf").touch()
    (folder / "charts").symlink_to(ROOT / "charts")
    return folder


@pytest.fixture(scope="module")
def bare(programs: Path) -> Iterator[Stage]:
    """A stage on which nothing of ours is installed."""
    with set_stage(SETTINGS, install=False, path=[programs]) as stage:
        yield stage


@pytest.fixture(scope="module")
def shell(bare: Stage, programs: Path, stack: Path) -> Shell:
    """All that the pages speak of, installed by their own commands."""
    typed = Shell(stack, variables(bare, programs), {})
    for pattern in INSTALL:
        typed.type(the_one(pattern))
    wait_for_runs(bare.cluster, "default")
    start_controller(bare)
    make_payments(bare)
    make_runs(bare)
    run = bare.objects.get("Run", "payments", "plan-x7k2p")
    assert run is not None
    typed.words.update(WORDS)
    typed.words.update(dict.fromkeys((RUN_ID, "RUN-ID"), run["status"]["runId"]))
    return typed


def start_controller(stage: Stage) -> None:
    """One that takes the Lease. It runs beside the cluster, so nothing but a status says that its pods are ready."""
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), 2)
    patch_status(stage, "deployment/spacelift-aws-controller", NAMESPACE, {"observedGeneration": 1, **counts})
    stage.controller.environment["SPACELIFT_AWS_NAMESPACE"] = NAMESPACE
    stage.controller.start()


def make_payments(stage: Stage) -> None:
    """The current namespace: an integration that is ready, one whose pool has told of it, and rights for two groups."""
    kubectl = stage.cluster.kubectl
    stage.namespace(name="payments")
    kubectl("config", "set-context", "--current", "--namespace=payments")
    stage.role(stage.trust(stage.external_id("payments", "prod")), name="deploy", path="/spacelift/")
    for page in ("permissions.md", "tasks-platform.md", "workers.md"):
        shown = (block.text for block in pages.blocks("yaml") if block.page == ROOT / "docs" / page)
        kubectl("apply", "--filename=-", input=next(shown))
    kubectl("wait", "--for=condition=Ready", "awsintegration/prod", "--timeout=60s")
    pool = {"pool": "build", "reason": "Verified", "message": "The role trusts this pool."}
    patch_status(stage, "awsintegration/research", "payments", {"workers": [pool]})


def make_runs(stage: Stage) -> None:
    """`apply-7` is under way, until it is stopped, but comes to an end if it is run again; `plan-x7k2p` has ended."""
    begun = stage.cluster.folder / "begun"
    script = f"mkdir {begun} || exec echo applied; echo applying; {stage.gate().wait}"
    stage.run("payments", script, name="apply-7")
    stage.run("payments", "echo planned", name="plan-x7k2p", type="Proposed")
    wait = ("wait", "--namespace=payments", "--timeout=60s")
    stage.cluster.kubectl(*wait, "--for=jsonpath={.status.phase}=Running", "run/apply-7")
    stage.cluster.kubectl(*wait, "--for=condition=Complete", "run/plan-x7k2p")
    wait_until(begun.exists, timeout=60, what="apply-7 to begin")


def variables(stage: Stage, programs: Path) -> dict[str, str]:
    """The environment: the programs, the cluster, and an account in AWS of whoever tries the page on kind."""
    environment = stage.cluster.kubectl_environment()
    return {
        **environment,
        **stage.aws.environment(stage.aws.account("444444444444").root),
        **{f"HELM_{kind}_HOME": str(stage.cluster.folder / "helm") for kind in ("CACHE", "CONFIG", "DATA")},
        "PATH": f"{programs}:{aws_cli()}:{environment['PATH']}",
    }


def patch_status(stage: Stage, which: str, namespace: str, status: Mapping[str, Any]) -> None:
    """Say what nodes and pools would say, of which there are none here."""
    patch = json.dumps({"status": status})
    where = f"--namespace={namespace}"
    stage.cluster.kubectl("patch", which, where, "--subresource=status", "--type=merge", f"--patch={patch}")


def test_every_entry_of_the_tables_is_about_a_command() -> None:
    """What is not listed is run."""
    assert [pattern for pattern in NOT_RUN if not any(matches([pattern], shown) for shown in ALL)] == []
    assert [pattern for pattern in SAYS if not any(matches([pattern], shown) for shown in RUN)] == []
    assert len({the_one(pattern) for pattern in INSTALL + TAKE_AWAY}) == len(RUN) - len(BETWEEN)


@pytest.mark.parametrize("shown", BETWEEN, ids=str)
def test_what_is_shown_can_be_typed(shell: Shell, shown: Shown) -> None:
    if "jq" in shown.command and shutil.which("jq") is None:
        pytest.skip("there is no jq on this machine")
    shell.type(shown)


def test_it_can_be_upgraded_and_taken_away(bare: Stage, shell: Shell) -> None:
    binding = ("get", "validatingadmissionpolicybinding", "spacelift-aws-run-secrets")
    for pattern in TAKE_AWAY:
        if pattern.startswith("helm uninstall spacelift-aws"):
            bare.controller.stop()
        shell.type(the_one(pattern))
        if pattern.startswith("helm upgrade"):
            assert bare.cluster.kubectl(*binding, check=False).returncode == 0, "the upgrade brings a binding back"
