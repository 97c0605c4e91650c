"""Every verdict on a role's trust, reached on purpose: an STS that evaluates trust policies, behind a fault proxy.

The reasons that need nothing but an integration and a role are reached all at once, by one fixture; what follows from
them is asked by a test each.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from sandbox.faultproxy import Call
from sandbox.faults import (
    Drop,
    Match,
    Pass,
    Plain,
    Rule,
    clock_skew,
    denied,
    expired_token,
    internal_failure,
    invalid,
    invalid_client_token,
    malformed_policy,
    max_session_duration,
    packed_policy_too_large,
    region_disabled,
    signature_mismatch,
    source_identity_denied,
    throttled,
)
from sandbox.objects import Object, complete, condition
from sandbox.stage import INSTALLATION, Policy, Stage

ALLOW_ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
HOME_REGION = "eu-west-1"


# What is set up, and how it is repaired


@dataclass
class Scene:
    """One integration and its role, as a case sets them up."""

    stage: Stage
    namespace: str
    name: str
    role_name: str
    rules: list[Rule] = field(default_factory=list)
    first: Object = field(default_factory=dict)
    """The integration when it showed the reason that was expected, or as it was when time was up."""
    healed: Object = field(default_factory=dict)
    """The same after the repair, when it was ready."""

    @property
    def role_arn(self) -> str:
        return f"arn:aws:iam::{self.stage.customer.account_id}:role/deploy/{self.role_name}"

    @property
    def external_id(self) -> str:
        return self.stage.external_id(self.namespace, self.name)

    @property
    def calls(self) -> list[Call]:
        return self.stage.proxy.calls_of(Match(role_arn=self.role_arn))

    def fill(self, text: str) -> str:
        """A text with the scene's own values in place of `<…>`."""
        for word in ("namespace", "name", "external_id", "role_arn", "role_name"):
            text = text.replace(f"<{word}>", getattr(self, word))
        return text.replace("<installation>", INSTALLATION)

    def set_spec(self, **spec: Any) -> None:
        self.stage.objects.patch("AwsIntegration", self.namespace, self.name, {"spec": spec})


Trust = Callable[[Scene], Policy | None]
Repair = Callable[[Scene], None]


def by(*patterns: str, operator: str = "StringEquals", actions: tuple[str, ...] = ()) -> Trust:
    """A role that trusts the operator under these external IDs."""
    return lambda scene: scene.stage.trust(*map(scene.fill, patterns), operator=operator, actions=actions)


def by_own(*actions: str) -> Trust:
    return by("<external_id>", actions=actions)


def no_role(_: Scene) -> None:
    return None


def paste_statement(scene: Scene) -> None:
    """As a person would: the statement of the status becomes the trust policy's only one."""
    statement = json.loads(scene.first["status"]["trustPolicyStatement"])
    scene.stage.customer.set_trust(scene.role_name, {"Version": "2012-10-17", "Statement": [statement]})


def paste_policy(scene: Scene) -> None:
    """As a person would: a new role with the trust policy of the status."""
    policy = json.loads(scene.first["status"]["trustPolicy"])
    scene.stage.customer.create_role(scene.role_name, policy, path="/deploy/")
    scene.set_spec(roleArn=scene.role_arn)


def add_statement_of_message(scene: Scene) -> None:
    """As a person would: the first statement of the message is added to the trust policy that is there."""
    added = statements_in(condition(scene.first, "TrustVerified")["message"])[0]
    trust = scene.stage.trust(scene.external_id)
    trust["Statement"].append(added)
    scene.stage.customer.set_trust(scene.role_name, trust)


def lift(scene: Scene) -> None:
    """What the proxy pretended is over."""
    for rule in scene.rules:
        scene.stage.proxy.remove(rule)


def write(**spec: Any) -> Repair:
    return lambda scene: scene.set_spec(**spec)


def statements_in(message: str) -> list[dict[str, Any]]:
    """All JSON objects within a sentence."""
    found, start = [], message.find("{")
    while start >= 0:
        value, end = json.JSONDecoder().raw_decode(message, start)
        found.append(value)
        start = message.find("{", end)
    return found


@dataclass(frozen=True)
class Case:
    """What is set up, the verdict that must follow with what it must say, and what makes it good again."""

    reason: str
    says: Sequence[str] = ()
    trust: Trust = field(default_factory=by_own)
    spec: Mapping[str, Any] = field(default_factory=dict)
    faults: Callable[[Scene], Sequence[Rule]] = lambda _: ()
    repair: Repair | None = None
    status: str = "False"
    shows_statement: bool = False
    """Whether the message holds the statement of the status."""


def refuse(answer: Any, **match: Any) -> Callable[[Scene], Sequence[Rule]]:
    return lambda scene: [Rule(Match(role_arn=scene.role_arn, **match), answer)]


ANOTHER_NAMESPACE, ANOTHER_INSTALLATION = "another namespace", "another installation"

