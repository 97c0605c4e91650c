"""Whatever happens to a Run, in whatever order: what must hold at every moment, and that it ends.

A small model of the API server, a kubelet, STS and an executor carries out what `decide` decides while a list of
incidents befalls them.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spacelift_aws.api.reasons import CredentialsIssuedReason as Reason
from spacelift_aws.api.reasons import SucceededReason
from spacelift_aws.api.run import Phase
from spacelift_aws.clock import JUMP
from spacelift_aws.controllers.run import actions
from spacelift_aws.controllers.run.decide import decide
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.progress import ProgressStore
from spacelift_aws.controllers.run.state import (
    Limits,
    PodSearch,
    Progress,
    RetryableFailure,
    SecretState,
    TerminalFailure,
)

STEPS = 12
"""Decisions with actions that one moment may need at most, one in which the executor dies and begins anew included."""
RETRY = timedelta(seconds=300)
LIMITS = Limits(creation_in_doubt=timedelta(seconds=200), deletion_repeat=timedelta(seconds=120))
"""Longer than in life: what is tested is the order of things, and every wake costs time here."""


@dataclass
class EventRouter:
    kit: Any
    now: datetime
    run: Any
    grant: Any
    pod: dict[str, Any] | None = None
    gone: dict[str, Any] | None = None
    secret: datetime | None = None
    """When the credentials in the Secret expire; None where there is no Secret."""
    held: bool = False
    """A finalizer holds every Secret."""
    in_flight: list[tuple[datetime, datetime]] = field(default_factory=list)
    """Creations that were not answered: when they arrive, and the expiry of what they bring."""
    sts: str = "fine"
    writes: str = "fine"
    pods: str = "fine"
    lifetime: timedelta = timedelta(hours=1)
    progress: Progress = field(default_factory=Progress)
    crash_in: int | None = None
    crash_between: bool = False
    """The executor dies after the old Secret's deletion and before the new one's creation."""
    pods_made: int = 0
    last_pod: dict[str, Any] | None = None
    """The pod that was made, also when it is gone."""
    remembers: bool = True
    """Whether the API server still knows what became of the pod."""
    forged: bool = False
    deleted: bool = False
    injects: bool = False
    """A webhook gives pods a web identity when they are made."""
    latest: datetime = datetime(1, 1, 1, tzinfo=UTC)
    """What the clock has shown at most since there is this Secret: set back, it brings no dead credentials to life."""
    unnoticed: timedelta = timedelta(0)
    """By how much the clock was set in small steps."""

    @property
    def pod_spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = build_pod(
            self.run, self.kit.run_id, role_arn=self.kit.role, executor="controller", expires_at=self.now
        )["spec"]
        return spec

    # -- the executor -------------------------------------------------------------------------------------------------

    def observe(self) -> Any:
        pod = self.pod or self.gone
        parsed = self.kit.pod(pod["status"], metadata=pod["metadata"], spec=pod["spec"]) if pod else None
        if parsed is not None and self.pod is None:
            parsed = replace(parsed, gone=True)
        seen = self.kit.seen(run=self.run, pod=parsed, grant=self.grant, progress=self.progress)
        return replace(seen, now=self.now, limits=LIMITS)

    @property
    def secret_lives(self) -> bool:
        return self.secret is not None and self.secret > self.latest

    def reconcile(self) -> datetime | None:
        self.latest = max(self.latest, self.now)
        for _ in range(STEPS):
            if self.deleted:
                return None
            decision = decide(self.observe())
            if decision.progress is not None:
                self.progress = decision.progress
            elif not decision.actions:
                assert decision.again_at is None or decision.again_at > self.now, "asked again without time passing"
                self.check()
                return decision.again_at
            for action in decision.actions:
                if self.crash_in is not None:
                    self.crash_in -= 1
                    if self.crash_in < 0:
                        self.restart()
                        break
                self.do(action)
        raise AssertionError(f"no end of decisions in sight: {decision}")

    def do(self, action: actions.Action) -> None:
        match action:
            case actions.IssueCredentials():
                self.issue()
            case actions.CreatePod():
                self.create_pod()
            case actions.LookForPod():
                self.look_for_pod()
            case actions.DeletePod():
                self.delete_pod()
            case actions.DeleteSecret():
                self.secret = self.secret if self.held else None
                state = SecretState.GONE if self.secret is None else SecretState.HELD
                self.progress = replace(self.progress, secret=state, deleted_at=self.now)
            case actions.WriteStatus(wanted):
                assert wanted.phase.rank >= self.run.status.phase.rank, "a phase only advances"
                if wanted.phase.terminal and not self.run.status.phase.terminal:
                    assert not self.secret_lives, "the Secret goes before the end is written"
                    assert not self.in_flight, "no Secret may arrive after the end"
                self.run = self.run.model_copy(update={"status": wanted})
            case actions.MarkEnded(change):
                assert self.run.status.phase.terminal, "nothing is marked that goes on"
                marked = self.run.metadata.model_copy(
                    update={key: change["metadata"][key] for key in ("annotations", "labels")}
                )
                self.run = self.run.model_copy(update={"metadata": marked})
            case actions.DeleteRun():
                assert self.run.status.phase.terminal
                self.deleted = True

    def trouble(self, message: str, reason: Reason = Reason.RETRYING) -> None:
        self.progress = replace(self.progress, retryable_failure=RetryableFailure(reason, message, self.now + RETRY))

    def issue(self) -> None:
        assert not self.run.spec.stop, "what was stopped is issued nothing"
        assert not self.run.status.phase.terminal, "nor what has ended"
        if self.sts != "fine":
            self.trouble(self.sts, Reason.ACCESS_DENIED)
            if self.sts == "final":
                self.progress = replace(
                    self.progress, terminal_failure=TerminalFailure(SucceededReason.ACCESS_DENIED, "denied for long")
                )
            return
        expires_at = self.now + self.lifetime
        if self.secret is not None and self.held:
            self.trouble("held by a finalizer")
            return
        self.secret = None
        if self.crash_between:
            self.restart()
            return
        if self.writes == "refused":
            self.trouble("refused")
            return
        if self.writes in ("late", "lost"):
            if self.writes == "late":
                self.in_flight.append((self.now + timedelta(seconds=190), expires_at))
            self.progress = replace(self.progress, unanswered_at=self.now)
            self.trouble("no answer")
            return
        self.secret, self.latest = expires_at, self.now
        self.progress = replace(
            self.progress,
            secret=SecretState.PRESENT,
            issued_at=self.now,
            expires_at=expires_at,
            access_key_id="ASIA",
            retryable_failure=None,
        )

    def look_for_pod(self) -> None:
        if not self.remembers:
            self.progress = replace(self.progress, pod_search=PodSearch.LOST)
        elif self.last_pod is not None:
            self.gone = self.last_pod
        else:
            self.progress = replace(self.progress, pod_search=PodSearch.NEVER_MADE)

    def create_pod(self) -> None:
        assert self.pod is None, "never two pods"
        assert self.run.status.pod_created_after is not None, "a durable mark comes first"
        if self.pods == "quota":
            self.trouble("exceeded quota")
        elif self.pods == "invalid":
            self.progress = replace(
                self.progress, terminal_failure=TerminalFailure(SucceededReason.TEMPLATE_REFUSED, "invalid")
            )
        else:
            self.pods_made += 1
            self.progress = replace(self.progress, pod_search=PodSearch.NOT_LOOKED)
            assert self.pods_made == 1, "a Run is never repeated"
            annotations = {
                "aws.spacelift.io/credentials-expire-at": self.progress.expires_at.isoformat()
                if self.progress.expires_at
                else "",
                "aws.spacelift.io/role-arn": self.kit.role,
            }
            metadata = {"creationTimestamp": self.wire(self.now), "annotations": annotations}
            spec = self.pod_spec
            if self.injects:
                spec["containers"][0]["env"].append({"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/token"})
            self.pod = self.last_pod = {"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}

    # -- everybody else -----------------------------------------------------------------------------------------------

    def wire(self, moment: datetime) -> str:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def set_pod(self, phase: str, **state: Any) -> None:
        if self.pod and self.pod["status"]["phase"] not in ("Succeeded", "Failed"):
            started = {"startTime": self.wire(self.now)}
            said = [self.kit.said(**state)] if state else []
            self.pod = {**self.pod, "status": {"phase": phase, "containerStatuses": said, **started}}

    def start(self) -> None:
        """The kubelet starts the container if it finds the Secret."""
        if not self.pod or self.pod["status"]["phase"] != "Pending" or "deletionTimestamp" in self.pod["metadata"]:
            return
        if self.secret is None:
            missing = {"reason": "CreateContainerConfigError", "message": f'secret "{self.kit.name}" not found'}
            # Of a volume's Secret that is not there a pod's status says nothing.
            self.set_pod("Pending", waiting={"reason": "ContainerCreating"} if self.in_file else missing)
            return
        assert self.secret > self.now, "a Run never starts with dead credentials"
        assert not self.injected, "no container starts whose SDKs would prefer other credentials"
        self.set_pod("Running", running={"startedAt": self.wire(self.now)})

    def end(self, code: int) -> None:
        if self.pod and self.pod["status"]["phase"] == "Running":
            over = {**self.kit.terminated(code), "finishedAt": self.wire(self.now)}
            self.set_pod("Failed" if code else "Succeeded", terminated=over)

    def delete_pod(self) -> None:
        if self.pod is None or "deletionTimestamp" in self.pod["metadata"]:
            return
        deletion = {
            "deletionTimestamp": self.wire(self.now + timedelta(seconds=30)),
            "deletionGracePeriodSeconds": 30,
        }
        self.pod = {**self.pod, "metadata": {**self.pod["metadata"], **deletion}}
        if self.pod["status"]["phase"] != "Running":
            self.vanish()

    def vanish(self) -> None:
        """The pod goes. Once more, and the executor has forgotten it too."""
        self.pod, self.gone, self.last_pod = None, self.pod, self.pod or self.last_pod

    def restart(self) -> None:
        pod = self.pod
        self.progress, self.crash_in, self.crash_between, self.gone = Progress(), None, False, None
        running = pod is not None and pod["status"]["phase"] != "Pending"
        if not self.run.status.phase.terminal and (self.in_file or not running):
            self.progress = Progress(unanswered_at=self.now)

    def set_clock(self, now: datetime) -> None:
        """The executor notices it if it is much; what is under way arrives no sooner."""
        step = now - self.now
        self.in_flight = [(at + step, expires_at) for at, expires_at in self.in_flight]
        self.now, self.unnoticed = now, self.unnoticed + step
        if abs(self.unnoticed) >= JUMP:
            progress = ProgressStore()
            progress.put(self.kit.run_id, self.progress)
            progress.distrust_moments(now)
            self.unnoticed, self.progress = timedelta(0), progress.of(self.kit.run_id)

    @property
    def injected(self) -> bool:
        return self.pod is not None and "'/token'" in str(self.pod["spec"])

    @property
    def in_file(self) -> bool:
        return bool(self.run.spec.delivery == "File")

    def forge(self, phase: str) -> None:
        """Somebody else writes the phase; the schema lets it only advance."""
        if Phase(phase).rank > self.run.status.phase.rank:
            self.forged = True
            self.run = self.run.model_copy(
                update={"status": self.run.status.model_copy(update={"phase": Phase(phase)})}
            )

    def befall(self, incident: tuple[str, Any]) -> None:
        kind, value = incident
        match kind:
            case (
                "sts" | "writes" | "pods" | "held" | "injects" | "lifetime" | "crash_in" | "crash_between" | "remembers"
            ):
                setattr(self, kind, value)
            case "grant":
                self.grant = self.kit.grant() if value else self.kit.refusal()
            case "stop":
                self.run = self.run.model_copy(update={"spec": self.run.spec.model_copy(update={"stop": True})})
            case "end":
                self.end(value)
            case "phase":
                self.forge(value)
            case "clock":
                self.set_clock(max(self.now + value, self.kit.start))
            case "secret stolen":
                self.secret = None
            case "vanish unseen":
                self.vanish()
                self.restart()
            case _:
                getattr(self, kind)()

    def pass_time(self, span: timedelta) -> None:
        """Let time pass, waking the executor whenever it asked for it and whenever something arrives."""
        target = self.now + span
        while True:
            wake = self.reconcile()
            arrivals = [at for at, _ in self.in_flight]
            deletion = self.pod["metadata"].get("deletionTimestamp") if self.pod else None
            ends = [datetime.fromisoformat(deletion)] if deletion and self.pods != "lost" else []
            following = min([m for m in (wake, *arrivals, *ends) if m is not None], default=None)
            if following is None or following > target:
                self.now = target
                self.reconcile()
                return
            self.now = max(following, self.now)
            for at, expires_at in [late for late in self.in_flight if late[0] <= self.now]:
                self.in_flight.remove((at, expires_at))
                # In life a session outlives by far the time that a creation takes to arrive.
                if expires_at > self.now and self.secret is None:
                    self.secret, self.latest = expires_at, self.now
            if ends and self.now >= ends[0]:
                self.vanish()

    def check(self) -> None:
        if self.run.status.phase.terminal and not self.forged:
            assert not self.secret_lives, "no Secret outlives its Run"
            assert self.run.status.condition("Complete") is not None


JUMPS = st.sampled_from([timedelta(seconds=seconds) for seconds in (-600, -30, -1, 30, 600)])
"""How far a clock that is wrong may be set: some minutes, since TLS and signatures bear no more."""


INCIDENTS = st.one_of(
    st.tuples(st.just("sts"), st.sampled_from(["fine", "throttled", "final"])),
    st.tuples(st.just("writes"), st.sampled_from(["fine", "late", "lost", "refused"])),
    st.tuples(st.just("pods"), st.sampled_from(["fine", "quota", "invalid", "lost"])),
    st.tuples(st.just("held"), st.booleans()),
    st.tuples(st.just("injects"), st.booleans()),
    st.tuples(st.just("remembers"), st.booleans()),
    st.tuples(st.just("lifetime"), st.sampled_from([timedelta(hours=1), timedelta(minutes=15), timedelta(seconds=90)])),
    st.tuples(st.just("crash_in"), st.integers(0, 5)),
    st.tuples(st.just("crash_between"), st.just(True)),
    st.tuples(st.just("grant"), st.booleans()),
    st.tuples(st.just("end"), st.sampled_from([0, 3])),
    st.tuples(st.just("clock"), JUMPS),
    st.tuples(st.just("phase"), st.sampled_from(["Preparing", "Running", "Finished", "Failed"])),
    st.tuples(
        st.sampled_from(["stop", "start", "delete_pod", "vanish", "restart", "secret stolen", "vanish unseen"]),
        st.none(),
    ),
)
SPANS = st.sampled_from([timedelta(seconds=seconds) for seconds in (0, 1, 3, 7, 31, 210, 700, 3400)])
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "delivery": st.sampled_from(["Environment", "File"]),
        "activeDeadlineSeconds": st.sampled_from([5, 5000]),
        "startingDeadlineSeconds": st.sampled_from([10, 7200]),
        "ttlSecondsAfterFinished": st.sampled_from([0, 60]),
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(incidents=st.lists(st.tuples(INCIDENTS, SPANS), max_size=14), spec=SPECS)
def test_a_run_ends_once_stopped_and_nothing_of_it_stays(
    kit: Any, incidents: list[tuple[tuple[str, Any], timedelta]], spec: dict[str, Any]
) -> None:
    world = EventRouter(kit, kit.start, kit.run(**spec), kit.grant())
    for incident, span in incidents:
        world.befall(incident)
        world.pass_time(span)
    world.befall(("stop", None))
    world.pass_time(timedelta(hours=1))
    world.held = False
    world.pass_time(timedelta(minutes=10))
    assert world.deleted or world.run.status.phase.terminal, "a stopped Run ends"
    assert not world.secret_lives, "nothing that lives stays behind"
    running = world.pod is not None and world.pod["status"]["phase"] == "Running"
    assert not running or world.pods == "lost", "no container goes on"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(incidents=st.lists(st.tuples(INCIDENTS, SPANS), max_size=8), delivery=st.sampled_from(["Environment", "File"]))
def test_a_run_that_is_left_in_peace_again_starts_or_has_ended(
    kit: Any, incidents: list[tuple[tuple[str, Any], timedelta]], delivery: str
) -> None:
    world = EventRouter(kit, kit.start, kit.run(delivery=delivery), kit.grant())
    for incident, span in incidents:
        world.befall(incident)
        world.pass_time(span)
    world.sts, world.writes, world.pods, world.held, world.lifetime = "fine", "fine", "fine", False, timedelta(hours=1)
    world.befall(("grant", True))
    # A volume's Secret that somebody stole is missed by nobody who tells; it comes back when it is renewed.
    world.pass_time(timedelta(minutes=12 if delivery == "Environment" else 35))
    world.start()
    world.pass_time(timedelta(seconds=40))
    world.start()
    world.pass_time(timedelta(seconds=1))
    assert world.run.status.phase in (Phase.RUNNING, Phase.FINISHED, Phase.FAILED, Phase.STOPPED)


SET_BACK_WHILE_THROTTLED: list[tuple[tuple[str, Any], timedelta]] = [
    (("start", None), timedelta(0)),
    (("sts", "throttled"), timedelta(seconds=3400)),
    (("clock", timedelta(seconds=-600)), timedelta(0)),
]


STOLEN = ("secret stolen", None)
STOLEN_WHILE_RUNNING: list[tuple[tuple[str, Any], timedelta]] = [
    (("sts", "fine"), timedelta(0)),
    (("start", None), timedelta(0)),
    (STOLEN, timedelta(0)),
]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(incidents=st.lists(st.tuples(INCIDENTS, SPANS), max_size=8))
@example(incidents=SET_BACK_WHILE_THROTTLED)
@example(incidents=STOLEN_WHILE_RUNNING)
def test_a_file_that_is_renewed_in_peace_is_never_missing_for_long_and_never_old(
    kit: Any, incidents: list[tuple[tuple[str, Any], timedelta]]
) -> None:
    world = EventRouter(kit, kit.start, kit.run(delivery="File"), kit.grant())
    for incident, span in incidents:
        world.befall(incident)
        world.pass_time(span)
    world.sts, world.writes, world.held, world.lifetime = "fine", "fine", False, timedelta(hours=1)
    world.crash_in, world.crash_between = None, False
    world.befall(("grant", True))
    # So long a failure of before may still delay the next try, and its creation arrive. What somebody stole comes back
    # when it is renewed: nobody tells that it is missing.
    stolen = any(incident == STOLEN for incident, _ in incidents)
    back = sum((-value for (kind, value), _ in incidents if kind == "clock" and value < timedelta(0)), timedelta(0))
    world.pass_time(timedelta(minutes=35) + back if stolen else RETRY)
    world.start()
    for _ in range(40):
        world.pass_time(timedelta(minutes=5))
        if not world.pod or world.pod["status"]["phase"] != "Running" or world.pod["metadata"].get("deletionTimestamp"):
            return
        assert world.secret is not None, "it is never missing for long"
        left = world.secret - world.now
        assert left >= timedelta(minutes=25), "it is renewed at half of an hour, or looked at each five minutes here"
        assert not world.run.status.credentials_expire_at < world.secret.replace(microsecond=0), "the status tells it"
