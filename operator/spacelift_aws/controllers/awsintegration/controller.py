"""Keeps AwsIntegrations verified: gathers what is known, asks STS when it is time, writes what a person should read.

Everything decided here is decided by pure functions; this module waits, writes and remembers.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.api.patch import status_patch
from spacelift_aws.api.reasons import TrustVerifiedReason as Reason
from spacelift_aws.aws.identity import Identity
from spacelift_aws.aws.sts import AssumeRoleRequest, Session
from spacelift_aws.controllers.awsintegration import by_role, status
from spacelift_aws.controllers.awsintegration import history as histories
from spacelift_aws.controllers.awsintegration.history import Draw, History, Schedule, next_time
from spacelift_aws.controllers.awsintegration.probes import Round, ask, unasked
from spacelift_aws.controllers.awsintegration.question import TrustQuestion
from spacelift_aws.controllers.awsintegration.verdict import Evidence, Verdict
from spacelift_aws.kube.errors import Conflict, NotFound
from spacelift_aws.kube.events import Regarding
from spacelift_aws.kube.resources import INTEGRATIONS, Resource
from spacelift_aws.names import ANNOTATION_VERIFY
from spacelift_aws.runtime.role import Role

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name."""

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
        on_verdict: Callable[[Key], None],
        is_awaited: Callable[[Key], bool] = lambda _: False,
        random: Random | None = None,
    ) -> None:
        """`wake` puts a key into the work queue; `on_verdict` hears of every verification that has ended.

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
        self._on_verdict = on_verdict
        self._is_awaited = is_awaited
        self._draw = Draw(settings.schedule, random or Random())
        self._states: dict[Key, _State] = {}
        self._awaited: set[Key] = set()
        self._requested: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Bring one integration up to date; answers the seconds after which to look again."""
        integration = self._view.integration(key)
        if integration is None or not by_role.writes_about(self._role, integration):
            self.forget(key)
            return None
        state = self._state_of(key, integration)
        identity = await self._identity.current()
        question = self._question(integration)
        if question is None:
            had_verdict, state.history = state.history is not None, None
            if had_verdict:
                self._on_verdict(key)
        elif self._is_due(key, state, integration, question):
            await self._verify(key, state, integration, question, identity)
            integration = self._view.integration(key)
            if integration is None or integration.metadata.uid != state.uid:
                return 0.0
            if self._question(integration) != question:
                return 0.0
        if not await self._write(key, state, integration, identity):
            return _AFTER_A_CONFLICT
        return self._look_again(key, state, integration, identity)

    def verdict_for(self, integration: AwsIntegration) -> Verdict | None:
        """What this process itself found of an integration as it is now; None if it has not asked yet."""
        history = self._history_of(integration)
        if history is None or (history.verdict is not None and history.verdict.is_good and not history.own):
            return None
        return history.verdict

    def may_issue(self, integration: AwsIntegration) -> bool:
        """Whether Runs may be issued credentials: this process has verified the trust of just this integration."""
        history = self._history_of(integration)
        return history is not None and history.may_issue

    def why_not(self, integration: AwsIntegration) -> str:
        """Why Runs may not be issued credentials, where they may not."""
        if integration.spec.role_arn is None:
            return "`spec.roleArn` is not set yet."
        verdict = self.verdict_for(integration)
        return verdict.message if verdict is not None else "its trust is being verified."

    def await_verdict(self, key: Key) -> None:
        """A Run waits for an integration that has not been judged yet: it goes before those that nobody waits for."""
        integration = self._view.integration(key)
        if integration is None or key in self._awaited or self.verdict_for(integration) is not None:
            return
        self._awaited.add(key)
        self._hurry(key, integration)

    def request(self, key: Key) -> None:
        """STS refused a Run that should have been given a session: verify again, before others."""
        integration = self._view.integration(key)
        if integration is None or key in self._requested:
            return
        self._requested.add(key)
        self._awaited.add(key)
        self._hurry(key, integration)
        self._wake(key)

    def forget(self, key: Key) -> None:
        """The integration is gone."""
        self._states.pop(key, None)
        self._awaited.discard(key)
        self._requested.discard(key)

    def _state_of(self, key: Key, integration: AwsIntegration) -> _State:
        state = self._states.get(key)
        if state is None or state.uid != integration.metadata.uid:
            shown = integration.status.condition(status.TRUST_VERIFIED)
            announced = (shown.status, shown.reason) if shown else None
            state = self._states[key] = _State(integration.metadata.uid, announced=announced)
        return state

    def _history_of(self, integration: AwsIntegration) -> History | None:
        """The history of exactly this integration with exactly this spec."""
        metadata = integration.metadata
        state = self._states.get((metadata.namespace, metadata.name))
        if state is None or state.uid != metadata.uid or state.history is None:
            return None
        question = self._question(integration)
        return state.history if state.history.question == question else None

    def _question(self, integration: AwsIntegration) -> TrustQuestion | None:
        return by_role.question_for(self._role, integration, self._settings.installation)

    def _hurry(self, key: Key, integration: AwsIntegration) -> None:
        if integration.spec.role_arn is not None:
            self._sts.prioritize_probes(key[0], integration.spec.role_arn)

    def _is_due(self, key: Key, state: _State, integration: AwsIntegration, question: TrustQuestion) -> bool:
        history = state.history
        if history is None or history.question != question or history.asked_at is None:
            return True
        if self._is_asked_for(state, integration):
            return True
        now = self._clock()
        if key in self._requested and now >= history.asked_at + self._settings.schedule.request_every:
            return True
        due = next_time(history, integration.spec.verify_every)
        return due is not None and now >= due

    @staticmethod
    def _is_asked_for(state: _State, integration: AwsIntegration) -> bool:
        """By a change of the spec, whatever it is about, or by a new value of the annotation."""
        metadata = integration.metadata
        asked = metadata.annotations.get(ANNOTATION_VERIFY)
        return metadata.generation != state.generation or (asked is not None and asked != state.answered)

    async def _verify(
        self, key: Key, state: _State, integration: AwsIntegration, question: TrustQuestion, identity: Identity
    ) -> None:
        history = self._history_before(state, integration, question)
        self._requested.discard(key)
        if history.asked_at is None and self._is_awaited(key):
            self._awaited.add(key)
        asked = await self._ask(key, question, identity)
        evidence = Evidence(asked, question, identity, history.principal_id)
        verdict = by_role.verdict_on(self._role, evidence)
        if verdict.reason == Reason.NO_IDENTITY:
            self._identity.invalidate()
        state.history = histories.fold(history, asked, verdict, identity.principal_id, self._draw)
        state.generation = integration.metadata.generation
        state.answered = integration.metadata.annotations.get(ANNOTATION_VERIFY)
        self._awaited.discard(key)
        logger.info("AwsIntegration %s/%s: %s", *key, verdict.reason)
        self._on_verdict(key)

    def _history_before(self, state: _State, integration: AwsIntegration, question: TrustQuestion) -> History:
        history = state.history
        if history is None:
            return by_role.remembered(self._role, integration, question, self._settings.installation)
        if history.question != question:
            return History(question, principal_id=history.principal_id)
        return histories.impatient(history) if self._is_asked_for(state, integration) else history

    async def _ask(self, key: Key, question: TrustQuestion, identity: Identity) -> Round:
        if identity.is_missing and identity.failure is not None:
            return unasked(question, identity.failure, self._clock())
        return await ask(self._sts, question, key[0], lambda: key in self._awaited, self._clock)

    async def _write(self, key: Key, state: _State, integration: AwsIntegration, identity: Identity) -> bool:
        """Write the status if it differs; False if somebody else has written meanwhile."""
        known = status.Knowledge(
            integration,
            self._settings.installation,
            identity,
            state.history,
            self._settings.suggested_policies,
            self._clock(),
        )
        patch = status_patch(integration.status, by_role.desired_status(self._role, known))
        if patch:
            version = integration.metadata.resource_version
            try:
                answer = await self._kube.patch_status(INTEGRATIONS, *key, patch, resource_version=version)
            except Conflict:
                return False
            except NotFound:
                return True
            self._view.saw_integration(AwsIntegration.model_validate(answer))
        self._announce(state, integration, by_role.displayed_verdict(self._role, known))
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
        times = [next_time(history, integration.spec.verify_every)]
        if key in self._requested and history.asked_at is not None:
            times.append(history.asked_at + self._settings.schedule.request_every)
        if self._is_asked_for(state, integration):
            return 0.0
        due = [time for time in times if time is not None]
        return max(0.0, (min(due) - self._clock()) / timedelta(seconds=1)) if due else None