CASES = {
    "role-not-set": Case(
        "RoleNotSet", ["`status.trustPolicy`", "`spec.roleArn`"], no_role, {"roleArn": None}, repair=paste_policy
    ),
    "role-missing": Case(
        "AccessDenied",
        ["STS denied `sts:AssumeRole` on <role_arn>", "the operator's own policy", "policy of the organization"],
        no_role,
        repair=paste_policy,
        shows_statement=True,
    ),
    "wrong-external-id": Case(
        "AccessDenied",
        ["trust policy needs this statement"],
        by("somebody@else"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "no-condition": Case(
        "ExternalIdNotRequired",
        ["without any external ID", "knows the role's ARN", "`StringEquals`"],
        by(),
        repair=paste_statement,
        shows_statement=True,
    ),
    "if-exists": Case(
        "ExternalIdNotRequired",
        ["not `StringEqualsIfExists`"],
        by("<external_id>", operator="StringEqualsIfExists"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "star": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE, ANOTHER_INSTALLATION, "too wide", "`<installation>@<namespace>@*`"],
        by("*", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "one-installation": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE],
        by("<installation>@*", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "one-name": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE, ANOTHER_INSTALLATION],
        by("*@<name>", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "namespace-prefix": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE],
        by("<installation>@team*@<name>", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "any-installation": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_INSTALLATION],
        by("*@<namespace>@<name>", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "one-namespace": Case(
        "Verified", ["no other"], by("<installation>@<namespace>@*", operator="StringLike"), status="True"
    ),
    "duration-of-role": Case(
        "DurationTooLong",
        ["7200 seconds", "aws iam update-role --role-name <role_name> --max-session-duration 7200", "MaxSession"],
        spec={"durationSeconds": 7200},
        faults=lambda scene: [max_session_duration(scene.role_arn, 3600)],
        repair=write(durationSeconds=3600),
    ),
    "duration-of-chaining": Case(
        "DurationTooLong",
        ["an hour at most", "`spec.durationSeconds` to 3600 or less"],
        spec={"durationSeconds": 7200},
        faults=refuse(
            invalid(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
            ),
            duration_above=3600,
        ),
        repair=write(durationSeconds=3600),
    ),
    "tags": Case(
        "TagSessionDenied",
        ["`spec.tagAssumeRole` is on", "sts:TagSession", "operator's own policy needs"],
        spec={"tagAssumeRole": True},
        repair=add_statement_of_message,
    ),
    "transitive-tags": Case(
        "TagSessionDenied",
        ["the operator's own session passes tags on", "EKS Pod Identity"],
        faults=lambda scene: [
            Rule(
                Match(role_arn=scene.role_arn, absent=["Tags"], values={"ExternalId": scene.external_id}),
                denied("sts:TagSession"),
            )
        ],
        repair=lift,
    ),
    "source-identity": Case(
        "SourceIdentityDenied",
        ["`spec.sourceIdentity` is on", '"Action":"sts:SetSourceIdentity"'],
        spec={"sourceIdentity": True},
        faults=lambda scene: [source_identity_denied(scene.role_arn)],
        repair=lift,
    ),
    "region-off-in-the-roles-account": Case(
        "RegionDisabled",
        ["endpoint of eu-south-1 is not active in account 222222222222", "/iam/home#/account_settings", "spec.region"],
        spec={"region": "eu-south-1"},
        faults=refuse(region_disabled("222222222222"), region="eu-south-1"),
        repair=write(region=None),
    ),
    "region-off-in-our-account": Case(
        "RegionDisabled",
        ["ap-east-1 does not know the operator", "not enabled in the operator's own account", "`spec.region`"],
        spec={"region": "ap-east-1"},
        faults=refuse(invalid_client_token(), region="ap-east-1"),
        repair=write(region=HOME_REGION),
    ),
    "malformed-policy": Case(
        "InvalidSessionPolicy",
        ["`spec.sessionPolicy`"],
        spec={"sessionPolicy": '{"Version":"2012-10-17"}'},
        repair=write(sessionPolicy=ALLOW_ALL),
    ),
    "malformed-managed-policy": Case(
        "InvalidSessionPolicy",
        ["`spec.sessionPolicyArns`", "Syntax errors"],
        spec={"sessionPolicyArns": ["arn:aws:iam::222222222222:policy/broken"]},
        faults=refuse(malformed_policy(), present=["PolicyArns"]),
        repair=write(sessionPolicyArns=None),
    ),
    "malformed-proposed-policy": Case(
        "InvalidSessionPolicy",
        ["`spec.proposed.sessionPolicy`"],
        spec={"proposed": {"sessionPolicy": '{"Version":"2012-10-17"}'}},
        repair=write(proposed={"sessionPolicy": ALLOW_ALL}),
    ),
    "packed-too-large": Case(
        "InvalidSessionPolicy",
        ["too large", "Shorten `spec.sessionPolicy`", "112%"],
        spec={"sessionPolicy": ALLOW_ALL},
        faults=refuse(packed_policy_too_large(), present=["PolicyArns"]),
        repair=write(sessionPolicy=None),
    ),
    "another-partition": Case(
        "InvalidRequest",
        ["`spec.roleArn`", "Request ARN is invalid"],
        faults=refuse(invalid("Request ARN is invalid")),
        repair=lift,
    ),
    "expired": Case(
        "NoIdentity", ["have expired", "whoever runs"], faults=refuse(expired_token()), repair=lift, status="Unknown"
    ),
    "unknown-key": Case(
        "NoIdentity",
        ["does not know the access key"],
        faults=refuse(invalid_client_token()),
        repair=lift,
        status="Unknown",
    ),
    "wrong-secret": Case(
        "NoIdentity", ["refuses their signature"], faults=refuse(signature_mismatch()), repair=lift, status="Unknown"
    ),
    "wrong-clock": Case(
        "NoIdentity", ["clock of the operator's machine"], faults=refuse(clock_skew()), repair=lift, status="Unknown"
    ),
    "throttled": Case("Retrying", ["Rate exceeded"], faults=refuse(throttled()), repair=lift, status="Unknown"),
    "failing": Case("Retrying", ["InternalFailure"], faults=refuse(internal_failure()), repair=lift, status="Unknown"),
    "down": Case("Retrying", ["503"], faults=refuse(Plain()), repair=lift, status="Unknown"),
    "cut": Case("Retrying", ["could not be reached"], faults=refuse(Drop()), repair=lift, status="Unknown"),
    "slow": Case(
        "Retrying",
        ["did not answer in time"],
        faults=lambda scene: [Rule(Match(role_arn=scene.role_arn), Pass(), delay=60)],
        repair=lift,
        status="Unknown",
    ),
    "sibling-throttled": Case(
        "Retrying",
        ["to probe Sibling"],
        faults=lambda scene: [
            Rule(Match(role_arn=scene.role_arn, session_name_prefix="trust-probe-sibling"), throttled())
        ],
        repair=lift,
        status="Unknown",
    ),
    "everything": Case(
        "Verified",
        trust=by_own("sts:TagSession", "sts:SetSourceIdentity"),
        spec={
            "durationSeconds": 1800,
            "tagAssumeRole": True,
            "sourceIdentity": True,
            "allowedStacks": ["network"],
            "sessionPolicy": ALLOW_ALL,
            "sessionPolicyArns": ["arn:aws:iam::aws:policy/AWSDenyAll"],
            "proposed": {},
        },
        status="True",
    ),
    "plain": Case("Verified", status="True"),
    "worker": Case(
        "NotVerifiable",
        ["`status.workers`"],
        spec={"generateCredentialsInWorker": True, "externalId": "of-my-own"},
        status="Unknown",
    ),
    "worker-without-role": Case(
        "RoleNotSet",
        ["worker pools"],
        no_role,
        {"generateCredentialsInWorker": True, "roleArn": None},
    ),
}


@pytest.fixture(scope="module")
def scenes(_stage: Stage) -> Iterator[dict[str, Scene]]:
    """All cases, set up and judged, repaired and judged again."""
    namespaces = [_stage.namespace() for _ in range(4)]
    scenes = {}
    for number, (name, case) in enumerate(CASES.items()):
        scene = scenes[name] = Scene(_stage, namespaces[number % 4], name, f"{name}-role")
        scene.rules = [_stage.proxy.add(rule) for rule in case.faults(scene)]
        if (trust := case.trust(scene)) is not None:
            _stage.role(trust, scene.role_name)
        spec = {"roleArn": scene.role_arn, **case.spec}
        _stage.integration(scene.namespace, name, trusted=False, **{k: v for k, v in spec.items() if v is not None})
    _watch(scenes.values(), "first", lambda scene, body: reason_of(body) == CASES[scene.name].reason)
    to_repair = [scene for scene in scenes.values() if CASES[scene.name].repair and reason_of(scene.first)]
    for scene in to_repair:
        repair = CASES[scene.name].repair
        assert repair is not None
        repair(scene)
    _watch(to_repair, "healed", lambda _, body: is_ready(body))
    yield scenes
    _stage.proxy.clear()


def _watch(scenes: Any, attribute: str, until: Callable[[Scene, Object], bool]) -> None:
    """Keep each scene's integration as soon as it is as wanted; those that never are, as they are in the end."""
    waiting, deadline = list(scenes), time.monotonic() + 30
    while waiting:
        for scene in list(waiting):
            body = scene.stage.objects.get("AwsIntegration", scene.namespace, scene.name) or {}
            if until(scene, body) or time.monotonic() > deadline:
                setattr(scene, attribute, body)
                waiting.remove(scene)
        time.sleep(0.1)


def reason_of(body: Object | None) -> str | None:
    reason: str | None = condition(body, "TrustVerified").get("reason")
    return reason


def is_ready(body: Object | None) -> bool:
    return condition(body, "Ready").get("status") == "True"


def probes_of(body: Object) -> dict[str, str]:
    return {probe["name"]: probe["result"] for probe in body["status"]["probes"]}


# The reasons, and what the messages say


@pytest.mark.parametrize("name", CASES)
def test_a_reason_is_reached_and_told(scenes: dict[str, Scene], name: str) -> None:
    case, scene = CASES[name], scenes[name]
    verdict, ready = condition(scene.first, "TrustVerified"), condition(scene.first, "Ready")
    assert (verdict.get("status"), verdict.get("reason")) == (case.status, case.reason), verdict
    for text in case.says:
        assert scene.fill(text) in verdict["message"]
    usable = case.status == "True" or case.reason == "NotVerifiable"
    assert ready["status"] == ("True" if usable else "False")
    assert verdict["observedGeneration"] == ready["observedGeneration"] == scene.first["metadata"]["generation"]
    assert (verdict["reason"] == ready["reason"]) is not usable or case.status == "True"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.repair])
def test_what_the_message_says_to_do_makes_it_ready(scenes: dict[str, Scene], name: str) -> None:
    assert is_ready(scenes[name].healed), condition(scenes[name].healed, "TrustVerified")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.shows_statement])
