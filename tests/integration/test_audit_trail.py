"""The audit trail beside AWS's own record: who asked for what was done, joined as CloudTrail is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.faults import Match, Rule, denied
from sandbox.objects import Objects, complete
from sandbox.process import wait_until
from sandbox.stage import API_VERSION, VENDOR, Stage
from spacelift_aws.controllers.awsintegration.probes.call import PROBE_MARK

pytestmark = pytest.mark.slow

Line = Mapping[str, Any]


@pytest.fixture(scope="module", autouse=True)
def believed(_stage: Stage) -> Iterator[None]:
    """The controller as the chart starts it where its policies are in force."""
    _stage.controller.stop()
    _stage.controller.environment["SPACELIFT_AWS_TRUST_REQUESTER"] = "true"
    _stage.controller.start()
    yield
    _stage.controller.stop()
    del _stage.controller.environment["SPACELIFT_AWS_TRUST_REQUESTER"]


def lines(stage: Stage, **fields: str) -> list[Line]:
    """The trail's lines of the controller's standard output with these fields."""
    found = [json.loads(line) for line in stage.controller.logs.splitlines() if '"log": "spacelift-aws-audit"' in line]
    return [line for line in found if all(line.get(name) == value for name, value in fields.items())]


@dataclass(frozen=True)
class Jane:
    """Somebody who creates Runs."""

    stage: Stage
    namespace: str
    user: str = "jane@example.com"

    def create(self, script: str = "true", name: str | None = None, **spec: Any) -> str:
        name = name or self.stage.fresh("run")
        template = {"spec": {"containers": [self.stage.container(script)]}}
        Objects(self.stage.cluster.kubeconfig, self.user, ["system:masters"]).create(
            {
                "apiVersion": API_VERSION,
                "kind": "Run",
                "metadata": {"namespace": self.namespace, "name": name, "labels": {"pipeline": "nightly"}},
                "spec": {"integrationRef": {"name": "prod"}, "template": template, **spec},
            }
        )
        return name


@pytest.fixture
def jane(stage: Stage, namespace: str) -> Jane:
    stage.integration(
        namespace,
        tagAssumeRole=True,
        tags=[
            {"key": "costcenter", "value": "4711"},
            {"key": "pipeline", "from": {"label": "pipeline"}},
            {"key": "requester", "from": {"requester": True}},
        ],
        sessionPolicyArns=["arn:aws:iam::aws:policy/ReadOnlyAccess"],
    )
    return Jane(stage, namespace)


def recorded(stage: Stage, action: str, since: datetime) -> list[dict[str, Any]]:
    """What AWS itself recorded of a call in the customer's and in the operator's account, as CloudTrail tells it.

    The emulator calls every event of STS alike, and says in the parameters which one it was. It gives the newest fifty
    and no second page: each second is asked for by itself.
    """
    found: dict[str, dict[str, Any]] = {}
    source = {"AttributeKey": "EventSource", "AttributeValue": "sts.amazonaws.com"}
    for account in (stage.customer.root, stage.aws.account(VENDOR).root):
        cloudtrail, second = stage.aws.client("cloudtrail", account), since.replace(microsecond=0)
        while second <= datetime.now(UTC):
            begin, second = second, second + timedelta(seconds=1)
            answer = cloudtrail.lookup_events(LookupAttributes=[source], StartTime=begin, EndTime=second)
            found |= {event["EventId"]: json.loads(event["CloudTrailEvent"]) for event in answer["Events"]}
    return [event for event in found.values() if event["requestParameters"]["Action"] == action]


def test_what_a_run_did_is_joined_with_who_asked_for_it(stage: Stage, jane: Jane) -> None:
    began = datetime.now(UTC)
    name = jane.create("aws sts get-caller-identity")
    run = stage.objects.wait("Run", jane.namespace, name, complete, timeout=60, what=name)
    [issued] = lines(stage, event="SessionIssued", run=name)
    [ended] = lines(stage, event="RunEnded", run=name)
    assert issued["requestedBy"] == ended["requestedBy"] == run["status"]["requestedBy"] == jane.user
    assert (issued["uid"], issued["runId"]) == (run["metadata"]["uid"], run["status"]["runId"])
    assert (issued["sessionArn"], ended["outcome"]) == (run["status"]["assumedRoleArn"], "Finished")
    assert issued["expiration"] == run["status"]["credentialsExpireAt"]
    assert issued["policiesDigest"].startswith("sha256:")
    # What was done under the session's access key, and for whom: the first query of docs/audit.md.
    done = [event for event in recorded(stage, "GetCallerIdentity", began) if _key(event) == issued["accessKeyId"]]
    assert len(done) == 1
    assert lines(stage, accessKeyId=_key(done[0]))[0]["requestedBy"] == jane.user
    # The call of STS itself, by its session's name, and by its request ID as STS answered it: the second query.
    calls = recorded(stage, "AssumeRole", began)
    [assumed] = [event for event in calls if _session(event) == issued["runId"]]
    assert assumed["requestParameters"]["RoleArn"] == issued["roleArn"]
    [call] = [call for call in stage.proxy.calls if call.session_name == issued["runId"]]
    assert call.request_id == issued["stsRequestId"]
    known = {line["runId"] for line in lines(stage)}
    assert {_session(event) for event in calls if not _session(event).endswith(PROBE_MARK)} <= known


def _key(event: Mapping[str, Any]) -> str:
    return str(event["userIdentity"]["accessKeyId"])


def _session(event: Mapping[str, Any]) -> str:
    return str(event["requestParameters"]["RoleSessionName"])


def test_the_sessions_tags_name_the_requester_and_the_pipeline(stage: Stage, jane: Jane) -> None:
    name = jane.create()
    run = stage.objects.wait("Run", jane.namespace, name, complete, timeout=60, what=name)
    identifier = run["status"]["runId"]
    [call] = [call for call in stage.proxy.calls if call.session_name == identifier]
    assert call.tags == {
        "run": identifier,
        "stack": "",
        "space": jane.namespace,
        "costcenter": "4711",
        "pipeline": "nightly",
        "requester": "jane@example.com",
    }


def test_who_stopped_a_run_stands_in_its_status_and_in_the_trail(stage: Stage, jane: Jane) -> None:
    name = jane.create("trap 'exit 0' TERM; while :; do sleep 0.1; done")
    stage.objects.wait("Run", jane.namespace, name, lambda run: (run or {})["status"]["phase"] == "Running", timeout=60)
    joe = Objects(stage.cluster.kubeconfig, "joe@example.com", ["system:masters"])
    joe.patch("Run", jane.namespace, name, {"spec": {"stop": True}})
    run = stage.objects.wait("Run", jane.namespace, name, complete, timeout=60, what=name)
    assert run["status"]["message"] == "Stopped by joe@example.com."
    [ended] = lines(stage, event="RunEnded", run=name)
    assert (ended["outcome"], ended["requestedBy"], ended["stoppedBy"]) == ("Stopped", jane.user, "joe@example.com")


def test_a_refusal_is_in_the_trail(stage: Stage, jane: Jane) -> None:
    role = stage.objects.get("AwsIntegration", jane.namespace, "prod")
    assert role is not None
    name = jane.create(name="refused")
    stage.objects.wait("Run", jane.namespace, name, complete, timeout=60, what=name)
    with stage.proxy.rule(Rule(Match(role_arn=role["spec"]["roleArn"]), denied())):
        name = jane.create()
        wait_until(lambda: bool(lines(stage, event="SessionRefused", run=name)), timeout=30, what="a line")
    [refused, *_] = lines(stage, event="SessionRefused", run=name)
    assert (refused["outcome"], refused["requestedBy"]) == ("AccessDenied", jane.user)
    assert "accessKeyId" not in refused


def test_the_wide_column_shows_who_asked(stage: Stage, jane: Jane) -> None:
    name = jane.create()
    stage.objects.wait("Run", jane.namespace, name, complete, timeout=60, what=name)
    shown = stage.cluster.kubectl("get", "run", name, f"--namespace={jane.namespace}", "--output=wide").stdout
    assert "REQUESTED BY" in shown
    assert jane.user in shown
