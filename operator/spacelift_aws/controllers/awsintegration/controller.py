"""Keeps AwsIntegrations verified: gathers what is known, asks STS when it is time, writes what a person should read.

Everything decided here is decided by pure functions; this module waits, writes and remembers.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol

from spacelift_aws.api.awsintegration import AwsIntegration, ProbeAnswer
from spacelift_aws.api.patch import status_patch
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws.identity import Identity
from spacelift_aws.aws.sts import AssumeRoleRequest, Session
from spacelift_aws.controllers.awsintegration import by_role, status
from spacelift_aws.controllers.awsintegration import history as histories
from spacelift_aws.controllers.awsintegration.history import Draw, History, Schedule, next_spelling_time, next_time
from spacelift_aws.controllers.awsintegration.probes.answers import Answers, ProbeRound
from spacelift_aws.controllers.awsintegration.probes.ask import Prober, without_identity
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan
from spacelift_aws.controllers.awsintegration.trust_store import Key, TrustStore
from spacelift_aws.controllers.awsintegration.verdict import Verdict
from spacelift_aws.kube.errors import Conflict, NotFound
from spacelift_aws.kube.events import Regarding
from spacelift_aws.kube.resources import INTEGRATIONS, Resource
from spacelift_aws.names import ANNOTATION_VERIFY
from spacelift_aws.runtime.role import Role

logger = logging.getLogger(__name__)

_AFTER_A_CONFLICT = 0.5
"""Seconds until a status is decided anew after somebody else wrote first: the watch brings the newer object."""
_WITHOUT_IDENTITY = 15.0
"""Seconds until the status of an integration without a role is looked at again while nobody knows the principal."""


class View(Protocol):
    """The integrations as last seen, and where what our own writes show goes."""

    def integration(self, key: Key) -> AwsIntegration | None: ...
    def saw_integration(self, integration: AwsIntegration) -> None: ...


class StatusWriter(Protocol):
    """The one write of this module."""

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], *, resource_version: str
    ) -> dict[str, Any]: ...


class EventSink(Protocol):
    """Takes Events without waiting."""

    def event(self, regarding: Regarding, type_: str, reason: str, message: str) -> None: ...


class TrustSts(Protocol):
    """STS as far as integrations need it."""

    async def probe(self, request: AssumeRoleRequest, tenant: str, *, urgent: bool = False) -> Session: ...
    async def probe_if_idle(self, request: AssumeRoleRequest, tenant: str) -> Session | None: ...
    def prioritize_probes(self, tenant: str, role_arn: str) -> None: ...


class WhoWeAre(Protocol):
    """The operator's own identity."""

    async def current(self) -> Identity: ...
    def invalidate(self) -> None: ...


@dataclass
class _State:
    """What this process remembers of one integration, all of which the next one finds out anew."""

    uid: str
    history: History | None = None
    generation: int = 0
    """That of the spec that the last verification was about."""
    answered: str | None = None
    """The value of the annotation that asked for the last verification."""
    announced: tuple[str, str] | None = None
    """Status and reason of `TrustVerified` that the last Event told, or that a status showed before."""


@dataclass(frozen=True)
class IntegrationSettings:
    """What is configured."""

    installation: str
    suggested_policies: Sequence[str] = ("PowerUserAccess",)
    schedule: Schedule = field(default_factory=Schedule)