def test_the_message_holds_the_statement_of_the_status(scenes: dict[str, Scene], name: str) -> None:
    statement = json.loads(scenes[name].first["status"]["trustPolicyStatement"])
    assert statements_in(condition(scenes[name].first, "TrustVerified")["message"])[0] == statement


@pytest.mark.parametrize(
    ("name", "probes"),
    [
        ("plain", "Allowed Denied Denied Denied"),
        ("one-namespace", "Allowed Denied Denied Denied"),
        ("role-missing", "Denied Unknown Unknown Unknown"),
        ("no-condition", "Allowed Allowed Allowed Allowed"),
        ("if-exists", "Allowed Allowed Denied Denied"),
        ("star", "Allowed Denied Allowed Allowed"),
        ("one-installation", "Allowed Denied Allowed Denied"),
        ("one-name", "Allowed Denied Allowed Allowed"),
        ("namespace-prefix", "Allowed Denied Allowed Denied"),
        ("any-installation", "Allowed Denied Denied Allowed"),
        ("tags", "Denied Denied Denied Denied"),
        ("throttled", "Unknown Unknown Unknown Unknown"),
        ("sibling-throttled", "Allowed Denied Unknown Denied"),
    ],
)
def test_the_status_shows_what_each_probe_was_answered(scenes: dict[str, Scene], name: str, probes: str) -> None:
    first = scenes[name].first
    assert probes_of(first) == dict(zip(["Own", "None", "Sibling", "OtherInstallation"], probes.split(), strict=True))
    answered = [probe for probe in first["status"]["probes"] if probe["result"] != "Unknown"]
    ids = {call.request_id for call in scenes[name].calls}
    assert all(probe["requestId"] in ids and probe["time"] for probe in answered)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("one-installation", ANOTHER_NAMESPACE),
        ("namespace-prefix", ANOTHER_NAMESPACE),
        ("any-installation", ANOTHER_INSTALLATION),
    ],
)
def test_the_message_names_only_whose_external_id_was_accepted(
    scenes: dict[str, Scene], name: str, accepted: str
) -> None:
    message = condition(scenes[name].first, "TrustVerified")["message"]
    (other,) = {ANOTHER_NAMESPACE, ANOTHER_INSTALLATION} - {accepted}
    assert accepted in message
    assert other not in message


