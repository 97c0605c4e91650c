"""Credentials that a run prints, and the log file that a real kubelet's runtime writes: what is not in it."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from sandbox import controlplane, realnode
from sandbox.aws import DEFAULT_REGION, start_aws
from sandbox.components import FOR_NODES
from sandbox.objects import Object, Objects, complete, condition
from sandbox.process import wait_until
from sandbox.program import CRDS
from sandbox.progress import to_stderr
from sandbox.realnode.build import operator_image, tools_image
from sandbox.stage import Stage
from spacelift_aws.names import child_name, run_id

REFUSED = realnode.unavailable()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REFUSED is not None, reason=REFUSED or "")]

PRINTS = r"""
set -x
env
export COPY="$AWS_SECRET_ACCESS_KEY" "TOKEN=$AWS_SESSION_TOKEN"
: "$AWS_SESSION_TOKEN"
printf %s "$AWS_SECRET_ACCESS_KEY" | base64
printf %s "$AWS_SESSION_TOKEN" | base64
printf %s "$AWS_SESSION_TOKEN" | base64 -w 0
printf 'without a newline: '; printf %.10s "$AWS_SESSION_TOKEN"; sleep 0.3; printf %s "$AWS_SESSION_TOKEN" | tail -c +11
python3 - <<'END'
import json, os, sys, urllib.parse
values = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
print(json.dumps(values))
print(json.dumps(values).replace("/", "\\/"), file=sys.stderr)
print(json.dumps(values).replace("+", "\\u002b").replace("=", "\\u003D"))
print(urllib.parse.urlencode(values))
for character in os.environ["AWS_SECRET_ACCESS_KEY"]:
    sys.stdout.write(character)
    sys.stdout.flush()
print()
def act(secret_key):
    raise RuntimeError(f"cannot sign with {secret_key} and {os.environ['AWS_SESSION_TOKEN']}")
act(os.environ["AWS_SECRET_ACCESS_KEY"])
END
echo "the end"
exit 7
"""

# Prints both generations of the file, the old one from memory, once the kubelet has brought the new one.
PRINTS_FILES = r"""
folder=/var/run/secrets/aws.spacelift.io
first=$(cat $folder/credentials.json); echo "$first"
until [ "$(cat $folder/credentials.json)" != "$first" ]; do sleep 0.2; done
echo "$first"; cat $folder/credentials.json; echo
set -x; second=$(cat $folder/credentials.json)
python3 - <<'END'
import boto3
session = boto3.Session().get_credentials().get_frozen_credentials()
print(session.access_key)
print(session)
raise RuntimeError(session.secret_key)
END
echo "the end"
"""


PRINTS_FURTHER = r"""
env
printf %s "$PASSWORD" | base64
printf %s "basic:$PASSWORD" | base64
printf %s "$PASSWORD" | od -An -tx1 | tr -d ' \n'; echo
echo '::add-mask::a-value-that-it-fetched'
echo 'said: a-value-that-it-fetched'
echo 'and here a-value-that-it-fetched' >&2
"""


@dataclass
class Scene:
    """A stage whose pods run on a real node."""

    stage: Stage
    node: realnode.RealNode

    def log(self, namespace: str, container: str = "main") -> str:
        """What the runtime wrote to the node's disk, under /var/log/pods there."""
        files = sorted(self.node.folder.glob(f"log/pods/{namespace}_*/{container}/*.log"))
        return "".join(file.read_text() for file in files)

    def play(self, namespace: str, script: str = "", **spec: Any) -> tuple[Object, list[str]]:
        """A Run as it ended, and the secret values of all its credentials."""
        self.stage.integration(namespace, durationSeconds=900)
        return self.watch(namespace, self.stage.run(namespace, script, **spec))

    def watch(self, namespace: str, name: str) -> tuple[Object, list[str]]:
        """The same of one that runs; the values are read from its Secret again and again, as an administrator may."""
        body = self.stage.objects.get("Run", namespace, name) or {}
        created = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
        child = child_name(run_id(created, body["metadata"]["uid"]))
        values: dict[str, None] = {}

        def look(run: Object | None) -> bool:
            secret = self.stage.objects.get("Secret", namespace, child) or {}
            data = {key: base64.b64decode(text).decode() for key, text in secret.get("data", {}).items()}
            values.update(dict.fromkeys(secret_values(data)))
            return complete(run)

        return self.stage.objects.wait("Run", namespace, name, look, timeout=120), list(values)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    operator, tools = operator_image(), tools_image()
    with ExitStack() as stack:
        cluster = stack.enter_context(controlplane.start(crds=[CRDS], controllers=FOR_NODES, say=to_stderr))
        aws = stack.enter_context(start_aws(cluster.supervisor))
        proxy = stack.enter_context(aws.faults())
        images = [operator.archive, tools.archive]
        node = stack.enter_context(realnode.start_node(cluster, images=images, kubelet={"syncFrequency": "2s"}))
        settings = {
            "SPACELIFT_AWS_HELPER_IMAGE": operator.reference,
            # Of the shortest session, fifteen minutes: renewed after a quarter of a minute.
            "SPACELIFT_AWS_RENEW_AFTER": "0.016",
        }
        stage = Stage.on(
            cluster,
            aws,
            proxy,
            settings,
            image=tools.reference,
            variables={"AWS_ENDPOINT_URL": node.expose(aws.endpoint), "AWS_REGION": DEFAULT_REGION},
        )
        stage.controller.install()
        stage.controller.start()
        yield Scene(stage, node)


