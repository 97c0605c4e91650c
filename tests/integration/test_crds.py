"""Both definitions on a real API server: what it accepts, what it refuses, and in which words."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from sandbox import controlplane
from sandbox.cluster import Cluster, KubectlError
from spacelift_aws.api import API_VERSION, AWSINTEGRATIONS, GROUP, RUNS, VERSION
from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Phase, Run

CRDS = Path(__file__).parents[2] / "crds"
ROLE = "arn:aws:iam::123456789012:role/deploy"
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
PLURALS = {"AwsIntegration": AWSINTEGRATIONS, "Run": RUNS}
MERGE = "application/merge-patch+json"
POD = {"containers": [{"name": "main", "image": "busybox", "command": ["true"]}]}
UNSEEN = {"phase": "Queued", "observedGeneration": -1}
"""A Run's status before the operator has looked at it."""
RUN = {"integrationRef": {"name": "prod"}, "template": {"spec": POD}}


class Refused(Exception):
    """What the API server said to a request that it did not carry out."""


class Api:
    """Objects of both kinds in one namespace. Unknown fields are refused, as they are for a user of kubectl."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._objects = client.CustomObjectsApi(config.new_client_from_config(str(cluster.kubeconfig)))
        self._namespace = namespace

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return self._cluster.kubectl(f"--namespace={self._namespace}", *args, input=input).stdout

    def create(self, kind: str, spec: object, **parts: object) -> str:
        """The name of a new object."""
        name = f"x-{uuid.uuid4().hex[:8]}"
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec, **parts}
        self._call(self._objects.create_namespaced_custom_object, kind, body=body)
        return name

    def integration(self, **spec: Any) -> str:
        return self.create("AwsIntegration", spec)

    def run(self, **spec: Any) -> str:
        return self.create("Run", RUN | spec)

    def patch(self, run: str, spec: object) -> None:
        """Merge into the spec of a Run."""
        self._call(
            self._objects.patch_namespaced_custom_object, "Run", name=run, body={"spec": spec}, _content_type=MERGE
        )

    def patch_status(self, name: str, patch: object, kind: str = "Run") -> None:
        """A JSON patch if it is a list, else a merge patch."""
        content_type = "application/json-patch+json" if isinstance(patch, list) else MERGE
        patch_status = self._objects.patch_namespaced_custom_object_status
        self._call(patch_status, kind, name=name, body=patch, _content_type=content_type)

    def replace_status(self, run: str, body: object) -> None:
        """Write the whole status anew."""
        self._call(self._objects.replace_namespaced_custom_object_status, "Run", name=run, body=body)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        plural = PLURALS[kind]
        body: Any = self._objects.get_namespaced_custom_object(GROUP, VERSION, self._namespace, plural, name)
        return dict(body)

    def names(self, selector: str) -> list[str]:
        """The names of the Runs that a field selector chooses."""
        found: Any = self._objects.list_namespaced_custom_object(
            GROUP, VERSION, self._namespace, RUNS, field_selector=selector
        )
        return [run["metadata"]["name"] for run in found["items"]]

    def _call(self, method: Callable[..., object], kind: str, **arguments: Any) -> None:
        try:
            method(GROUP, VERSION, self._namespace, PLURALS[kind], field_validation="Strict", **arguments)
        except client.ApiException as error:
            raise Refused(json.loads(error.body or "{}").get("message")) from None


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of its own: no operator may answer while a test takes the part of one."""
    with controlplane.start() as started:
        yield started


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Api:
    """The definitions as a user applies them, and an empty namespace."""
    cluster.kubectl("apply", f"--filename={CRDS}")
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={CRDS}")
    cluster.kubectl("create", "namespace", "team-a")
    return Api(cluster, "team-a")