def test_before_there_is_a_role_the_status_shows_all_that_is_needed_to_create_it(scenes: dict[str, Scene]) -> None:
    scene = scenes["role-not-set"]
    status, operator = scene.first["status"], scene.stage.operator
    assert status["externalId"] == scene.external_id
    assert status["principal"] == operator.arn == "arn:aws:iam::111111111111:user/platform/spacelift-operator"
    assert status["principalId"] == operator.user_id
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": operator.arn},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": scene.external_id}},
    }
    assert json.loads(status["trustPolicyStatement"]) == statement
    assert json.loads(status["trustPolicy"]) == {"Version": "2012-10-17", "Statement": [statement]}
    assert json.loads(status["callerPolicyStatement"])["Action"] == "sts:AssumeRole"
    for part in ("https://console.aws.amazon.com/iam/", "111111111111", scene.external_id, "PowerUserAccess"):
        assert part in status["createRoleUrl"]
    assert not {"probes", "lastVerifiedTime"} & status.keys()


@pytest.mark.parametrize("name", ["worker", "worker-without-role"])
def test_in_worker_mode_nothing_of_the_controllers_is_shown(scenes: dict[str, Scene], name: str) -> None:
    ours = {"principal", "principalId", "trustPolicyStatement", "trustPolicy", "callerPolicyStatement", "createRoleUrl"}
    scene = scenes[name]
    assert not ours & scene.first["status"].keys()
    assert scene.first["status"]["externalId"] == ("of-my-own" if name == "worker" else scene.external_id)
    assert not scene.calls