def secret_values(data: Mapping[str, str]) -> Sequence[str]:
    if "credentials.json" in data:
        printed = json.loads(data["credentials.json"])
        return printed["SecretAccessKey"], printed["SessionToken"]
    return [data[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if name in data]


def joined(log: str) -> str:
    """The log without what the runtime puts in front of each line, so that a value is found across lines too."""
    lines = (line.split(" ", 3) for line in log.splitlines())
    return "".join(f"{text}\n" if flag == "F" else text for _, _, flag, text in lines)


def writings(value: str) -> set[str]:
    encoded = value.encode()
    standard, url_safe = base64.b64encode(encoded).decode(), base64.urlsafe_b64encode(encoded).decode()
    plain = {value, value.replace("/", "\\/"), value.replace("+", "\\u002b").replace("=", "\\u003D")}
    return plain | {quote(value), quote_plus(value), standard.rstrip("="), url_safe.rstrip("=")}


def found_in(log: str, values: Sequence[str]) -> list[str]:
    """Which values stand in the log, in any writing, or half of one does: the first or last twenty characters."""
    text, unbroken = joined(log), joined(log).replace("\n", "")
    forms = {form for value in values for form in writings(value)}
    parts = {part for form in forms for part in (form, form[:20], form[-20:])}
    return sorted(part for part in parts if part in log or part in text or part in unbroken)


def access_key_id(run: Object) -> str:
    return str(condition(run, "CredentialsIssued")["message"].partition("access key ID ")[2].split()[0])


def test_nothing_of_what_a_run_prints_is_in_the_nodes_log(scene: Scene) -> None:
    namespace = scene.stage.namespace()
    run, values = scene.play(namespace, PRINTS, maskLogs="Required")
    log = joined(scene.log(namespace))
    assert run["status"]["exitCode"] == 7, log
    assert condition(run, "LogsMasked")["reason"] == "Masked"
    assert len(values) == 2
    assert found_in(scene.log(namespace), values) == []
    # Not because nothing was printed: what is public is there, and what was replaced shows.
    assert f"AWS_ACCESS_KEY_ID={access_key_id(run)}" in log
    assert "RuntimeError: cannot sign with ***** and *****\n" in log
    assert "without a newline: *****" in log
    assert log.count("*****") > 20
    assert "the end" in log
    described = scene.stage.cluster.kubectl("describe", "run", f"--namespace={namespace}").stdout
    assert "LogsMasked" in described


def test_the_same_run_without_the_helper_shows_that_it_would_be_found(scene: Scene) -> None:
    namespace = scene.stage.namespace()
    run, values = scene.play(namespace, PRINTS, maskLogs="Never")
    assert run["status"]["exitCode"] == 7
    encoded = {base64.b64encode(value.encode()).decode().rstrip("=") for value in values}
    assert {*values, *encoded} <= set(found_in(scene.log(namespace), values))


def test_old_and_new_values_after_a_renewal(scene: Scene) -> None:
    namespace = scene.stage.namespace()
    run, values = scene.play(namespace, PRINTS_FILES, delivery="File", maskLogs="Required")
    log = joined(scene.log(namespace))
    assert run["status"]["phase"] == "Finished", log
    assert len(values) >= 4, "it was not renewed"
    assert found_in(scene.log(namespace), values) == []
    assert log.count('"SecretAccessKey": "*****", "SessionToken": "*****"') >= 3
    assert "RuntimeError: *****\n" in log
    assert "the end" in log


@pytest.mark.parametrize("delivery", ["Environment", "File"])
def test_further_values_are_masked_with_either_delivery(scene: Scene, delivery: str) -> None:
    container = scene.stage.container(PRINTS_FURTHER)
    variables = [*container.get("env", ()), {"name": "PASSWORD", "value": "correct horse battery"}]
    pod = {"containers": [{**container, "env": variables}]}
    namespace = scene.stage.namespace()
    run, values = scene.play(namespace, pod=pod, delivery=delivery, maskFrom=["PASSWORD"], maskLogs="Required")
    log = joined(scene.log(namespace))
    assert run["status"]["phase"] == "Finished", log
    assert found_in(scene.log(namespace), [*values, "correct horse battery", "a-value-that-it-fetched"]) == []
    assert b"correct horse battery".hex() not in log
    assert base64.b64encode(b"basic:correct horse battery").decode()[10:30] not in log
    assert "PASSWORD=*****" in log
    assert "said: *****" in log
    assert "and here *****" in log
    assert "::add-mask::" not in log


def test_a_restricted_namespace_an_init_container_and_an_end_by_sigterm(scene: Scene) -> None:
    stage, namespace = scene.stage, scene.stage.namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    stage.integration(namespace)
    strict = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1234,
        "seccompProfile": {"type": "RuntimeDefault"},
        "readOnlyRootFilesystem": True,
    }
    first = {**stage.container("env; echo before"), "name": "first", "securityContext": strict}
    script = "trap 'echo ending; exit 0' TERM; env; id -u; echo ready; while :; do sleep 0.1; done"
    main = {**stage.container(script), "securityContext": strict}
    pod = {"initContainers": [first], "containers": [main], "terminationGracePeriodSeconds": 20}
    name = stage.run(namespace, pod=pod, credentialsFor=["first", "main"], maskLogs="Required")

    def stopped(_: Object | None) -> bool:
        if "ready" not in scene.log(namespace):
            return False
        stage.objects.patch("Run", namespace, name, {"spec": {"stop": True}})
        return True

    stage.objects.wait("Run", namespace, name, stopped, timeout=60)
    run, values = scene.watch(namespace, name)
    assert run["status"]["phase"] == "Stopped"
    main_log = scene.log(namespace)
    assert "ending" in main_log, "SIGTERM did not arrive"
    assert "1234" in main_log
    for log in (main_log, scene.log(namespace, "first")):
        assert found_in(log, values) == []
        assert "AWS_SECRET_ACCESS_KEY=*****" in log


