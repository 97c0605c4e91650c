"""Every other command against the API server, the controller and the emulated AWS."""

import json
import os
import re
import signal
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.plugin import Plugin
from sandbox.process import wait_until
from sandbox.stage import INSTALLATION, Stage


@pytest.fixture
def ready(stage: Stage, namespace: str) -> str:
    """A namespace with a ready integration `prod`."""
    stage.integration(namespace)
    stage.cluster.kubectl("wait", "--for=condition=Ready", "awsintegration/prod", "-n", namespace, "--timeout=60s")
    return namespace


@pytest.fixture
def finished(stage: Stage, ready: str) -> str:
    """A namespace with a Run `done` that has finished."""
    stage.run(ready, "echo hello", name="done")
    stage.cluster.kubectl("wait", "--for=condition=Complete", "run/done", "-n", ready, "--timeout=60s")
    return ready


def as_customer(stage: Stage) -> Mapping[str, str]:
    """Variables of the administrator of the customer's account."""
    return stage.aws.environment(stage.customer.root)


def one_sentence(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The call failed as it should: one line on standard error, nothing else."""
    assert (done.returncode, done.stdout) == (code, ""), done
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_runs(plugin: Plugin, finished: str) -> None:
    shown = plugin.run("runs", "-n", finished).stdout.splitlines()
    assert shown[0].split() == ["NAME", "TYPE", "PHASE", "INTEGRATION", "WHY", "EXPIRES", "AGE", "BY"]
    assert shown[1].split()[:4] == ["done", "Task", "Finished", "prod"]
    assert finished in plugin.run("runs", "-A").stdout
    assert "No Runs" in plugin.run("runs", "-n", finished, "--phase", "Queued").stderr
    assert json.loads(plugin.run("runs", "-n", finished, "-o", "json").stdout)["items"][0]["kind"] == "Run"
    assert yaml.safe_load(plugin.run("runs", "-n", finished, "-o", "yaml").stdout)["kind"] == "List"


@pytest.mark.slow
def test_runs_as_they_change(stage: Stage, plugin: Plugin, ready: str) -> None:
    with plugin.on_terminal("runs", "-n", ready, "--watch") as terminal:
        terminal.until("NAME")
        stage.run(ready, "trap 'exit 0' TERM; while :; do sleep 0.1; done", name="fresh")
        terminal.until("Running")
        terminal.until("in 5")
        stage.objects.patch("Run", ready, "fresh", {"spec": {"stop": True}})
        terminal.until("Stopped")
        terminal.type("\x03")
        assert terminal.end() == 130


def test_integrations(stage: Stage, plugin: Plugin, ready: str) -> None:
    stage.integration(ready, "later", trusted=False)
    stage.cluster.kubectl(
        "wait", "--for=jsonpath={.status.externalId}", "awsintegration/later", "-n", ready, "--timeout=30s"
    )
    lines = {line.split()[0]: line for line in plugin.run("integrations", "-n", ready).stdout.splitlines()}
    assert lines["prod"].split()[1:3] == ["True", "Verified"]
    assert lines["later"].split()[1:3] == ["False", "RoleNotSet"]


def test_the_story_of_a_run(plugin: Plugin, finished: str) -> None:
    page = plugin.run("get", "done", "-n", finished).stdout
    for words in ("created", "Issued a session as", "scheduled to", "container main ended with 0", "CloudTrail"):
        assert words in page
    times = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", page, re.MULTILINE)
    assert times == sorted(times)
    assert page.count("✓ Denied") >= 3
    story = json.loads(plugin.run("get", "done", "-n", finished, "-o", "json").stdout)
    assert story["run"]["status"]["phase"] == "Finished"
    one_sentence(plugin.run("get", "nothing", "-n", finished), 125, 'runs.aws.spacelift.io "nothing" not found')


def test_logs_stop_wait_and_rerun(stage: Stage, plugin: Plugin, finished: str) -> None:
    assert plugin.run("logs", "done", "-n", finished).stdout == "hello\n"
    again = plugin.run("rerun", "done", "-n", finished)
    assert (again.returncode, again.stdout) == (0, "hello\n")
    detached = plugin.run("rerun", "done", "-n", finished, "--detach", "--name", "third")
    assert detached.stdout == "third\n"
    assert plugin.run("wait", "third", "-n", finished).returncode == 0
    assert plugin.run("logs", "third", "-n", finished, "--follow").stdout == "hello\n"
    assert "has ended already" in plugin.run("stop", "done", "-n", finished).stdout
    one_sentence(plugin.run("logs", "done", "-n", finished, "-c", "other"), 125, "it has main")


def test_trust(stage: Stage, plugin: Plugin, ready: str) -> None:
    shown = plugin.run("trust", "prod", "-n", ready)
    assert shown.returncode == 0
    assert "✓ Allowed" in shown.stdout
    assert shown.stdout.count("✓ Denied") >= 3
    role = stage.objects.get("AwsIntegration", ready, "prod")
    assert role is not None
    name = role["spec"]["roleArn"].rsplit("/", 1)[-1]
    stage.customer.set_trust(name, stage.trust(f"{INSTALLATION}@*", operator="StringLike"))
    plugin.run("trust", f"{ready}/prod", "--verify", "--timeout", "30")
    stage.cluster.kubectl("wait", "--for=condition=Ready=false", "awsintegration/prod", "-n", ready, "--timeout=60s")
    wide = plugin.run("trust", "prod", "-n", ready)
    assert wide.returncode == 1
    assert "OtherExternalIdAccepted" in wide.stdout
    assert "✗ Allowed" in wide.stdout


def test_verify_waits_for_new_answers(plugin: Plugin, ready: str) -> None:
    before = json.loads(plugin.run("trust", "prod", "-n", ready, "-o", "json").stdout)["status"]["probes"]
    done = plugin.run("trust", "prod", "-n", ready, "--verify", "-o", "json")
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)["status"]["probes"]
    assert {one["requestId"] for one in before}.isdisjoint({one["requestId"] for one in after})


@pytest.mark.parametrize("form", ["json", "terraform", "cloudformation", "pulumi", "aws"])
def test_trust_policy_is_what_the_status_says(stage: Stage, plugin: Plugin, ready: str, form: str) -> None:
    text = plugin.run("trust-policy", "prod", "-n", ready, "--format", form).stdout
    assert f"{INSTALLATION}@{ready}@prod" in text
    assert stage.operator.arn in text
    early = plugin.run("trust-policy", "not-there-yet", "-n", ready, "--format", form)
    assert f"{INSTALLATION}@{ready}@not-there-yet" in early.stdout, early.stderr
    if form == "json":
        found = stage.objects.get("AwsIntegration", ready, "prod")
        assert found is not None
        assert json.loads(text) == json.loads(found["status"]["trustPolicy"])


@pytest.mark.slow
def test_create_role_makes_what_is_then_verified(stage: Stage, namespace: str) -> None:
    stage.integration(namespace, trusted=False)
    stage.cluster.kubectl(
        "wait", "--for=jsonpath={.status.principal}", "awsintegration/prod", "-n", namespace, "--timeout=30s"
    )
    plugin = Plugin(stage.cluster, more=as_customer(stage))
    link = plugin.run("create-role", "prod", "-n", namespace).stdout
    assert link.startswith("https://console.aws.amazon.com/iam/home#/roles/create?")
    nobody = plugin.run("create-role", "prod", "-n", namespace, "--apply")
    assert nobody.returncode == 125
    assert "--yes" in nobody.stderr
    with plugin.on_terminal("create-role", "prod", "-n", namespace, "--apply") as terminal:
        terminal.until("[y/N]")
        assert "aws iam create-role --role-name" in terminal.text
        terminal.type("y\n")
        assert terminal.end() == 0
    stage.cluster.kubectl("wait", "--for=condition=Ready", "awsintegration/prod", "-n", namespace, "--timeout=60s")
    one_sentence(
        Plugin(stage.cluster, more=stage.aws.environment(stage.operator)).run(
            "create-role", "prod", "-n", namespace, "--apply", "--yes"
        ),
        125,
        "choose another --profile",
    )


@pytest.mark.slow
def test_revoke(stage: Stage, plugin: Plugin, ready: str) -> None:
    stage.run(ready, "sleep 600", name="long")
    stage.cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "run/long", "-n", ready, "--timeout=60s")
    customer = Plugin(stage.cluster, more=as_customer(stage))
    done = customer.run("revoke", "long", "-n", ready, "--apply", "--yes")
    assert done.returncode == 0, done.stderr
    run = stage.objects.get("Run", ready, "long")
    assert run is not None
    assert run["spec"]["stop"] is True
    run_id, role = run["status"]["runId"], run["status"]["roleArn"].rsplit("/", 1)[-1]
    written = customer_aws(stage, "get-role-policy", role, f"revoke-{run_id}")
    assert written["PolicyDocument"]["Statement"][0]["Condition"] == {"StringLike": {"aws:userid": f"*:{run_id}"}}
    shown = plugin.run("revoke", "long", "-n", ready)
    assert shown.stdout.startswith(f"aws iam put-role-policy --role-name {role} --policy-name revoke-{run_id}")
    assert "delete-role-policy" in shown.stdout


def test_a_run_without_a_session_has_nothing_to_revoke(stage: Stage, plugin: Plugin, namespace: str) -> None:
    stage.integration(namespace, trusted=False)
    stage.run(namespace, name="waits")
    one_sentence(plugin.run("revoke", "waits", "-n", namespace), 125, "never issued credentials")


def customer_aws(stage: Stage, command: str, role: str, policy: str) -> Any:
    """What IAM has of a role's policy."""
    done = subprocess.run(
        ["aws", "iam", command, "--role-name", role, "--policy-name", policy, "--output", "json"],
        env={**os.environ, **as_customer(stage), "PATH": f"{aws_folder()}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def aws_folder() -> Path:
    """Where the AWS CLI is."""
    from sandbox.aws import aws_cli

    return Path(aws_cli())


@pytest.mark.slow
def test_trace_from_all_that_aws_shows(stage: Stage, plugin: Plugin, finished: str) -> None:
    run = stage.objects.get("Run", finished, "done")
    assert run is not None
    status = run["status"]
    message = next(one["message"] for one in status["conditions"] if one["type"] == "CredentialsIssued")
    key = re.search(r"ASIA\w+", message)
    assert key is not None
    event = {"userIdentity": {"type": "AssumedRole", "arn": status["assumedRoleArn"], "accessKeyId": key[0]}}
    for reference in (status["runId"], status["assumedRoleArn"], key[0]):
        assert f"{finished}/done" in plugin.run("trace", reference).stdout
    assert f"{finished}/done" in plugin.run("trace", "-", input=json.dumps(event)).stdout
    back = plugin.run("trace", "done", "-n", finished).stdout
    assert status["runId"] in back
    assert re.search(r"Asked by +sandbox-admin", back)
    stage.objects.delete("Run", finished, "done")
    stage.cluster.kubectl("wait", "--for=delete", "run/done", "-n", finished, "--timeout=60s")
    trail = stage.controller.process.log
    for reference in (status["runId"], key[0], status["assumedRoleArn"]):
        told = plugin.run("trace", reference, "--audit", str(trail)).stdout
        assert f"{finished}/done, from the audit trail" in told
        assert "Asked by" in told
        assert "RunEnded" in told
    gone = plugin.run("trace", "01M85C85X87P992KB9A3MRQFZD")
    one_sentence(gone, 1, "was deleted or is in another cluster", "--audit")


def test_doctor_finds_what_is_wrong_and_packs_it_without_a_secret(
    stage: Stage, plugin: Plugin, finished: str, tmp_path: Path
) -> None:
    # Tests of the election may have left the Lease of a replica that is gone.
    stage.cluster.kubectl("delete", "leases", "--all", "--namespace=spacelift-aws")
    lines = json.loads(plugin.run("doctor", "-n", finished, "-o", "json").stdout)
    # The controller of these tests runs beside the cluster, and most policies are off.
    meant = ("replicas are ready", "no controller has ever", "no binding for")
    assert [
        one["what"] for one in lines if one["ok"] is False and not any(words in one["what"] for words in meant)
    ] == []
    checked = {one["check"] for one in lines if one["ok"]}
    assert checked >= {"The API server", "Definitions", "Your rights", "The operator", "AWS", "Runs", "Secrets"}
    bundle = tmp_path / "support.tar.gz"
    stage.run(finished, "echo $PASSWORD", name="secretive", pod={"containers": [secretive()]})
    stage.integration(finished, "later", trusted=False)
    done = plugin.run("doctor", "-n", finished, "--bundle", str(bundle))
    assert done.returncode == 1
    assert f"✗ {finished}/later is not ready" in done.stdout
    with tarfile.open(bundle) as archive:
        content = b"".join(
            file.read() for entry in archive.getmembers() if (file := archive.extractfile(entry)) is not None
        )
    assert b"secretive" in content
    assert b"hunter2" not in content


def secretive() -> dict[str, Any]:
    """A container with what no archive may hold."""
    return {
        "name": "main",
        "image": "x",
        "command": ["sh", "-c", "true --password hunter2"],
        "env": [{"name": "PASSWORD", "value": "hunter2"}],
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs", "--context", "other"), "The kubeconfig has no context other"),
        (("runs", "--kubeconfig", "/no/such"), "There is no kubeconfig /no/such"),
        (("run", "-i", "prod"), "Say what to run after two dashes"),
        (("run", "-i", "prod", "--", "ls"), "Say which image holds `ls`"),
        (("run", "--", "terraform", "plan"), "Say which AwsIntegration to use"),
        (("explain", "Verfied"), "did you mean Verified"),
    ],
)
def test_errors_are_one_sentence(plugin: Plugin, arguments: tuple[str, ...], words: str) -> None:
    done = plugin.run(*arguments)
    assert done.returncode in (2, 125)
    one_sentence(done, done.returncode, words)


def test_somebody_without_rights_is_told_which(stage: Stage, ready: str) -> None:
    stage.cluster.kubectl("create", "serviceaccount", "nobody", "-n", ready)
    nobody = Plugin(stage.cluster, stage.cluster.kubeconfig_for(ready, "nobody"))
    one_sentence(nobody.run("runs"), 125, 'cannot list resource "runs"', "Ask an administrator")
    lines = json.loads(nobody.run("doctor", "-o", "json").stdout)
    assert next(one for one in lines if one["what"].startswith("you may create Runs"))["ok"] is False


def test_kubectl_completes(plugin: Plugin, stage: Stage) -> None:
    done = subprocess.run(
        [*plugin.command()[:1], "__complete", "spacelift-aws", "trust"],
        env=plugin.environment,
        capture_output=True,
        text=True,
    )
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} >= {"trust", "trust-policy"}


@pytest.mark.slow
def test_what_changes_comes_line_by_line_without_a_terminal(
    stage: Stage, plugin: Plugin, ready: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        process = plugin.start("runs", "-n", ready, "--watch", stdout=stdout, stderr=subprocess.DEVNULL)
    try:
        stage.run(ready, name="short")
        wait_until(lambda: "Finished" in out.read_text(), timeout=60, what="the end of the Run")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
    lines = out.read_text().splitlines()
    assert lines[0].split()[0] == "NAME"
    assert {line.split()[0] for line in lines[1:]} == {"short"}
    assert "\x1b" not in out.read_text()