def test_with_tags_both_sides_get_the_action_and_there_is_no_wizard(scenes: dict[str, Scene]) -> None:
    status = scenes["tags"].first["status"]
    assert "sts:TagSession" in json.loads(status["trustPolicyStatement"])["Action"]
    assert "sts:TagSession" in json.loads(status["callerPolicyStatement"])["Action"]
    assert "createRoleUrl" not in status


# The probes as STS saw them


def test_own_goes_first_and_carries_what_runs_would_carry(scenes: dict[str, Scene]) -> None:
    scene = scenes["everything"]
    ordinary, proposed, *negatives = scene.calls[:5]
    assert [call.external_id for call in (ordinary, proposed)] == [scene.external_id] * 2
    for call in (ordinary, proposed):
        assert call.session_name.startswith("trust-probe-own")
        assert call.duration_seconds == 1800
        assert call.tags == {"run": call.session_name, "stack": "network", "space": scene.namespace}
        assert call.parameters["SourceIdentity"] == call.session_name
    assert ordinary.parameters["Policy"] == ALLOW_ALL
    # The user's policies and, as the inline place is taken, the managed one that denies everything.
    arns = [value for key, value in ordinary.parameters.items() if key.startswith("PolicyArns.")]
    assert arns == ["arn:aws:iam::aws:policy/AWSDenyAll"] * 2
    # `proposed: {}` has no policy of its own, and so the probes' own is inline.
    assert '"Effect":"Deny"' in proposed.parameters["Policy"]
    assert not proposed.has("PolicyArns")
    assert len(negatives) == 3


@pytest.mark.parametrize("name", ["everything", "plain", "one-namespace", "star", "tags", "source-identity"])
def test_negative_probes_are_bare_and_follow_in_order(scenes: dict[str, Scene], name: str) -> None:
    scene = scenes[name]
    own = [call for call in scene.calls if call.session_name.startswith("trust-probe-own")]
    negatives = [call for call in scene.calls if call not in own][:3]
    none, sibling, other = negatives
    assert none.external_id is None
    assert sibling.external_id is not None
    assert other.external_id is not None
    installation, namespace, short = sibling.external_id.split("@")
    assert (installation, short) == (INSTALLATION, name)
    assert namespace.startswith(f"{scene.namespace}-")
    assert namespace.endswith(f"-{scene.namespace}")
    assert len(namespace) > 63
    installation, *rest = other.external_id.split("@")
    assert rest == [scene.namespace, name]
    assert installation.startswith(f"{INSTALLATION}-")
    assert installation.endswith(f"-{INSTALLATION}")
    for call in negatives:
        assert call.session_name.startswith("trust-probe-")
        assert call.parameters["DurationSeconds"] == "900"
        assert not any(call.has(parameter) for parameter in ("Tags", "SourceIdentity", "PolicyArns"))
        assert call.started >= own[0].finished


@pytest.mark.parametrize("name", ["everything", "plain", "no-condition", "malformed-policy"])
def test_no_probes_session_can_do_anything(scenes: dict[str, Scene], name: str) -> None:
    """Each call that STS allowed is made again with its session policies, and the session is tried out."""
    scene, tried = scenes[name], 0
    for call in [call for call in scene.calls if call.status == 200][:6]:
        parameters: dict[str, Any] = {"ExternalId": scene.external_id}
        if call.has("Policy"):
            parameters["Policy"] = call.parameters["Policy"]
        arns = [value for key, value in call.parameters.items() if key.startswith("PolicyArns.")]
        if arns:
            parameters["PolicyArns"] = [{"arn": arn} for arn in arns]
        session = scene.stage.aws.assume_role(
            scene.stage.operator, scene.role_arn, call.session_name, DurationSeconds=900, **parameters
        )
        iam = scene.stage.aws.client("iam", session)
        with pytest.raises(iam.exceptions.ClientError, match="AccessDenied"):
            iam.list_users()
        tried += 1
    assert tried


# What people see


def events_of(stage: Stage, namespace: str, name: str) -> list[Object]:
    """Events about an AwsIntegration, the oldest first."""
    events = [event for event in stage.objects.list("Event", namespace) if event["involvedObject"]["name"] == name]
    return sorted(events, key=lambda event: str(event.get("eventTime") or event.get("firstTimestamp")))


