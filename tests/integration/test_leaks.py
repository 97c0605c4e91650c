"""Whatever happens to a Run, its credentials are in its Secret and its container's environment and nowhere else."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.crashpoints.minted import Minted
from sandbox.faults import Match, Rule
from sandbox.objects import Object, complete, condition
from sandbox.ports import free_port
from sandbox.stage import Stage

QUOTING_POLICY = "quotes-secrets"


@dataclass
class Talkative:
    """A stage with a controller that says all it ever would, and where it says it."""

    stage: Stage
    metrics: str
    folder: Path


@pytest.fixture
def talkative(stage: Stage, tmp_path: Path) -> Iterator[Talkative]:
    """Whatever the controller writes besides its log goes into a folder."""
    port = free_port()
    stage.controller.stop()
    more = {"SPACELIFT_AWS_LOG_LEVEL": "DEBUG", "SPACELIFT_AWS_METRICS_PORT": str(port)}
    files = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "SPACELIFT_AWS_AUDIT_LOG": str(tmp_path / "trail")}
    stage.controller.start({**more, **files})
    yield Talkative(stage, f"http://127.0.0.1:{port}/metrics", tmp_path)
    stage.controller.stop()


@pytest.fixture
def minted(stage: Stage) -> Iterator[Minted]:
    """Every secret access key and session token that STS gives out meanwhile."""
    values = Minted(kept=10_000)
    stage.proxy.overhear = values.hear
    yield values
    stage.proxy.overhear = None


@dataclass
class Processes:
    """What was seen of every process on this machine."""

    arguments: set[str] = field(default_factory=set)
    environments: set[str] = field(default_factory=set)


@pytest.fixture
def processes(stage: Stage) -> Iterator[Processes]:
    """The arguments of all processes, and the environments of the sandbox's own but the runs' containers."""
    seen, ended = Processes(), threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    seen.arguments.add((process / "cmdline").read_text(errors="replace"))
            with suppress(OSError):
                own = Path(f"/proc/{stage.controller.process.pid}/environ")
                seen.environments.add(own.read_text(errors="replace"))

    thread = threading.Thread(target=look)
    thread.start()
    yield seen
    ended.set()
    thread.join()


def quoting_policy(namespace: str) -> list[Object]:
    """An admission policy that refuses Secrets in a namespace, and tells everybody what is in them."""
    group = "admissionregistration.k8s.io/v1"
    value = "object.data['credentials.json' in object.data ? 'credentials.json' : 'AWS_SECRET_ACCESS_KEY']"
    policy = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": QUOTING_POLICY},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
                ]
            },
            "validations": [
                {
                    "expression": "false",
                    "messageExpression": f"'no ' + string({value}) + ' here'",
                }
            ],
        },
    }
    binding = {
        "apiVersion": group,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": QUOTING_POLICY},
        "spec": {
            "policyName": QUOTING_POLICY,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        },
    }
    return [policy, binding]


def everything_said(on: Talkative, processes: Processes) -> dict[str, str]:
    """What anybody without a right to Secrets can come by."""
    with urllib.request.urlopen(on.metrics, timeout=5) as answer:
        metrics = answer.read().decode()
    stage = on.stage
    said = {
        "the controller's log": stage.controller.logs,
        "metrics": metrics,
        "a command line": "\n".join(processes.arguments),
        "the controller's environment": "\n".join(processes.environments),
    }
    for kinds in ("events", "runs", "awsintegrations", "pods"):
        said[kinds] = stage.cluster.kubectl("get", kinds, "--all-namespaces", "--output=json").stdout
    for file in on.folder.rglob("*"):
        if file.is_file():
            said[file.name] = file.read_text(errors="replace")
    if stage.cluster.audit_log is not None:
        said["the audit log"] = stage.cluster.audit_log.read_text()
    return said


def was_refused(run: Object | None) -> bool:
    return "refuses" in condition(run, "CredentialsIssued").get("message", "")


@pytest.mark.slow
def test_credentials_turn_up_nowhere(
    talkative: Talkative, namespace: str, minted: Minted, processes: Processes
) -> None:
    stage, refused = talkative.stage, talkative.stage.namespace()
    for body in quoting_policy(refused):
        stage.cluster.kubectl("apply", "--filename=-", input=json.dumps(body))
    try:
        stage.integration(namespace)
        stage.integration(refused)
        quoted = stage.run(refused)
        # A new policy takes a moment to act; until then Secrets pass.
        while complete(stage.objects.wait("Run", refused, quoted, lambda run: complete(run) or was_refused(run))):
            quoted = stage.run(refused)
        file = stage.run(refused, delivery="File")
        good = [stage.run(namespace, "aws sts get-caller-identity") for _ in range(3)]
        good.append(stage.run(namespace, "aws sts get-caller-identity", delivery="File"))
        bad = stage.run(namespace, "exit 1")
        slow = stage.proxy.add(Rule(Match(), delay=1, times=1))
        late = stage.run(namespace)
        held = stage.objects.wait("Run", refused, quoted, was_refused)
        for name in (*good, bad, late):
            stage.objects.wait("Run", namespace, name, complete)
        assert slow.used == 1
        assert "no ***** here" in condition(held, "CredentialsIssued")["message"]
        held = stage.objects.wait("Run", refused, file, was_refused)
        assert "no ***** here" in condition(held, "CredentialsIssued")["message"]
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            stage.cluster.kubectl("delete", kind, QUOTING_POLICY)
    for name in (quoted, file):
        stage.objects.patch("Run", refused, name, {"spec": {"stop": True}})
        stage.objects.wait("Run", refused, name, complete)

    assert len(minted.values) >= 2 * (len(good) + 3)
    said = everything_said(talkative, processes)
    assert "trail" in said
    assert all(said.values()), "there is nothing to look through"
    assert [place for place, text in said.items() if any(form in text for form in minted.writings())] == []