def test_plain_client_side_apply_is_enough(api: Api, cluster: Cluster) -> None:
    """The fixture applied them so; kubectl's own copy of what was applied fits into its annotation."""
    applied = cluster.kubectl("apply", "view-last-applied", f"--filename={CRDS}").stdout
    assert applied.count("kind: CustomResourceDefinition") == 2
    assert "unchanged" in cluster.kubectl("apply", f"--filename={CRDS}").stdout


REFUSED_INTEGRATIONS: list[tuple[dict[str, Any], str]] = [
    ({"roleArn": "arn:aws:iam::1234:role/deploy"}, "spec.roleArn: Invalid value: .* write the ARN of an IAM role"),
    ({"roleArn": "arn:aws:iam::123456789012:user/eve"}, "write the ARN of an IAM role"),
    ({"roleArn": ""}, "write the ARN of an IAM role"),
    ({"externalId": "mine"}, "spec.externalId: .*remove externalId: .* the operator decides the external ID"),
    ({"externalId": "a b", "generateCredentialsInWorker": True}, "STS accepts nothing else"),
    ({"externalId": "a", "generateCredentialsInWorker": True}, "at least 2 chars long"),
    ({"durationSeconds": 15}, r"spec.durationSeconds: Invalid value: \S+: write 900"),
    ({"durationSeconds": 43201}, "to 43200"),
    ({"region": "Frankfurt"}, "write a region's code, like eu-central-1"),
    ({"region": "cn-north-1", "roleArn": ROLE}, "spec.region: .*cannot be assumed across partitions"),
    ({"region": "eu-west-1", "roleArn": ROLE.replace("aws", "aws-us-gov", 1)}, "across partitions"),
    ({"allowedStacks": ["a;b"]}, r"spec.allowedStacks\[0\]: .*a session tag's value holds nothing else"),
    ({"allowedStacks": []}, "at least 1 items"),
    ({"sessionPolicy": "read only, please"}, "spec.sessionPolicy: .*write an IAM policy document as a JSON object"),
    ({"sessionPolicy": '{"Sid": "→"}'}, "without characters beyond Latin-1"),
    ({"sessionPolicy": "{" + " " * 2000 + "}"}, "may not be more than 2000"),
    ({"sessionPolicyArns": ["ReadOnlyAccess"]}, "write the ARN of a managed policy"),
    ({"sessionPolicyArns": [READ_ONLY, READ_ONLY]}, r"spec.sessionPolicyArns\[1\]: Duplicate value"),
    ({"sessionPolicyArns": [f"{READ_ONLY}{n}" for n in range(10)]}, "must have at most 9 items"),
    ({"tags": [{"key": "team", "value": "a"}]}, "spec.tags: .*set tagAssumeRole to true, or remove tags"),
    ({"tagAssumeRole": True, "tags": [{"key": "Stack", "value": "a"}]}, "write another key: run, stack and space"),
    ({"tagAssumeRole": True, "tags": [{"key": "AWS:x", "value": "a"}]}, "and aws: for AWS"),
    ({"tagAssumeRole": True, "tags": [{"key": "a;b", "value": "a"}]}, "a session tag's key holds nothing else"),
    ({"tagAssumeRole": True, "tags": [{"key": "team", "value": "a;b"}]}, "a session tag's value holds nothing else"),
    ({"tagAssumeRole": True, "tags": [{"key": "team"}]}, "give exactly one of value and from"),
    ({"tagAssumeRole": True, "tags": [{"key": "t", "from": {}}]}, "give exactly one of label and requester"),
    ({"tagAssumeRole": True, "tags": [{"key": "t", "from": {"label": "a b"}}]}, "write a label's key"),
    ({"tagAssumeRole": True, "tags": [{"key": "t", "from": {"requester": False}}]}, 'supported values: "true"'),
    (
        {"tagAssumeRole": True, "tags": [{"key": "Team", "value": "a"}, {"key": "team", "value": "b"}]},
        "give each key once: AWS",
    ),
    ({"tagAssumeRole": True, "tags": [{"key": f"k{n}", "value": "a"} for n in range(21)]}, "at most 20 items"),
    ({"proposed": {"sessionPolicy": "none"}}, "spec.proposed.sessionPolicy: .*write an IAM policy document"),
    ({"allowedNamespaces": {"from": "Selector"}}, "give a selector if from is Selector, and only then"),
    ({"allowedNamespaces": {"selector": {}}}, "give a selector if from is Selector, and only then"),
    ({"allowedNamespaces": {"from": "Others"}}, 'supported values: "Same", "All", "Selector"'),
    (
        {"allowedNamespaces": {"from": "Selector", "selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
        "give at least one of values with operator In",
    ),
    (
        {"allowedNamespaces": {"from": "All"}, "generateCredentialsInWorker": True},
        "spec.allowedNamespaces: .*write `from: Same`",
    ),
    ({"verifyEvery": "daily"}, "write a duration in hours, minutes and seconds"),
    ({"verifyEvery": "15s"}, r"spec.verifyEvery: Invalid value: \S+: write 5m or more"),
    ({"verifyEvery": "8761h"}, "8760h or less"),
    ({"roleARN": ROLE}, 'unknown field "spec.roleARN"'),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED_INTEGRATIONS, ids=lambda value: str(value)[:60])
def test_an_integration_is_refused_with_what_to_write_instead(api: Api, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        api.integration(**spec)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"roleArn": "arn:aws:iam::123456789012:role/teams/a/deploy", "region": "eu-central-1"},
        {"roleArn": ROLE.replace("aws", "aws-cn", 1), "region": "cn-north-1"},
        {"roleArn": ROLE.replace("aws", "aws-us-gov", 1), "region": "us-gov-west-1"},
        {"roleArn": ROLE.replace("aws", "aws-eusc", 1), "region": "eusc-de-east-1"},
        {"externalId": "team@a/b:c", "generateCredentialsInWorker": True, "allowedNamespaces": {"from": "Same"}},
        {"durationSeconds": 900, "tagAssumeRole": True, "sourceIdentity": True},
        {"durationSeconds": 43200, "allowedStacks": ["Überall läuft's nicht".replace("'", ""), "a/b:c=d+e@f-g.h_1"]},
        {"sessionPolicy": '\n{"Version": "2012-10-17", "Statement": []}\n', "sessionPolicyArns": [READ_ONLY]},
        {
            "tagAssumeRole": True,
            "tags": [
                {"key": "cost center", "value": ""},
                {"key": "Pipeline", "from": {"label": "example.com/pipeline"}},
                {"key": "who", "from": {"requester": True}},
            ],
        },
        {"tags": []},
        {"proposed": {}},
        {"proposed": {"sessionPolicyArns": [READ_ONLY]}},
        {"allowedNamespaces": {"from": "All"}, "verifyEvery": "0s"},
        {"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}, "verifyEvery": "5m"},
        {
            "allowedNamespaces": {
                "from": "Selector",
                "selector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]},
            },
            "verifyEvery": "1h30m",
        },
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_integration_is_accepted_and_read_as_it_was_written(api: Api, spec: dict[str, Any]) -> None:
    body = api.get("AwsIntegration", api.integration(**spec))
    read = AwsIntegration.model_validate(body)
    # What stands in the cluster is what the model makes of the user's words: both know the same defaults.
    assert read.spec.model_dump(by_alias=True, exclude_none=True, mode="json") == body["spec"]
    assert body["spec"].items() >= {key: value for key, value in spec.items() if key != "allowedNamespaces"}.items()


def test_an_integration_needs_no_spec_at_all(api: Api) -> None:
    body = {"apiVersion": API_VERSION, "kind": "AwsIntegration", "metadata": {"name": "bare"}}
    api.kubectl("create", "--filename=-", input=json.dumps(body))
    assert api.get("AwsIntegration", "bare")["spec"]["verifyEvery"] == "24h"


def test_kubectl_shows_a_refusal_and_refuses_unknown_fields_by_itself(api: Api) -> None:
    body = {"apiVersion": API_VERSION, "kind": "AwsIntegration", "metadata": {"name": "bad"}}
    with pytest.raises(
        KubectlError, match=r'The AwsIntegration "bad" is invalid: spec.externalId: .*remove externalId'
    ):
        api.kubectl("apply", "--filename=-", input=json.dumps(body | {"spec": {"externalId": "mine"}}))
    with pytest.raises(KubectlError, match=r'strict decoding error: unknown field "spec\.roleARN"'):
        api.kubectl("apply", "--filename=-", input=json.dumps(body | {"spec": {"roleARN": ROLE}}))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"integrationRef": {}}, "spec.integrationRef.name: Required value"),
        ({"integrationRef": {"name": "Prod"}}, "write the name of an object"),
        ({"integrationRef": {"name": "prod", "namespace": "a.b"}}, "write lower-case letters"),
        ({"type": "Apply"}, 'supported values: "Proposed", "Tracked", "Task", "Testing", "Destroy"'),
        ({"stack": "a;b"}, "spec.stack: .*a session tag's value holds nothing else"),
        ({"workerPool": "Pool"}, "spec.workerPool: .*write lower-case letters"),
        ({"template": {}}, "spec.template.spec: Required value"),
        ({"template": {"spec": POD, "kind": "Pod"}}, 'unknown field "spec.template.kind"'),
        ({"template": {"spec": POD, "metadata": {"name": "x"}}}, 'unknown field "spec.template.metadata.name"'),
        ({"template": {"spec": POD, "metadata": {"labels": {"a": "b" * 64}}}}, "may not be more than 63"),
        ({"credentialsFor": []}, "at least 1 items"),
        ({"credentialsFor": ["main", "main"]}, "Duplicate value"),
        ({"delivery": "Volume"}, 'supported values: "Environment", "File"'),
        ({"maskLogs": "Yes"}, 'supported values: "Auto", "Required", "Never"'),
        ({"profiles": ["prod"]}, "spec.profiles: .*write `delivery: File` or remove profiles"),
        ({"profiles": ["a b"], "delivery": "File"}, r"spec.profiles\[0\]: .*write a profile's name"),
        ({"profiles": ["default"], "delivery": "File"}, r"spec.profiles\[0\]: .*remove `default`"),
        ({"successExitCodes": []}, "at least 1 items"),
        ({"successExitCodes": [0, 0]}, "Duplicate value"),
        ({"successExitCodes": ["2"]}, "must be of type integer"),
        ({"startingDeadlineSeconds": 0}, "greater than or equal to 1"),
        ({"ttlSecondsAfterFinished": -1}, "greater than or equal to 0"),
        ({"secretName": "other"}, 'unknown field "spec.secretName"'),
        # More than etcd's 1.5 MiB, less than the API server's own 3 MiB.
        ({"template": {"spec": {"containers": [{"name": "main", "command": ["x" * 2_000_000]}]}}}, "too large"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_run_is_refused_with_what_to_write_instead(api: Api, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        api.run(**spec)


@pytest.fixture(scope="module")
def run(api: Api) -> str:
    """A Run with every optional field."""
    return api.run(
        integrationRef={"name": "prod", "namespace": "shared"},
        stack="network",
        credentialsFor=["main"],
        delivery="File",
        profiles=["prod"],
        successExitCodes=[0, 2],
        activeDeadlineSeconds=600,
        ttlSecondsAfterFinished=60,
        template={"metadata": {"labels": {"a": "b"}}, "spec": POD | {"aFieldOfTheFuture": {"x": [1]}}},
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("integrationRef", {"name": "other"}),
        ("integrationRef", {"namespace": None}),
        ("type", "Proposed"),
        ("stack", "other"),
        ("stack", None),
        ("workerPool", "other"),
        ("template", {"metadata": {"labels": {"a": "c"}}}),
        ("template", {"metadata": None}),
        ("template", {"spec": {"aFieldOfTheFuture": None, "anotherOne": {"x": [1]}}}),
        ("template", {"spec": {"containers": [{"name": "main", "image": "busybox", "args": ["true"]}]}}),
        ("credentialsFor", ["other"]),
        ("credentialsFor", None),
        ("delivery", "Environment"),
        ("profiles", ["prod", "test"]),
        ("profiles", None),
        ("successExitCodes", [0]),
        ("successExitCodes", None),
        ("maskLogs", "Never"),
        ("startingDeadlineSeconds", 60),
        ("activeDeadlineSeconds", 601),
        ("activeDeadlineSeconds", None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_spec_is_immutable(api: Api, run: str, field: str, value: object) -> None:
    expected = f"spec.{field}: Forbidden: {field} is immutable: only stop and ttlSecondsAfterFinished of a Run"
    with pytest.raises(Refused, match=expected):
        api.patch(run, {field: value})


def test_an_optional_field_cannot_be_added_later(api: Api) -> None:
    bare = api.run(delivery="File")
    for field, value in (
        ("stack", "late"),
        ("credentialsFor", ["main"]),
        ("activeDeadlineSeconds", 60),
        ("profiles", ["prod"]),
    ):
        with pytest.raises(Refused, match=f"{field} is immutable"):
            api.patch(bare, {field: value})


def test_time_to_live_may_change_and_stop_may_be_set_once(api: Api) -> None:
    name = api.run()
    api.patch(name, {"ttlSecondsAfterFinished": 10})
    api.patch(name, {"ttlSecondsAfterFinished": None})
    api.patch(name, {"stop": True})
    for back in (False, None):
        with pytest.raises(Refused, match="stop is immutable once it is true"):
            api.patch(name, {"stop": back})


def test_a_template_comes_back_as_it_was_written(api: Api, run: str) -> None:
    body = api.get("Run", run)
    assert body["spec"]["template"]["spec"] == POD | {"aFieldOfTheFuture": {"x": [1]}}
    read = Run.model_validate(body)
    assert read.spec.model_dump(by_alias=True, exclude_none=True, mode="json") == body["spec"]


def test_a_template_that_is_no_pod_is_stored_and_left_to_the_operator(api: Api) -> None:
    """A schema with a type would have caught it, and hidden changes inside it from the rule above."""
    assert Run.model_validate(api.get("Run", api.run(template={"spec": 5}))).spec.template.spec == 5


def test_a_run_is_queued_before_anybody_wrote_its_status(api: Api) -> None:
    name = api.run()
    assert api.get("Run", name)["status"] == UNSEEN
    assert name in api.names("status.phase=Queued")
    assert name not in api.names("status.phase=Running")
    assert name in api.kubectl("get", "awsrun", "--field-selector=status.phase=Queued")


def test_a_status_given_at_creation_is_not_believed(api: Api) -> None:
    name = api.create("Run", RUN, status={"phase": "Finished", "runId": "another"})
    assert api.get("Run", name)["status"] == UNSEEN


def test_an_integration_is_known_to_be_unseen(api: Api) -> None:
    """-1 is no object's generation: who waits for the status to be about the object as it is does not pass too soon."""
    assert api.get("AwsIntegration", api.integration())["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("before", [Phase.PREPARING, Phase.RUNNING, Phase.FINISHED, Phase.FAILED, Phase.STOPPED])
def test_a_phase_only_advances(api: Api, before: Phase) -> None:
    name = api.run()
    api.patch_status(name, {"status": {"phase": before, "runId": "01"}})
    refused: list[object] = [
        {"status": {"phase": after}} for after in Phase if after is not before and after.rank <= before.rank
    ]
    # Without a phase the default stands in, which is a step back.
    refused += [
        {"status": {"phase": None}},
        {"status": None},
        [{"op": "remove", "path": "/status/phase"}],
        [{"op": "remove", "path": "/status"}],
        [{"op": "replace", "path": "/status", "value": {"runId": "02"}}],
    ]
    for patch in refused:
        with pytest.raises(Refused, match=r"status\.phase: Forbidden: phase only advances.*final phase is immutable"):
            api.patch_status(name, patch)
    with pytest.raises(Refused, match="phase only advances"):
        api.replace_status(name, api.get("Run", name) | {"status": {"message": "a whole status, written anew"}})

    api.patch_status(name, {"status": {"message": "the rest of a status may change"}})
    assert api.get("Run", name)["status"]["phase"] == before


@pytest.mark.parametrize(
    "path",
    [
        ["Preparing", "Running", "Finished"],
        ["Running", "Failed"],
        ["Preparing", "Stopped"],
        ["Failed"],
    ],
    ids="-".join,
)
def test_a_phase_may_skip_steps(api: Api, path: list[str]) -> None:
    name = api.run()
    for phase in path:
        api.patch_status(name, {"status": {"phase": phase}})
        assert name in api.names(f"status.phase={phase}")


def test_runs_are_selected_by_id_and_integration(api: Api) -> None:
    name = api.run(integrationRef={"name": "elsewhere"})
    api.patch_status(name, {"status": {"runId": "01KB0000000000000000000000"}})
    for selector in ("status.runId=01KB0000000000000000000000", "spec.integrationRef.name=elsewhere"):
        assert api.names(selector) == [name]


def test_a_run_is_printed_in_columns(api: Api) -> None:
    name = api.run()
    status = {"phase": "Running", "runId": "01KB1", "credentialsExpireAt": "2099-01-02T03:04:05Z"}
    api.patch_status(name, {"status": status})
    heading, row = api.kubectl("get", "awsrun", name).splitlines()
    assert heading.split() == ["NAME", "TYPE", "PHASE", "INTEGRATION", "RUN", "ID", "EXPIRES", "AGE"]
    assert row.split()[:-1] == [name, "Task", "Running", "prod", "01KB1", "2099-01-02T03:04:05Z"]


def test_an_integration_is_printed_in_columns_and_both_kinds_in_their_category(api: Api) -> None:
    name = api.integration(roleArn=ROLE)
    moment = "2026-01-02T03:04:05Z"
    conditions = [
        {"type": kind, "status": "False", "reason": "AccessDenied", "message": "", "lastTransitionTime": moment}
        for kind in ("TrustVerified", "Ready")
    ]
    api.patch_status(name, {"status": {"conditions": conditions, "lastVerifiedTime": moment}}, "AwsIntegration")
    heading, row = api.kubectl("get", "awsint", name).splitlines()
    assert heading.split() == ["NAME", "ROLE", "READY", "REASON", "VERIFIED", "AGE"]
    assert row.split()[:-2] == [name, ROLE, "False", "AccessDenied"]

    everything = api.kubectl("get", "spacelift", "--output=name")
    assert f"awsintegration.aws.spacelift.io/{name}" in everything
    assert "run.aws.spacelift.io/" in everything


@pytest.mark.parametrize("field", ["awsint", "awsint.spec", "awsint.status", "awsrun", "awsrun.spec", "awsrun.status"])
def test_every_field_is_explained(api: Api, field: str) -> None:
    text = api.kubectl("explain", field, "--api-version=aws.spacelift.io/v1beta1")
    assert "<empty>" not in text
    assert "<no description>" not in text
    _, fields = text.split("FIELDS:")
    # A field's heading is followed by its description, further in.
    for entry in fields.strip("\n").split("\n\n"):
        lines = [line for line in entry.splitlines() if line.strip() and not line.startswith("  enum:")]
        assert len(lines) != 1, entry