@pytest.mark.parametrize(
    "name", ["wrong-external-id", "no-condition", "star", "duration-of-role", "throttled", "plain"]
)
def test_one_event_tells_of_each_change_of_the_verdict(stage: Stage, scenes: dict[str, Scene], name: str) -> None:
    scene, case = scenes[name], CASES[name]
    reasons = [case.reason, "Verified"] if case.repair else [case.reason]

    def told() -> list[Object]:
        return events_of(stage, scene.namespace, name)

    eventually(lambda: len(told()) >= len(reasons), "Events are there")
    assert [event["reason"] for event in told()] == reasons
    assert [event["type"] for event in told()][-1] == "Normal"
    if case.repair:
        assert told()[0]["type"] == "Warning"


def test_kubectl_waits_and_shows_columns(stage: Stage, scenes: dict[str, Scene]) -> None:
    scene = scenes["plain"]
    stage.cluster.kubectl(
        "wait", f"--namespace={scene.namespace}", "awsint/plain", "--for=condition=Ready", "--timeout=10s"
    )
    table = stage.cluster.kubectl("get", "awsint", "plain", f"--namespace={scene.namespace}").stdout
    heading, line = table.splitlines()
    assert heading.split() == ["NAME", "ROLE", "READY", "REASON", "VERIFIED", "AGE"]
    assert line.split()[:4] == ["plain", scene.role_arn, "True", "Verified"]
    described = stage.cluster.kubectl("describe", "awsint", "plain", f"--namespace={scene.namespace}").stdout
    assert "Trust Policy Statement" in described


# What becomes of a verdict


