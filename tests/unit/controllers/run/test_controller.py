"""The executor against an API server, an STS and a clock that do as they are told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.run import Phase, Run
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.aws.sts import AssumeRoleRequest, Credentials, Session
from spacelift_aws.controllers.run.controller import Executor, ExecutorSettings
from spacelift_aws.controllers.run.credentials.issue import scrubbed
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.pod.helper import Helper
from spacelift_aws.controllers.run.pod.view import Pod, parse_pod
from spacelift_aws.controllers.run.ports import OrphanKey
from spacelift_aws.controllers.run.state import Limits
from spacelift_aws.controllers.run.template_facts import TemplateFacts, facts_of
from spacelift_aws.kube.client import Deletion
from spacelift_aws.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, NotFound, Unanswered
from spacelift_aws.kube.events import Regarding
from spacelift_aws.kube.resources import Resource
from spacelift_aws.roles.controller import ControllerRole
from spacelift_aws.runtime.store import ObjectKey

KEY = ("team", "plan")
INTEGRATION = AwsIntegration.model_validate(
    {
        "metadata": {
            "name": "prod",
            "namespace": "team",
            "uid": "i",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"roleArn": "arn:aws:iam::222222222222:role/deploy/role-1"},
    }
)
CREDENTIALS = ("ASIAEXAMPLE", "very/secret+key", "a-very-long-session-token==")


@dataclass
class FakeWorld:
    """What was seen, and what was told: the executor's view."""

    runs: dict[ObjectKey, Run] = field(default_factory=dict)
    pod: Pod | None = None
    left: list[OrphanKey] = field(default_factory=list)

    def run(self, key: ObjectKey) -> Run | None:
        return self.runs.get(key)

    def template_of(self, run: Run) -> TemplateFacts:
        return facts_of(run, None)

    def pod_of(self, run: Run) -> Pod | None:
        return self.pod

    def pod_named(self, namespace: str, run_id: str) -> Pod | None:
        return self.pod

    def integration(self, key: ObjectKey) -> AwsIntegration | None:
        return INTEGRATION

    def labels_of(self, namespace: str) -> dict[str, str]:
        return {}

    def saw_run(self, run: Run) -> None:
        self.runs[run.metadata.namespace, run.metadata.name] = run

    def lost_run(self, run: Run) -> None:
        self.runs.pop((run.metadata.namespace, run.metadata.name), None)

    def saw_pod(self, pod: Pod) -> None:
        self.pod = pod

    def lost_pod(self, pod: Pod) -> None:
        self.pod = replace(pod, gone=True)

    def orphaned(self, orphan: OrphanKey) -> None:
        self.left.append(orphan)


@dataclass
class FakeTrust:
    """All integrations are verified; counts how often STS's refusals were told."""

    denials: int = 0

    def may_issue(self, integration: AwsIntegration) -> bool:
        return True

    def await_verdict(self, integration: AwsIntegration) -> None: ...

    def why_not(self, integration: AwsIntegration) -> str:
        return ""

    def request(self, key: ObjectKey) -> None:
        self.denials += 1


class FakeRecorder:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def event(self, regarding: Regarding, type_: str, reason: str, message: str, *, is_end: bool = False) -> None:
        self.messages.append(message)


