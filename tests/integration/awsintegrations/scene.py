"""One integration and its role: how they are set up, repaired, and looked at."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.faultproxy import Call
from sandbox.faults import (
    Match,
    Rule,
)
from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.stage import INSTALLATION, Policy, Stage

HOME_REGION = "eu-west-1"


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


def by_conditions(*conditions: Mapping[str, Mapping[str, str]]) -> Trust:
    """A role with one statement for each condition, all of which trust the operator with all that a Run may send."""

    def trust(scene: Scene) -> Policy:
        policy = scene.stage.trust(actions=("sts:TagSession", "sts:SetSourceIdentity"))
        (statement,) = policy["Statement"]
        filled = [json.loads(scene.fill(json.dumps(condition))) for condition in conditions]
        return {**policy, "Statement": [{**statement, "Condition": condition} for condition in filled]}

    return trust


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


def reason_of(body: Object | None) -> str | None:
    reason: str | None = condition(body, "TrustVerified").get("reason")
    return reason


def is_ready(body: Object | None) -> bool:
    return condition(body, "Ready").get("status") == "True"


def probes_of(body: Object) -> dict[str, str]:
    return {probe["name"]: probe["result"] for probe in body["status"]["probes"]}


def events_of(stage: Stage, namespace: str, name: str) -> list[Object]:
    """Events about an AwsIntegration, the oldest first."""
    events = [event for event in stage.objects.list("Event", namespace) if event["involvedObject"]["name"] == name]
    # Times are seconds; within one the order is that in which the API server was told.
    return sorted(events, key=lambda event: (event["firstTimestamp"], int(event["metadata"]["resourceVersion"])))


def eventually(until: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Look again and again; TimeoutError when time is up."""
    wait_until(lambda: bool(until()), timeout=timeout, what=what)


def wait_for(scene: Scene, until: Callable[[Object | None], object], timeout: float = 20.0) -> Object:
    return scene.stage.objects.wait("AwsIntegration", scene.namespace, scene.name, until, timeout=timeout)


CONDITIONS = ("Ready", "TrustVerified")