def test_a_command_that_is_not_there_says_so(scene: Scene) -> None:
    namespace = scene.stage.namespace()
    main = {**scene.stage.container(""), "command": ["terraformm", "plan"]}
    run, _ = scene.play(namespace, pod={"containers": [main]})
    assert run["status"]["exitCode"] == 127
    assert "127: spacelift-aws-mask: terraformm: not found in PATH" in run["status"]["message"]
    assert "spacelift-aws-mask: terraformm: not found in PATH" in scene.log(namespace)


# Ends in order, which takes a while, by a code of its own.
# The kubelet takes the logs of a pod with it; the termination message stays in the pod's last status.
NOTE = "/dev/termination-log"
HANDLER = f"trap 'sleep 1; echo tidy >> {NOTE}; exit 5' TERM; echo ready; while :; do sleep 0.3; done; : side-by-side"
KILLED, TERMINATED = 128 + 9, 128 + 15

ENDINGS: dict[str, tuple[str, tuple[int, bool], tuple[int, bool]]] = {
    # What is started; without and with the helper: the exit code, and whether what handles the signal ended in order.
    "handles": (HANDLER, (5, True), (5, True)),
    "exec": ('exec sh -c "$HANDLER"', (5, True), (5, True)),
    "in-front": ('sh -c "$HANDLER"; echo after >> /dev/termination-log', (KILLED, False), (TERMINATED, True)),
    "pipeline": ('sh -c "$HANDLER" | cat; echo after >> /dev/termination-log', (KILLED, False), (TERMINATED, True)),
    "background": ('sh -c "$HANDLER" & wait; echo after >> /dev/termination-log', (KILLED, False), (TERMINATED, True)),
    "daemon": ('setsid sh -c "$HANDLER" & exec sleep 1000', (KILLED, False), (TERMINATED, True)),
    "ignores": ("trap '' TERM; echo ready; while :; do sleep 0.3; done", (KILLED, False), (KILLED, False)),
    "by-itself": ("echo ready; exit 3", (3, False), (3, False)),
}