class Scene:
    """One Run. `kube` is itself: what was asked of the API server is in `asked`, `fails` says what goes wrong."""

    def __init__(self, kit: Any, world: FakeWorld | None = None, helper: Helper | None = None) -> None:
        self.kit = kit
        self.now: datetime = kit.at(1)
        self.world, self.trust, self.recorder = world or FakeWorld(), FakeTrust(), FakeRecorder()
        if world is None:
            self.world.saw_run(kit.run())
        self.asked: list[str] = []
        self.fails: dict[str, list[Exception]] = {}
        self.secret = False
        self.held = False
        self.stored: dict[str, Any] = kit.run().model_dump(by_alias=True, exclude_none=True, mode="json")
        self.foreign: dict[str, Any] | None = None
        self.sessions = 0
        self.finalizer = False
        self.drops_image_volumes = False
        self.history: list[tuple[str, dict[str, Any]]] = []
        self.meanwhile: Callable[[str], None] = lambda _: None
        self.executor = Executor(
            role=ControllerRole(),
            view=self.world,
            trust=self.trust,
            kube=self,  # type: ignore[arg-type]
            sts=self,
            recorder=self.recorder,  # type: ignore[arg-type]
            settings=ExecutorSettings("acme", home_region="eu-west-1", helper=helper),
            clock=lambda: self.now,
        )

    async def go(self) -> float | None:
        return await self.executor.reconcile(KEY)

    async def go_on(self, seconds: float) -> float | None:
        self.now += timedelta(seconds=seconds)
        return await self.go()

    @property
    def run(self) -> Run:
        return self.world.runs[KEY]

    def stop(self) -> None:
        self.stored["spec"]["stop"] = True
        self.world.saw_run(self.run.model_copy(update={"spec": self.run.spec.model_copy(update={"stop": True})}))

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.meanwhile(what)
        if self.fails.get(what):
            raise self.fails[what].pop(0)

    # What STS does

    async def assume_role(self, request: AssumeRoleRequest, tenant: str) -> Session:
        self._ask("assume")
        self.sessions += 1
        key, secret, token = CREDENTIALS
        return Session(Credentials(key, secret, token, self.now + timedelta(hours=1)), "arn", "request", None)

    # What the API server does

    async def create_secret(self, namespace: str, body: dict[str, Any], *, dry_run: bool = False) -> None:
        self._ask("would take secret" if dry_run else "create secret")
        if dry_run:
            assert set(body["stringData"].values()) == {"*****"}
            return
        if self.secret:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        self.secret = True

    async def delete_secret(self, namespace: str, name: str) -> Deletion:
        self._ask("delete secret")
        if self.held:
            return Deletion.HELD
        self.secret = False
        return Deletion.GONE

    async def create(
        self, resource: Resource, namespace: str, body: dict[str, Any], *, strict: bool = False, dry_run: bool = False
    ) -> dict[str, Any]:
        self._ask("would take pod" if dry_run else "create pod")
        if self.foreign is not None:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        spec = self.without_image_volumes(body["spec"]) if self.drops_image_volumes else body["spec"]
        return dict(self.kit.pod_body(spec=spec, metadata={"uid": f"pod-{self.asked.count('create pod')}"}))

    @staticmethod
    def without_image_volumes(spec: dict[str, Any]) -> dict[str, Any]:
        """As an API server stores it whose feature is off: neither the volume nor its mounts."""
        names = {volume["name"] for volume in spec.get("volumes", ()) if "image" in volume}
        kept = [volume for volume in spec.get("volumes", ()) if volume["name"] not in names]
        containers = [
            {**one, "volumeMounts": [mount for mount in one.get("volumeMounts", ()) if mount["name"] not in names]}
            for one in spec["containers"]
        ]
        return {**spec, "volumes": kept, "containers": containers}

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> dict[str, Any] | None:
        self._ask(f"delete {resource.kind.lower()}")
        if resource.kind == "Run" and self.finalizer:
            self.stored["metadata"]["deletionTimestamp"] = self.kit.time(1)
            return self.stored
        return None

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self._ask(f"get {resource.kind.lower()}")
        if resource.kind == "Run":
            return self.stored
        if self.foreign is None:
            raise NotFound(404, "NotFound", "no pod")
        return self.foreign

    async def patch(self, resource: Resource, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self._ask("mark run")
        metadata = {**self.stored["metadata"], **body["metadata"]}
        self.stored = {**self.stored, "metadata": metadata}
        return self.stored

    async def changes(
        self, resource: Resource, namespace: str, name: str, since: str
    ) -> list[tuple[str, dict[str, Any]]]:
        self._ask("changes")
        return self.history

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: dict[str, Any], *, resource_version: str
    ) -> dict[str, Any]:
        self._ask("patch status")
        merged = {**self.stored.get("status", {}), **status}
        self.stored["status"] = {key: value for key, value in merged.items() if value is not None}
        self.stored["metadata"]["resourceVersion"] = str(int(self.stored["metadata"]["resourceVersion"]) + 1)
        return self.stored