def eventually(until: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Look again and again; AssertionError when time is up."""
    deadline = time.monotonic() + timeout
    while not until():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture
def scene(stage: Stage, namespace: str) -> Scene:
    """An integration that is ready."""
    scene = Scene(stage, namespace, "prod", f"{namespace}-prod")
    stage.role(stage.trust(scene.external_id), scene.role_name)
    stage.integration(namespace, "prod", roleArn=scene.role_arn)
    scene.first = wait_for(scene, is_ready)
    return scene


def wait_for(scene: Scene, until: Callable[[Object | None], object], timeout: float = 20.0) -> Object:
    return scene.stage.objects.wait("AwsIntegration", scene.namespace, scene.name, until, timeout=timeout)


def verify_now(scene: Scene, value: str) -> None:
    body = {"metadata": {"annotations": {"aws.spacelift.io/verify": value}}}
    scene.stage.objects.patch("AwsIntegration", scene.namespace, scene.name, body)


def break_trust(scene: Scene) -> None:
    scene.stage.customer.set_trust(scene.role_name, scene.stage.trust("somebody@else"))


def rounds(scene: Scene) -> list[Call]:
    """The first call of every round so far."""
    return [call for call in scene.calls if call.session_name.startswith("trust-probe-own")]


def since_when(body: Object | None) -> list[tuple[str, str]]:
    """Each condition's status, and since when."""
    return [(condition(body, type_)["status"], condition(body, type_)["lastTransitionTime"]) for type_ in CONDITIONS]


CONDITIONS = ("Ready", "TrustVerified")


def run_of(scene: Scene, name: str) -> Object:
    return scene.stage.objects.get("Run", scene.namespace, name) or {}


def finish(scene: Scene, name: str) -> Object:
    done = scene.stage.objects.wait("Run", scene.namespace, name, complete)
    assert done["status"]["phase"] == "Finished"
    return done


def wait_for_refusal(scene: Scene, name: str, reason: str = "IntegrationNotReady") -> Object:
    return scene.stage.objects.wait(
        "Run", scene.namespace, name, lambda run: condition(run, "CredentialsIssued").get("reason") == reason
    )


def calls_of_run(scene: Scene, run: Object) -> list[Call]:
    return [call for call in scene.calls if call.session_name == run["status"]["runId"]]


def test_a_verified_trust_that_breaks_stops_runs_until_it_is_repaired(scene: Scene) -> None:
    before = len(rounds(scene))
    break_trust(scene)
    verify_now(scene, "1")
    eventually(lambda: len(rounds(scene)) > before, "a round that doubts")
    doubted_at = rounds(scene)[before].finished
    gone = wait_for(scene, lambda body: not is_ready(body))
    assert time.time() - doubted_at >= 3, "one round is not enough"
    assert reason_of(gone) == condition(gone, "Ready")["reason"] == "AccessDenied"
    assert len(rounds(scene)) >= before + 2
    eventually(lambda: [e["reason"] for e in told(scene)] == ["Verified", "AccessDenied"], "an Event tells")

    name = scene.stage.run(scene.namespace)
    waiting = wait_for_refusal(scene, name)
    assert waiting["status"]["phase"] == "Queued"
    assert "trust policy needs this statement" in condition(waiting, "CredentialsIssued")["message"]
    assert not calls_of_run(scene, waiting)

    scene.first = gone
    paste_statement(scene)
    done = finish(scene, name)
    assert is_ready(wait_for(scene, is_ready))
    assert len(calls_of_run(scene, done)) == 1


def told(scene: Scene) -> list[Object]:
    return events_of(scene.stage, scene.namespace, scene.name)


def test_one_round_that_fails_changes_nothing(scene: Scene) -> None:
    before = len(rounds(scene))
    rule = Rule(Match(role_arn=scene.role_arn, session_name_prefix="trust-probe-own"), denied(), times=1)
    scene.stage.proxy.add(rule)
    verify_now(scene, "1")
    eventually(lambda: rule.used, "the round that fails")
    name = scene.stage.run(scene.namespace)
    finish(scene, name)
    eventually(lambda: len(rounds(scene)) == before + 2, "the round that is good")
    shown = wait_for(
        scene, lambda body: body and body["status"]["lastVerifiedTime"] > scene.first["status"]["lastVerifiedTime"]
    )
    assert since_when(shown) == since_when(scene.first)
    assert {event["type"] for event in told(scene)} == {"Normal"}


def test_what_cannot_be_asked_leaves_the_verdict_and_is_told(scene: Scene) -> None:
    probes = Match(role_arn=scene.role_arn, session_name_prefix="trust-probe-")
    scene.rules = [scene.stage.proxy.add(Rule(probes, throttled()))]
    verify_now(scene, "1")
    silent = wait_for(scene, lambda body: "Nothing could be asked" in condition(body, "TrustVerified")["message"])
    assert since_when(silent) == since_when(scene.first)
    assert reason_of(silent) == "Verified"
    assert "Rate exceeded" in condition(silent, "TrustVerified")["message"]
    assert probes_of(silent) == probes_of(scene.first)
    finish(scene, scene.stage.run(scene.namespace))
    lift(scene)
    heard = wait_for(scene, lambda body: "Nothing could" not in condition(body, "TrustVerified")["message"])
    assert since_when(heard) == since_when(scene.first)
    assert [event["reason"] for event in told(scene)] == ["Verified"]


def test_any_new_value_of_the_annotation_verifies(scene: Scene) -> None:
    for number, value in enumerate(["a", "b", "a"], start=2):
        verify_now(scene, value)
        eventually(partial(_has_rounds, scene, number), f"round {number}")
    wait_for(scene, lambda body: body and body["status"]["probes"][0]["requestId"] == rounds(scene)[-1].request_id)
    verify_now(scene, "a")
    stay(lambda: len(rounds(scene)) == 4, "the same value asks for nothing")


def _has_rounds(scene: Scene, count: int) -> bool:
    return len(rounds(scene)) == count


def stay(holds: Callable[[], object], what: str, seconds: float = 1.0) -> None:
    """What must not change is looked at for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert holds(), what
        time.sleep(0.05)


@pytest.mark.parametrize(
    "spec", [{"verifyEvery": "48h"}, {"allowedNamespaces": {"from": "All"}}, {"durationSeconds": 1800}]
)
def test_every_change_of_spec_verifies(scene: Scene, spec: dict[str, Any]) -> None:
    scene.set_spec(**spec)
    shown = wait_for(scene, lambda body: body and condition(body, "Ready")["observedGeneration"] == 2)
    assert since_when(shown) == since_when(scene.first)
    assert len(rounds(scene)) == 2
    if "verifyEvery" in spec:
        assert shown["status"]["nextVerifyTime"] > scene.first["status"]["nextVerifyTime"]


FORGED = [
    {
        "type": type_,
        "status": "True",
        "reason": "Verified",
        "message": "Trust me.",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    for type_ in CONDITIONS
]


def test_a_forged_status_issues_nothing(stage: Stage, namespace: str) -> None:
    scene = Scene(stage, namespace, "prod", f"{namespace}-prod")
    stage.role(stage.trust("somebody@else"), scene.role_name)
    stage.integration(namespace, roleArn=scene.role_arn)
    wait_for(scene, lambda body: reason_of(body) == "AccessDenied")
    name = stage.run(namespace)
    for _ in range(3):
        stage.objects.patch(
            "AwsIntegration", namespace, "prod", {"status": {"conditions": FORGED}}, subresource="status"
        )
        time_of_writing_over = wait_for(scene, lambda body: not is_ready(body))
        assert reason_of(time_of_writing_over) == "AccessDenied"
    waiting = wait_for_refusal(scene, name)
    assert not calls_of_run(scene, waiting)


# Starting anew


def test_after_a_restart_nothing_is_believed_and_what_runs_wait_for_goes_first(scene: Scene) -> None:
    stage, namespace = scene.stage, scene.namespace
    # By name they all come before the one that a Run waits for.
    others = [Scene(stage, namespace, f"other-{number}", f"{namespace}-{number}") for number in range(40)]
    for other in others:
        stage.role(stage.trust(other.external_id), other.role_name)
        stage.integration(namespace, other.name, roleArn=other.role_arn)
    forged = Scene(stage, namespace, "forged", f"{namespace}-forged")
    stage.role(stage.trust("somebody@else"), forged.role_name)
    stage.integration(namespace, "forged", roleArn=forged.role_arn)
    wait_for(forged, lambda body: reason_of(body) == "AccessDenied")
    for other in others:
        wait_for(other, is_ready)

    stage.controller.stop()
    stage.objects.patch(
        "AwsIntegration",
        namespace,
        "forged",
        {"status": {"conditions": FORGED, "externalId": forged.external_id}},
        subresource="status",
    )
    names = stage.run(namespace, integration="prod"), stage.run(namespace, integration="forged")
    stage.proxy.forget_calls()
    stage.controller.start()

    done = finish(scene, names[0])
    calls = stage.proxy.calls_of(Match())
    mine = [call for call in calls if call.role_arn == scene.role_arn]
    assert [call.session_name.rpartition("-")[0] for call in mine[:4]] == [
        "trust-probe-own",
        "trust-probe-none",
        "trust-probe-sibling",
        "trust-probe-other-installation",
    ]
    assert mine[4].session_name == done["status"]["runId"]
    arns = {other.role_arn for other in others}
    of_others = [call for call in calls if call.role_arn in arns]
    assert len([call for call in of_others if call.finished < mine[3].started]) < len(others), "it did not go first"

    gone = wait_for(forged, lambda body: not is_ready(body))
    assert reason_of(gone) == "AccessDenied"
    assert not calls_of_run(forged, wait_for_refusal(forged, names[1]))


def test_a_principal_created_anew_is_told(scene: Scene) -> None:
    """The operator comes back as another user: its old trust policies are void."""
    stage = scene.stage
    vendor = stage.aws.account("111111111111")
    other = vendor.create_user(f"operator-of-{scene.namespace}", "/platform/")
    vendor.put_user_policy(
        f"operator-of-{scene.namespace}",
        {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]},
    )
    stage.controller.stop()
    stage.controller.start({"AWS_ACCESS_KEY_ID": other.access_key_id, "AWS_SECRET_ACCESS_KEY": other.secret_access_key})
    try:
        gone = wait_for(scene, lambda body: not is_ready(body))
        message = condition(gone, "TrustVerified")["message"]
        assert reason_of(gone) == "AccessDenied"
        assert f"was {stage.operator.user_id} and is {other.user_id} now" in message
        assert "saved again" in message
        assert gone["status"]["principalId"] == other.user_id
    finally:
        stage.controller.stop()
        stage.controller.start()
    assert wait_for(scene, is_ready)["status"]["principalId"] == stage.operator.user_id


def test_without_an_identity_verdicts_stay_and_say_so(scene: Scene) -> None:
    says = "credentials have expired"
    stage, namespace = scene.stage, scene.namespace
    scene.rules = [stage.proxy.add(Rule(Match(action=None), expired_token()))]
    fresh = Scene(stage, namespace, "fresh", f"{namespace}-fresh")
    stage.role(stage.trust(fresh.external_id), fresh.role_name)
    stage.integration(namespace, "fresh", roleArn=fresh.role_arn)
    verify_now(scene, "1")
    unknown = wait_for(fresh, lambda body: reason_of(body) == "NoIdentity")
    assert condition(unknown, "TrustVerified")["status"] == "Unknown"
    assert condition(unknown, "Ready")["status"] == "False"
    assert says in condition(unknown, "TrustVerified")["message"]
    silent = wait_for(scene, lambda body: says in condition(body, "TrustVerified")["message"])
    assert since_when(silent) == since_when(scene.first)
    assert reason_of(silent) == "Verified"
    lift(scene)
    wait_for(fresh, is_ready, timeout=40)
    wait_for(scene, lambda body: says not in condition(body, "TrustVerified")["message"], timeout=40)


# Sixty broken ones


def test_many_broken_integrations_of_one_tenant_delay_no_other(stage: Stage, namespace: str) -> None:
    """Sixty of them, answered late, each with a Run that waits for it: they would take ten seconds by themselves."""
    broken = [Scene(stage, namespace, f"broken-{number}", f"{namespace}-{number}") for number in range(60)]
    slow = {scene.role_arn for scene in broken}
    for arn in slow:
        stage.proxy.add(Rule(Match(role_arn=arn), delay=0.5))
    for scene in broken:
        stage.integration(namespace, scene.name, roleArn=scene.role_arn)
        stage.run(namespace, integration=scene.name)
    good = Scene(stage, stage.namespace(), "prod", f"{namespace}-good")
    stage.role(stage.trust(good.external_id), good.role_name)
    stage.integration(good.namespace, roleArn=good.role_arn)
    started = time.monotonic()
    finish(good, stage.run(good.namespace))
    taken = time.monotonic() - started
    judged = {call.role_arn for call in stage.proxy.calls if call.role_arn in slow}
    # Counted and not timed: a busy machine slows both sides alike.
    assert len(judged) < len(broken), f"the others were all served first, in {taken:.1f} s"