def test_how_containers_end_with_the_helper_and_without_it_side_by_side(scene: Scene) -> None:
    """All in two pods that are stopped at once. Where it is not the same, the helper gives more: an end in order."""
    stage = scene.stage
    found = {}
    namespaces = {"Never": stage.namespace(), "Required": stage.namespace()}
    runs = {mask: ending_run(scene, namespace, mask) for mask, namespace in namespaces.items()}
    for mask, namespace in namespaces.items():
        wait_until(partial(all_ready, scene, namespace), timeout=120, what=f"the containers in {namespace}")
        version = stage.objects.version("Pod", namespace)
        stage.objects.patch("Run", namespace, runs[mask], {"spec": {"stop": True}})
        found[mask] = (namespace, version)
    for mask, (namespace, version) in found.items():
        run = stage.objects.wait("Run", namespace, runs[mask], complete, timeout=60)
        assert run["status"]["phase"] == "Stopped"
        last = last_words(stage.objects, namespace, version)
        ends = {name: (code, "tidy" in note) for name, (code, note) in last.items()}
        assert ends == {name: ending[1 if mask == "Never" else 2] for name, ending in ENDINGS.items()}, mask
        assert not [name for name, (_, note) in last.items() if "after" in note], mask
    assert scene.node.run("sh", "-c", "grep -lsa '[s]ide-by-side' /proc/[0-9]*/cmdline", check=False) == ""


def ending_run(scene: Scene, namespace: str, mask: str) -> str:
    stage = scene.stage
    stage.integration(namespace)
    containers = []
    for name, (script, _, _) in ENDINGS.items():
        container = stage.container(script)
        variables = [*container.get("env", ()), {"name": "HANDLER", "value": HANDLER}]
        containers.append({**container, "name": name, "env": variables})
    pod = {"containers": containers, "terminationGracePeriodSeconds": 6}
    return stage.run(namespace, pod=pod, credentialsFor=list(ENDINGS), maskLogs=mask)


def all_ready(scene: Scene, namespace: str) -> bool:
    return all("ready" in scene.log(namespace, name) for name in ENDINGS)


def last_words(objects: Objects, namespace: str, version: str) -> dict[str, tuple[int, str]]:
    """The exit codes and termination messages of a pod's containers, by the last that a kubelet said of it."""
    found: dict[str, tuple[int, str]] = {}
    for _, pod in objects.history("Pod", namespace, version, seconds=1):
        for one in pod.get("status", {}).get("containerStatuses", ()):
            if ended := one["state"].get("terminated"):
                found[one["name"]] = (ended["exitCode"], ended.get("message") or "")
    return found


def test_a_node_without_image_volumes_costs_one_run_a_while_and_no_run_its_end(scene: Scene) -> None:
    """The API server has them. Where the node's containerd does not, the first pod of the process was made again."""
    namespace = scene.stage.namespace()
    run, _ = scene.play(namespace, "env", maskLogs="Required")
    assert run["status"]["phase"] == "Finished"
    assert "AWS_SECRET_ACCESS_KEY=*****" in scene.log(namespace)
    [node] = json.loads(scene.stage.cluster.kubectl("get", "nodes", "--output=json").stdout)["items"]
    runtime = node["status"]["nodeInfo"]["containerRuntimeVersion"].removeprefix("containerd://")
    events = scene.stage.cluster.kubectl("get", "events", "--all-namespaces", "--output=json").stdout
    told = [one["message"] for one in json.loads(events)["items"] if one["reason"] == "ImageVolumeRefused"]
    if [int(part) for part in runtime.split(".")[:2]] >= [2, 1]:
        assert told == []
    else:
        assert len(told) == 1
        assert "CreateContainerError: failed to generate container" in told[0]