@pytest.fixture
def scene(kit: Any) -> Scene:
    return Scene(kit)


async def test_the_way_to_the_pod_is_four_calls(scene: Scene) -> None:
    await scene.go()
    assert scene.asked == ["assume", "create secret", "patch status", "create pod"]


async def test_a_successor_that_finds_a_mark_and_no_pod_asks_what_became_of_it(scene: Scene) -> None:
    scene.fails["create pod"] = [KeyboardInterrupt()]  # type: ignore[list-item]  # dies here
    with pytest.raises(KeyboardInterrupt):
        await scene.go()
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored, successor.secret = scene.now, scene.stored, True
    successor.executor.adopt([scene.run])
    await successor.go()
    assert successor.asked[:2] == ["get pod", "changes"]
    assert successor.asked[-1] == "create pod"


async def test_a_pod_that_went_unseen_gives_its_true_result_and_is_not_made_again(scene: Scene) -> None:
    await scene.go()
    scene.world.pod = None
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored, successor.secret = scene.kit.at(100), scene.stored, True
    ended = {"phase": "Succeeded", "containerStatuses": [scene.kit.said(terminated=scene.kit.terminated(0))]}
    successor.history = [("ADDED", scene.kit.pod_body()), ("DELETED", scene.kit.pod_body(ended))]
    successor.executor.adopt([scene.run])
    await successor.go()
    await successor.go_on(61)
    assert scene.run.status.phase is Phase.FINISHED
    assert "create pod" not in successor.asked


async def test_a_pod_of_which_nobody_knows_any_more_is_not_made_again(scene: Scene) -> None:
    await scene.go()
    scene.world.pod = None
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored, successor.secret = scene.kit.at(100), scene.stored, True
    successor.fails["changes"] = [ApiError(410, "Expired", "too old")] * 2
    successor.executor.adopt([scene.run])
    await successor.go()
    await successor.go_on(61)
    condition = scene.run.status.condition("Succeeded")
    assert condition is not None
    assert condition.reason == "ResultUnknown"
    assert "create pod" not in successor.asked


async def test_a_pod_that_came_and_went_while_its_creation_was_refused_is_not_made_again(scene: Scene) -> None:
    """What another process sent before it died arrives first, and is gone by the time it is looked at."""
    scene.fails["create pod"] = [AlreadyExists(409, "AlreadyExists", "there is one")]
    ended = {"phase": "Succeeded", "containerStatuses": [scene.kit.said(terminated=scene.kit.terminated(0))]}
    scene.history = [("ADDED", scene.kit.pod_body()), ("DELETED", scene.kit.pod_body(ended))]
    await scene.go()
    await scene.go_on(61)
    assert scene.run.status.phase is Phase.FINISHED
    assert scene.asked.count("create pod") == 1


async def test_a_pod_that_was_made_and_is_forgotten_is_not_made_again(scene: Scene) -> None:
    await scene.go()
    scene.world.pod = None
    scene.history = [("ADDED", scene.kit.pod_body()), ("DELETED", scene.kit.pod_body())]
    await scene.go()
    assert scene.asked.count("create pod") == 1
    assert "changes" in scene.asked


async def test_a_secret_that_is_there_is_replaced_with_the_same_session(scene: Scene) -> None:
    scene.secret = True
    await scene.go()
    assert scene.asked == ["assume", "create secret", "delete secret", "create secret", "patch status", "create pod"]
    assert scene.sessions == 1


