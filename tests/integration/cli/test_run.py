"""`run`: from a command line to the run's exit code, with and without a terminal."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox.pages import EXAMPLES
from sandbox.plugin import Plugin
from sandbox.process import wait_until
from sandbox.stage import Stage

ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pipeline}
rules:
  - {apiGroups: [aws.spacelift.io], resources: [runs], verbs: [create, get, list, watch, patch]}
  - {apiGroups: [aws.spacelift.io], resources: [awsintegrations], resourceNames: [prod], verbs: [propose]}
  - {apiGroups: [""], resources: [pods/log], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pipeline}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pipeline}
subjects: [{kind: ServiceAccount, name: pipeline}]
"""
WHO = "aws sts get-caller-identity --query Arn --output text"


@pytest.fixture
def ready(stage: Stage, namespace: str) -> str:
    """A namespace with a ready integration `prod`."""
    stage.integration(namespace, proposed={})
    stage.cluster.kubectl("wait", "--for=condition=Ready", "awsintegration/prod", "-n", namespace, "--timeout=60s")
    return namespace


def spec(stage: Stage, namespace: str, name: str) -> dict[str, Any]:
    """What a Run is to do."""
    found = stage.objects.get("Run", namespace, name)
    assert found is not None
    return dict(found["spec"])


def started(
    stage: Stage, plugin: Plugin, namespace: str, script: str, folder: Path, *options: str
) -> tuple[subprocess.Popen[bytes], Path, Path]:
    """A run that goes on without a terminal, and where its output goes."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        command = ("run", "-n", namespace, "-i", "prod", "--image", "x", *options, "--", "sh", "-c", script)
        return plugin.start(*command, stdout=stdout, stderr=stderr), out, err


def test_a_run_prints_its_log_and_ends_with_its_exit_code(plugin: Plugin, ready: str) -> None:
    done = plugin.run("run", "-n", ready, "-i", "prod", "--image", "x", "--", "sh", "-c", f"{WHO}; exit 3")
    assert done.returncode == 3, done.stderr
    assert "assumed-role" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    phases = [line.split("s  ", 1)[1].split(":")[0].split(" ")[0] for line in done.stderr.splitlines()[1:]]
    assert phases[-1] == "Failed"
    assert "exit code 3: ContainerFailed" in done.stderr


def test_a_pipeline_with_propose_and_nothing_else(stage: Stage, ready: str) -> None:
    stage.cluster.kubectl("create", "serviceaccount", "pipeline", "-n", ready)
    stage.cluster.kubectl("apply", "-n", ready, "-f", "-", input=ROLE)
    pipeline = Plugin(stage.cluster, stage.cluster.kubeconfig_for(ready, "pipeline"))
    command = ("--image", "x", "--", "sh", "-c", WHO)
    plan = pipeline.run("run", "-i", "prod", "--type", "Proposed", *command)
    assert plan.returncode == 0, plan.stderr
    assert "assumed-role" in plan.stdout
    apply = pipeline.run("run", "-i", "prod", "--type", "Tracked", *command)
    assert apply.returncode == 125
    assert apply.stdout == ""
    assert "the verb `use` on it is missing" in apply.stderr
    assert apply.stderr.startswith("error: ")
    assert len(apply.stderr.splitlines()) == 1


def test_the_service_accounts_of_the_example_plan_and_apply(stage: Stage, ready: str, tmp_path: Path) -> None:
    """`examples/ci/rbac.yaml`, which all pages about pipelines refer to."""
    stage.cluster.kubectl("apply", "-n", ready, "-f", str(EXAMPLES / "ci" / "rbac.yaml"))
    planner, deployer = (
        Plugin(stage.cluster, stage.cluster.kubeconfig_for(ready, name)) for name in ("planner", "deployer")
    )
    (tmp_path / "main.tf").write_text("# brought along")
    command = ("--image", "x", "--dir", str(tmp_path), "--", "sh", "-c", f"{WHO}; cat main.tf")
    refused = planner.run("run", "-i", "prod", "--type", "Tracked", *command)
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "the verb `use` on it is missing" in refused.stderr
    for pipeline, kind in ((planner, "Proposed"), (deployer, "Tracked")):
        done = pipeline.run("run", "-i", "prod", "--type", kind, *command)
        assert done.returncode == 0, done.stderr
        assert "assumed-role" in done.stdout
        assert "# brought along" in done.stdout


def test_two_containers_are_told_apart(stage: Stage, plugin: Plugin, ready: str, tmp_path: Path) -> None:
    containers = [
        {"name": name, "image": "x", "command": ["sh", "-c", f"for i in 1 2 3; do echo {name} $i; sleep 0.2; done"]}
        for name in ("plan", "report")
    ]
    body = {
        "apiVersion": "aws.spacelift.io/v1beta1",
        "kind": "Run",
        "metadata": {"name": "both"},
        "spec": {"integrationRef": {"name": "prod"}, "template": {"spec": {"containers": containers}}},
    }
    done = plugin.run("run", "-n", ready, "-f", "-", input=json.dumps(body))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "plan" in line] == [f"[plan] plan {i}" for i in (1, 2, 3)]
    assert [line for line in done.stdout.splitlines() if "report" in line] == [
        f"[report] report {i}" for i in (1, 2, 3)
    ]
    again = plugin.run("logs", "-n", ready, "both")
    assert sorted(again.stdout.splitlines()) == sorted(done.stdout.splitlines())


def test_a_command_that_cannot_be_executed_says_so(stage: Stage, plugin: Plugin, ready: str) -> None:
    terminal = plugin.on_terminal("run", "-n", ready, "-i", "prod", "--image", "x", "--name", "never", "--", "/no/such")
    with terminal:
        assert terminal.end() != 0
        assert "no such file or directory" in terminal.text


def test_waiting_says_for_what(stage: Stage, plugin: Plugin, namespace: str) -> None:
    stage.integration(namespace, trusted=False)
    with plugin.on_terminal(
        "run", "-n", namespace, "-i", "prod", "--image", "x", "--name", "w", "--", "true"
    ) as terminal:
        terminal.until("Queued: IntegrationNotReady")
        terminal.type("\x03")
        terminal.until("Stopping Run w")
        assert terminal.end() == 130
        assert "Stopped" in terminal.text
        assert b"\x1b[" in terminal.shown


def test_ctrl_c_stops_and_a_second_leaves(stage: Stage, plugin: Plugin, ready: str) -> None:
    script = "trap '' TERM; echo begun; while true; do sleep 0.1; done"
    with plugin.on_terminal(
        "run", "-n", ready, "-i", "prod", "--image", "x", "--name", "l", "--", "sh", "-c", script
    ) as terminal:
        terminal.until("begun")
        terminal.type("\x03")
        terminal.until("press Ctrl-C again")
        terminal.type("\x03")
        assert terminal.end(10) == 130
        assert "Left while Run l is being stopped" in terminal.text
    wait_until(lambda: spec(stage, ready, "l").get("stop") is True, timeout=10, what="stop")


def test_sigterm_of_a_ci_system_stops_the_run(stage: Stage, plugin: Plugin, ready: str, tmp_path: Path) -> None:
    process, out, err = started(stage, plugin, ready, "echo begun; sleep 100", tmp_path)
    wait_until(lambda: out.read_bytes() == b"begun\n", timeout=60, what="the first line")
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) != 0
    assert "Stopped" in err.read_text()


def test_timeout_leaves_the_run_alone(stage: Stage, plugin: Plugin, ready: str) -> None:
    began = time.monotonic()
    done = plugin.run(
        "run", "-n", ready, "-i", "prod", "--image", "x", "--name", "t", "--timeout", "4", "--", "sleep", "60"
    )
    assert done.returncode == 124, done.stderr
    assert time.monotonic() - began < 30
    assert not spec(stage, ready, "t").get("stop")
    assert plugin.run("stop", "-n", ready, "t").returncode == 0
    assert plugin.run("wait", "-n", ready, "t", "--timeout", "60").returncode != 0


def test_the_working_directory_comes_along(stage: Stage, plugin: Plugin, ready: str, tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    (folder / "modules" / "x").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("left out")
    (folder / "modules" / "x" / "run.sh").write_text("#!/bin/sh\ncat ../../binary | wc -c\npwd\n")
    (folder / "modules" / "x" / "run.sh").chmod(0o755)
    (folder / "binary").write_bytes(bytes(range(256)) * 100)
    script = "ls -A; touch new && cd modules/x && ./run.sh"
    options = ("--dir", str(folder), "--name", "along")
    done = plugin.run("run", "-n", ready, "-i", "prod", "--image", "x", *options, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["binary", "modules", "25600", "/run/workspace/modules/x"]
    held = stage.objects.list("ConfigMap", ready)
    assert [one["metadata"]["ownerReferences"][0]["name"] for one in held if "ownerReferences" in one["metadata"]] == [
        "along"
    ]
    (folder / "large").write_bytes(os.urandom(900_000))
    refused = plugin.run("run", "-n", ready, "-i", "prod", "--image", "x", "--dir", str(folder), "--", "ls")
    assert refused.returncode == 125
    assert "large (900,000 bytes)" in refused.stderr


def test_a_pod_that_never_starts_can_be_stopped(stage: Stage, plugin: Plugin, ready: str, tmp_path: Path) -> None:
    body = {
        "apiVersion": "aws.spacelift.io/v1beta1",
        "kind": "Run",
        "metadata": {"name": "held"},
        "spec": {
            "integrationRef": {"name": "prod"},
            "template": {
                "metadata": {"annotations": {"sandbox/hold": "true"}},
                "spec": {"containers": [{"name": "main", "image": "x", "command": ["true"]}]},
            },
        },
    }
    file = tmp_path / "run.json"
    file.write_text(json.dumps(body))
    with plugin.on_terminal("run", "-n", ready, "-f", str(file)) as terminal:
        terminal.until("Preparing")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Stopped" in terminal.text
    story = plugin.run("get", "held", "-n", ready).stdout
    assert "Stopped by sandbox-admin" in story