class IntegrationReconciler:
    """Verifies integrations one key at a time; keys never wait for each other but at STS, in fair turns."""

    def __init__(
        self,
        *,
        view: View,
        kube: StatusWriter,
        recorder: EventSink,
        sts: TrustSts,
        identity: WhoWeAre,
        settings: IntegrationSettings,
        role: Role,
        clock: Callable[[], datetime],
        wake: Callable[[Key], None],
        trust: TrustStore,
        is_awaited: Callable[[Key], bool] = lambda _: False,
        random: Random | None = None,
    ) -> None:
        """`wake` puts a key into the work queue; `trust` is where verdicts go and demands for them come from.

        `is_awaited` tells whether a Run waits for an integration: its first verification then goes before others.
        """
        self._view = view
        self._kube = kube
        self._recorder = recorder
        self._sts = sts
        self._identity = identity
        self._settings = settings
        self._role = role
        self._clock = clock
        self._wake = wake
        self._trust = trust
        self._is_awaited = is_awaited
        self._draw = Draw(settings.schedule, random or Random())
        self._states: dict[Key, _State] = {}
        trust.on_demand(self._prioritize)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one integration up to date; answers the seconds after which to look again."""
        integration = self._view.integration(key)
        if integration is None or not by_role.writes_about(self._role, integration):
            self.forget(key)
            return None
        state = self._state_of(key, integration)
        identity = await self._identity.current()
        plan = self._plan(integration)
        if plan is None:
            state.history = None
            self._trust.drop(key)
        elif (ask := self._what_is_due(key, state, integration, plan)) is not None:
            await ask(key, state, integration, plan, identity)
            integration = self._view.integration(key)
            if integration is None or integration.metadata.uid != state.uid:
                return 0.0
            if self._plan(integration) != plan:
                return 0.0
        if not await self._write(key, state, integration, identity):
            return _AFTER_A_CONFLICT
        return self._look_again(key, state, integration, identity)

    def forget(self, key: Key) -> None:
        """The integration is gone."""
        self._states.pop(key, None)
        self._trust.forget(key)

    def _state_of(self, key: Key, integration: AwsIntegration) -> _State:
        state = self._states.get(key)
        if state is None or state.uid != integration.metadata.uid:
            shown = integration.status.condition(status.TRUST_VERIFIED)
            announced = (shown.status, shown.reason) if shown else None
            state = self._states[key] = _State(integration.metadata.uid, announced=announced)
        return state

    def _plan(self, integration: AwsIntegration) -> ProbePlan | None:
        return by_role.plan_for(self._role, integration, self._settings.installation)

    def _prioritize(self, key: Key) -> None:
        """Runs want this verdict sooner."""
        integration = self._view.integration(key)
        if integration is None:
            return
        if integration.spec.role_arn is not None:
            self._sts.prioritize_probes(key[0], integration.spec.role_arn)
        if self._trust.is_doubted(key):
            self._wake(key)

    def _what_is_due(
        self, key: Key, state: _State, integration: AwsIntegration, plan: ProbePlan
    ) -> "Callable[[Key, _State, AwsIntegration, ProbePlan, Identity], Awaitable[None]] | None":
        """A whole round, one spelling between two rounds, or nothing."""
        history = state.history
        if history is None or history.plan != plan or history.asked_at is None:
            return self._verify
        if self._is_asked_for(state, integration):
            return self._verify
        now = self._clock()
        if self._trust.is_doubted(key) and now >= history.asked_at + self._settings.schedule.request_every:
            return self._verify
        verify_every = integration.spec.verify_every
        due = next_time(history, verify_every)
        if due is not None and now >= due:
            return self._verify
        due = next_spelling_time(history, verify_every, self._settings.schedule)
        return self._spell if due is not None and now >= due else None

    @staticmethod
    def _is_asked_for(state: _State, integration: AwsIntegration) -> bool:
        """By a change of the spec, whatever it is about, or by a new value of the annotation."""
        metadata = integration.metadata
        asked = metadata.annotations.get(ANNOTATION_VERIFY)
        return metadata.generation != state.generation or (asked is not None and asked != state.answered)

    async def _verify(
        self, key: Key, state: _State, integration: AwsIntegration, plan: ProbePlan, identity: Identity
    ) -> None:
        history = self._history_before(state, integration, plan)
        self._trust.begin(key, is_awaited=history.asked_at is None and self._is_awaited(key))
        answers = await self._ask(key, history, identity)
        verdict = by_role.verdict_on(self._role, ProbeRound(plan, identity, answers, history.principal_id))
        if verdict.reason == Reason.NO_IDENTITY:
            self._identity.invalidate()
        history = histories.record_round(history, answers, verdict, identity.principal_id, self._draw)
        state.generation = integration.metadata.generation
        state.answered = integration.metadata.annotations.get(ANNOTATION_VERIFY)
        logger.info("AwsIntegration %s/%s: %s", *key, verdict.reason)
        self._keep(key, state, history)

    async def _spell(
        self, key: Key, state: _State, integration: AwsIntegration, plan: ProbePlan, identity: Identity
    ) -> None:
        """Look at one more place of the external ID, between two rounds."""
        history = state.history
        if history is None or identity.is_missing:
            return
        result = await self._prober(key, plan).spell_if_idle(histories.next_spelling(history))
        history = state.history = histories.record_spelling(history, result, self._settings.schedule)
        if result.answer is not ProbeAnswer.ALLOWED:
            return
        answers = Answers(
            history.probes[0], (*(r for r in history.probes[1:] if r.probe is not result.probe), result), result.at
        )
        verdict = by_role.verdict_on(self._role, ProbeRound(plan, identity, answers, history.principal_id))
        logger.info("AwsIntegration %s/%s: %s, by its spelling", *key, verdict.reason)
        self._keep(key, state, histories.record_round(history, answers, verdict, history.principal_id, self._draw))

    def _keep(self, key: Key, state: _State, history: History) -> None:
        state.history = history
        self._trust.put(key, state.uid, history)

    def _history_before(self, state: _State, integration: AwsIntegration, plan: ProbePlan) -> History:
        history = state.history
        if history is None:
            return by_role.remembered(self._role, integration, plan, self._settings.installation)
        if history.plan != plan:
            return History(plan, principal_id=history.principal_id)
        return histories.impatient(history) if self._is_asked_for(state, integration) else history

    async def _ask(self, key: Key, history: History, identity: Identity) -> Answers:
        if identity.is_missing and identity.failure is not None:
            return without_identity(history.plan, identity.failure, self._clock())
        return await self._prober(key, history.plan).ask(histories.positions_to_ask(history))

    def _prober(self, key: Key, plan: ProbePlan) -> Prober:
        return Prober(self._sts, plan, key[0], lambda: self._trust.is_awaited(key), self._clock)

    async def _write(self, key: Key, state: _State, integration: AwsIntegration, identity: Identity) -> bool:
        """Write the status if it differs; False if somebody else has written meanwhile."""
        given = status.StatusInput(
            integration,
            self._settings.installation,
            identity,
            state.history,
            self._settings.suggested_policies,
            self._clock(),
        )
        patch = status_patch(integration.status, by_role.desired_status(self._role, given))
        if patch:
            version = integration.metadata.resource_version
            try:
                answer = await self._kube.patch_status(INTEGRATIONS, *key, patch, resource_version=version)
            except Conflict:
                return False
            except NotFound:
                return True
            self._view.saw_integration(AwsIntegration.model_validate(answer))
        self._announce(state, integration, by_role.displayed_verdict(self._role, given))
        return True

    def _announce(self, state: _State, integration: AwsIntegration, verdict: Verdict) -> None:
        """An Event where the condition turned, not where somebody else's hand in the status was corrected."""
        words = (verdict.status, str(verdict.reason))
        if words == state.announced:
            return
        state.announced = words
        if verdict.reason in (Reason.ROLE_NOT_SET, Reason.NOT_VERIFIABLE):
            return
        metadata = integration.metadata
        regarding = Regarding(INTEGRATIONS, metadata.namespace, metadata.name, metadata.uid)
        type_ = "Normal" if verdict.is_good else "Warning"
        self._recorder.event(regarding, type_, str(verdict.reason), verdict.message)

    def _look_again(self, key: Key, state: _State, integration: AwsIntegration, identity: Identity) -> float | None:
        history = state.history
        if history is None:
            return _WITHOUT_IDENTITY if identity.failure is not None else None
        verify_every = integration.spec.verify_every
        times = [next_time(history, verify_every), next_spelling_time(history, verify_every, self._settings.schedule)]
        if self._trust.is_doubted(key) and history.asked_at is not None:
            times.append(history.asked_at + self._settings.schedule.request_every)
        if self._is_asked_for(state, integration):
            return 0.0
        due = [time for time in times if time is not None]
        return max(0.0, (min(due) - self._clock()) / timedelta(seconds=1)) if due else None