async def test_a_secret_that_a_finalizer_holds_is_said_to_be_held(scene: Scene) -> None:
    scene.secret = scene.held = True
    await scene.go()
    assert "create pod" not in scene.asked
    assert "finalizer" in (scene.run.status.message or "")


async def test_a_secret_that_we_may_not_delete_holds_the_run_up_and_says_why(scene: Scene) -> None:
    """As the chart's policy refuses it for one of another type."""
    forbidden = Forbidden(403, "Forbidden", "denied request: Secret x is of type Opaque")
    scene.secret, scene.fails["delete secret"] = True, [forbidden] * 2
    await scene.go()
    assert "create pod" not in scene.asked
    assert "cannot be replaced: denied request: Secret x is of type Opaque" in (scene.run.status.message or "")
    scene.stop()
    again = await scene.go_on(6)
    assert again, "looked at again"
    assert "still there" in (scene.run.status.message or "")
    assert "is of type Opaque. The run's end is written once it is gone" in (scene.run.status.message or "")
    assert not scene.run.status.phase.terminal
    await scene.go_on(6)
    assert scene.run.status.phase.terminal, "somebody else has deleted it"


async def test_a_pod_of_another_owner_is_not_adopted(scene: Scene) -> None:
    owner = {"kind": "Run", "name": "other", "uid": "other", "controller": True}
    scene.foreign = scene.kit.pod_body(metadata={"ownerReferences": [owner]})
    await scene.go()
    assert scene.world.pod is None
    assert "not this Run's" in (scene.run.status.message or "")
    assert not scene.secret, "a Run that waits keeps no credentials"


async def test_a_pod_of_its_own_is_taken_up_again(scene: Scene) -> None:
    scene.foreign = scene.kit.pod_body()
    await scene.go()
    assert scene.world.pod is not None


async def test_an_unanswered_creation_is_deleted_until_it_can_no_longer_arrive(scene: Scene) -> None:
    scene.fails["create secret"] = [Unanswered("lost")]
    await scene.go()
    scene.stop()
    began, deletions = scene.now, 0
    while not scene.run.status.phase.terminal:
        before = scene.asked.count("delete secret")
        again = await scene.go_on(5)
        deletions += scene.asked.count("delete secret") - before
        assert scene.now - began < timedelta(minutes=3)
        assert again is not None or scene.run.status.phase.terminal
    assert scene.run.status.phase is Phase.STOPPED
    assert scene.now - began >= Limits().creation_in_doubt
    assert deletions >= 6
    assert scene.asked[-3:] == ["delete secret", "patch status", "mark run"]


async def test_what_an_earlier_process_may_have_sent_is_in_doubt(scene: Scene) -> None:
    scene.executor.adopt([scene.run])
    scene.stop()
    await scene.go()
    assert not scene.run.status.phase.terminal
    await scene.go_on(61)
    assert scene.run.status.phase is Phase.STOPPED


