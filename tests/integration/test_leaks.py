"""Whatever happens to a Run, its credentials are in its Secret and its container's environment and nowhere else."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from sandbox.faults import Match, Rule
from sandbox.objects import Object, complete, condition
from sandbox.stage import Stage

_SECRETS = re.compile(rb"<(?:SecretAccessKey|SessionToken)>([^<]+)<")

QUOTING_POLICY = "quotes-secrets"


@pytest.fixture
def talkative(stage: Stage) -> Iterator[Stage]:
    """The stage with a controller that logs all it ever would."""
    stage.controller.stop()
    stage.controller.start({"SPACELIFT_AWS_LOG_LEVEL": "DEBUG"})
    yield stage
    stage.controller.stop()


@pytest.fixture
def minted(stage: Stage) -> Iterator[set[str]]:
    """Every secret access key and session token that STS gives out meanwhile."""
    values: set[str] = set()
    stage.proxy.overhear = lambda body: values.update(value.decode() for value in _SECRETS.findall(body))
    yield values
    stage.proxy.overhear = None


@pytest.fixture
def command_lines() -> Iterator[set[str]]:
    """The arguments of every process that was seen on this machine meanwhile."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(process.read_text(errors="replace"))

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


def forms(value: str) -> set[str]:
    """As it is, as a Secret's `data` has it, and as JSON or a URL would write it."""
    return {
        value,
        base64.b64encode(value.encode()).decode(),
        json.dumps(value)[1:-1],
        value.replace("/", "\\/"),
        quote(value, safe=""),
    }


def everything_said(stage: Stage) -> dict[str, str]:
    """What anybody without a right to Secrets can come by."""
    said = {"the controller's log": stage.controller.logs}
    for kinds in ("events", "runs", "awsintegrations", "pods"):
        said[kinds] = stage.cluster.kubectl("get", kinds, "--all-namespaces", "--output=json").stdout
    if stage.cluster.audit_log is not None:
        said["the audit log"] = stage.cluster.audit_log.read_text()
    return said


def was_refused(run: Object | None) -> bool:
    return "refuses" in condition(run, "CredentialsIssued").get("message", "")


@pytest.mark.slow
def test_credentials_turn_up_nowhere(
    talkative: Stage, namespace: str, minted: set[str], command_lines: set[str]
) -> None:
    stage, refused = talkative, talkative.namespace()
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

    assert len(minted) >= 2 * (len(good) + 3)
    said = {**everything_said(stage), "a command line": "\n".join(command_lines)}
    assert all(said.values()), "there is nothing to look through"
    # More are given out meanwhile.
    found = [place for value in tuple(minted) for form in forms(value) for place, text in said.items() if form in text]
    assert found == []