async def test_a_status_written_by_another_is_looked_at(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    scene.fails["patch status"] = [Conflict(409, "Conflict", "modified")]
    scene.stored["status"] = {"phase": "Finished"}
    scene.stored["metadata"]["resourceVersion"] = "7"
    await scene.go_on(2)
    assert scene.asked[4:6] == ["patch status", "get run"]
    assert "delete pod" in scene.asked
    assert not scene.secret


async def test_a_status_that_is_refused_for_no_reason_that_shows_is_an_error(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    scene.fails["patch status"] = [Invalid(422, "Invalid", "no")]
    with pytest.raises(Invalid):
        await scene.go_on(2)


async def test_a_run_that_is_gone_at_the_first_status_is_left_to_be_cleaned(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    run = scene.run
    scene.fails["patch status"] = [NotFound(404, "NotFound", "no run")]
    await scene.go_on(2)
    assert KEY not in scene.world.runs
    orphan = scene.executor.orphan_of(run)
    assert orphan is not None
    assert await scene.executor.clean(orphan, scene.world.pod) is None
    assert scene.asked[-2:] == ["delete pod", "delete secret"]
    assert not scene.secret


async def test_a_secret_that_comes_to_be_after_its_run_went_is_left_behind(scene: Scene) -> None:
    run = scene.run
    scene.meanwhile = lambda what: scene.world.lost_run(run) if what == "create secret" else None
    await scene.go()
    assert scene.world.left == [OrphanKey("team", scene.kit.run_id, "plan")]


async def test_the_pod_of_another_hand_is_not_cleaned_away(scene: Scene) -> None:
    pod = parse_pod(scene.kit.pod_body(metadata={"labels": {}}))
    await scene.executor.clean(OrphanKey("team", scene.kit.run_id, "plan"), pod)
    assert scene.asked == ["delete secret"]


async def test_a_session_that_comes_after_stop_is_dropped(scene: Scene) -> None:
    scene.meanwhile = lambda what: scene.stop() if what == "assume" else None
    await scene.go()
    assert "create secret" not in scene.asked
    assert scene.run.status.phase is Phase.STOPPED


async def test_a_refusal_that_quotes_credentials_is_scrubbed(scene: Scene) -> None:
    _, secret, token = CREDENTIALS
    scene.fails["create secret"] = [Forbidden(403, "Forbidden", f"policy denies {secret} and {token}")]
    await scene.go()
    said = scene.run.model_dump_json() + "".join(scene.recorder.messages)
    assert "policy denies ***** and *****" in said
    assert secret not in said
    assert token not in said


def test_encoded_values_are_scrubbed_too() -> None:
    credentials = Credentials(*CREDENTIALS, datetime(2026, 1, 1))
    content = {"AWS_ACCESS_KEY_ID": "ASIAEXAMPLE", "credentials.json": "{}"}
    said = scrubbed("dmVyeS9zZWNyZXQra2V5, e30= and ASIAEXAMPLE", credentials, content)
    assert said == "*****, ***** and ASIAEXAMPLE"


@pytest.mark.parametrize("refusal", [ApiError(404, "NotFound", "webhook"), NotFound(404, "NotFound", "webhook")])
async def test_a_webhook_that_answers_404_loses_no_run(scene: Scene, refusal: Exception) -> None:
    scene.fails["create pod"] = [refusal]
    await scene.go()
    assert "webhook" in (scene.run.status.message or "")


async def test_throttling_delays_and_denial_asks_for_trust_to_be_verified(scene: Scene) -> None:
    scene.fails["assume"] = [
        StsError(Failure.RETRYING, "Throttling", "Rate exceeded", None),
        StsError(Failure.ACCESS_DENIED, "AccessDenied", "no", None),
    ]
    assert (await scene.go() or 0) > 0
    assert scene.trust.denials == 0
    await scene.go_on(5)
    assert scene.trust.denials == 1
    await scene.go_on(10)
    assert scene.world.pod is not None


def in_file(scene: Scene) -> Scene:
    """The Run has `delivery: File`."""
    run = scene.kit.run(delivery="File")
    scene.world.runs[KEY] = run
    scene.stored = run.model_dump(by_alias=True, exclude_none=True, mode="json")
    return scene


def file_pod(scene: Scene, **metadata: Any) -> Pod:
    """The Run's pod as it runs, as it was made."""
    made = build_pod(
        scene.run, scene.kit.run_id, role_arn=scene.kit.role, executor="controller", expires_at=scene.kit.at(3601)
    )
    status = {"phase": "Running", "containerStatuses": [scene.kit.said(running={"startedAt": scene.kit.time(2)})]}
    return parse_pod(scene.kit.pod_body(status, spec=made["spec"], metadata={"resourceVersion": "2", **metadata}))


async def running_file(scene: Scene) -> Scene:
    """A Run whose pod reads its credentials from a file, an instant after its start."""
    in_file(scene)
    await scene.go()
    scene.world.saw_pod(file_pod(scene))
    await scene.go_on(2)
    scene.now = scene.kit.at(1)
    scene.asked.clear()
    return scene


async def test_renewal_replaces_the_secret_by_deletion_and_creation(scene: Scene) -> None:
    await running_file(scene)
    before = scene.run.status.credentials_expire_at
    again = await scene.go_on(1800)
    assert scene.asked == ["assume", "delete secret", "create secret", "patch status"]
    after = scene.run.status.credentials_expire_at
    assert before is not None
    assert after is not None
    assert after - before == timedelta(seconds=1800)
    assert again == pytest.approx(1800, abs=1)


async def test_a_process_that_remembers_nothing_finishes_a_renewal_that_another_began(scene: Scene) -> None:
    await running_file(scene)
    scene.fails["create secret"] = [KeyboardInterrupt()]  # type: ignore[list-item]  # dies here
    with pytest.raises(KeyboardInterrupt):
        await scene.go_on(1800)
    assert not scene.secret
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored = scene.now, scene.stored
    successor.executor.adopt([scene.run])
    await successor.go()
    assert successor.asked[:2] == ["assume", "create secret"]
    assert successor.secret


async def test_what_a_dead_process_may_have_sent_for_a_file_is_in_doubt_until_the_end_is_written(scene: Scene) -> None:
    await running_file(scene)
    successor = Scene(scene.kit, scene.world)
    successor.now, successor.stored = scene.now, scene.stored
    successor.executor.adopt([scene.run])
    ended = replace(file_pod(scene), phase="Succeeded")
    scene.world.saw_pod(ended)
    await successor.go()
    assert not scene.run.status.phase.terminal
    await successor.go_on(61)
    assert scene.run.status.phase is Phase.FINISHED


@pytest.mark.parametrize("what", ["stop", "end", "deletion"])
async def test_a_session_that_comes_after_the_end_is_dropped(scene: Scene, what: str) -> None:
    await running_file(scene)

    def meanwhile(asked: str) -> None:
        if asked != "assume":
            return
        if what == "stop":
            scene.stop()
        elif what == "end":
            scene.world.saw_pod(replace(file_pod(scene), phase="Succeeded"))
        else:
            scene.world.saw_pod(file_pod(scene, **scene.kit.deleted(1801)))

    scene.meanwhile = meanwhile
    await scene.go_on(1800)
    assert "create secret" not in scene.asked


async def test_a_renewal_that_sts_refuses_for_long_is_tried_for_ever_and_never_in_a_hurry(scene: Scene) -> None:
    await running_file(scene)
    scene.fails["assume"] = [StsError(Failure.ACCESS_DENIED, "AccessDenied", "not you", None) for _ in range(9)]
    asked = []
    scene.now += timedelta(seconds=1800)
    for _ in range(8):
        before = len([call for call in scene.asked if call == "assume"])
        again = await scene.go()
        assert again is not None
        asked.append(len([call for call in scene.asked if call == "assume"]) - before)
        scene.now += timedelta(seconds=again + 60)
    assert max(asked) == 1
    assert scene.run.status.phase is Phase.RUNNING
    assert "not you" in (scene.run.status.message or "")
    assert scene.trust.denials == len([call for call in scene.asked if call == "assume"])
    assert scene.secret


async def test_advice_is_given_once(scene: Scene) -> None:
    run = scene.kit.run(activeDeadlineSeconds=7200)
    scene.world.runs[KEY] = run
    scene.stored = run.model_dump(by_alias=True, exclude_none=True, mode="json")
    await scene.go()
    await scene.go()
    assert [message for message in scene.recorder.messages if "`delivery: File`" in message] == [
        "The run may go on for 7200 seconds, but its credentials, fixed in variables, end at 2026-01-02T04:04:06Z: "
        "use `delivery: File`."
    ]


DENIED = Forbidden(403, "Forbidden", 'admission webhook "w" denied the request: cold cache')
QUOTA = Forbidden(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: compute')


async def test_a_denial_is_asked_again_and_the_run_goes_on(scene: Scene) -> None:
    scene.fails["create pod"] = [DENIED]
    await scene.go()
    assert scene.run.status.phase is Phase.QUEUED
    assert "cold cache" in (scene.run.status.message or "")
    assert not scene.secret
    await scene.go_on(10)
    assert scene.world.pod is not None
    assert scene.secret


async def test_a_denial_that_lasts_five_minutes_is_the_end(scene: Scene) -> None:
    scene.fails["create pod"] = [DENIED for _ in range(20)]
    began, again = scene.now, await scene.go()
    while not scene.run.status.phase.terminal:
        assert scene.now - began < timedelta(minutes=10)
        assert again is not None
        again = await scene.go_on(again + 0.1)
    assert scene.now - began >= timedelta(minutes=5)
    condition = scene.run.status.condition("Succeeded")
    assert condition is not None
    assert condition.reason == "TemplateRefused"
    assert scene.sessions == 1, "no session is issued for a pod that is refused"


async def test_what_the_api_server_calls_invalid_is_the_end_at_once(scene: Scene) -> None:
    scene.fails["create pod"] = [Invalid(422, "Invalid", "spec.x", by_validation=True)]
    await scene.go()
    assert scene.run.status.phase is Phase.FAILED


async def test_a_quota_is_waited_for_without_an_end(scene: Scene) -> None:
    scene.fails["create pod"] = [QUOTA for _ in range(30)]
    again = await scene.go()
    for _ in range(20):
        again = await scene.go_on((again or 0) + 0.1)
    assert scene.run.status.phase is Phase.QUEUED
    assert scene.sessions == 1


async def test_a_webhook_that_is_down_is_told_and_leaves_no_secret(scene: Scene) -> None:
    said = 'Internal error occurred: failed calling webhook "w": connection refused'
    scene.fails["create pod"] = [Unanswered("the API server answered 500", said)]
    await scene.go()
    assert "failed calling webhook" in (scene.run.status.message or "")
    condition = scene.run.status.condition("CredentialsIssued")
    assert condition is not None
    assert condition.reason == "Retrying"
    assert not scene.secret
    await scene.go_on(10)
    assert scene.world.pod is not None
    assert scene.secret


async def test_a_secret_that_is_refused_is_asked_for_without_credentials_first(scene: Scene) -> None:
    refused = Forbidden(403, "Forbidden", "exceeded quota: secrets")
    scene.fails["create secret"], scene.fails["would take secret"] = [refused], [refused, refused]
    await scene.go()
    for _ in range(2):
        await scene.go_on(130)
    assert scene.sessions == 1
    assert "exceeded quota" in (scene.run.status.message or "")
    await scene.go_on(130)
    assert scene.sessions == 2
    assert scene.secret


async def test_a_refused_deletion_of_the_pod_is_told_and_tried_again(scene: Scene) -> None:
    await scene.go()
    scene.world.saw_pod(scene.kit.running())
    scene.stop()
    scene.fails["delete pod"] = [Forbidden(403, "Forbidden", "policy keeps it")]
    again = await scene.go()
    assert "policy keeps it" in (scene.run.status.message or "")
    assert any("policy keeps it" in message for message in scene.recorder.messages)
    await scene.go_on((again or 0) + 0.1)
    assert scene.asked.count("delete pod") == 2


async def test_a_run_that_a_finalizer_holds_is_not_forgotten(scene: Scene) -> None:
    scene.finalizer = True
    run = scene.kit.run(ttlSecondsAfterFinished=0, status={"phase": "Finished", "finishedAt": scene.kit.time(0)})
    scene.world.runs[KEY] = run
    scene.stored = run.model_dump(by_alias=True, exclude_none=True, mode="json")
    await scene.go()
    assert scene.run.metadata.deletion_timestamp is not None
    assert scene.asked.count("delete run") == 1
