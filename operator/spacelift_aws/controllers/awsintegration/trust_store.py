"""What this process knows of the integrations' trust.

The controller of AwsIntegrations writes it; the controller of Runs reads it, hears of changes, and says what it waits
for. Neither calls the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

from spacelift_aws.api.awsintegration import AwsIntegration
from spacelift_aws.controllers.awsintegration.history import History
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan
from spacelift_aws.controllers.awsintegration.verdict import Verdict

Key = tuple[str, str]
"""Namespace and name."""
Listener = Callable[[Key], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What was found of one integration, told from one that is created anew by its UID."""

    uid: str
    history: History


class TrustStore:
    """Verdicts by integration, and the demands of Runs for them."""

    def __init__(self, plan_of: Callable[[AwsIntegration], ProbePlan | None]) -> None:
        """`plan_of`: what this process asks about an integration. A verdict that answered something else is none."""
        self._plan_of = plan_of
        self._entries: dict[Key, _Entry] = {}
        self._last_plan: dict[Key, tuple[AwsIntegration, ProbePlan | None]] = {}
        self._awaited: set[Key] = set()
        self._doubted: set[Key] = set()
        self._on_change: list[Listener] = []
        self._on_demand: list[Listener] = []

    # For the controller of AwsIntegrations

    def put(self, key: Key, uid: str, history: History) -> None:
        """A verification has ended. Whoever waited for it has been answered."""
        self._entries[key] = _Entry(uid, history)
        self._awaited.discard(key)
        self._tell(self._on_change, key)

    def drop(self, key: Key) -> None:
        """There is nothing to know: no role to ask about."""
        if self._entries.pop(key, None) is not None:
            self._tell(self._on_change, key)

    def forget(self, key: Key) -> None:
        """The integration is gone."""
        self._entries.pop(key, None)
        self._last_plan.pop(key, None)
        self._awaited.discard(key)
        self._doubted.discard(key)

    def is_awaited(self, key: Key) -> bool:
        """Whether Runs wait for the verdict: its probes go before others."""
        return key in self._awaited

    def is_doubted(self, key: Key) -> bool:
        """Whether STS has refused a Run since the last verification began."""
        return key in self._doubted

    def begin(self, key: Key, *, is_awaited: bool = False) -> None:
        """A verification begins: a refusal of before asks for no further one."""
        self._doubted.discard(key)
        if is_awaited:
            self._awaited.add(key)

    def on_demand(self, listener: Listener) -> None:
        """Hear of integrations whose verdict is wanted sooner."""
        self._on_demand.append(listener)

    # For the controller of Runs

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

    def is_unasked(self, integration: AwsIntegration) -> bool:
        """Whether there is a role to ask about, and nothing known about it yet."""
        return integration.spec.role_arn is not None and self.verdict_for(integration) is None

    def verdict_for(self, integration: AwsIntegration) -> Verdict | None:
        """What this process itself found of an integration as it is now; None if it has not asked yet."""
        history = self._history_of(integration)
        if history is None or (history.verdict is not None and history.verdict.is_good and not history.own):
            return None
        return history.verdict

    def await_verdict(self, integration: AwsIntegration) -> None:
        """A Run waits. An integration that has not been judged yet goes before those that nobody waits for."""
        key = (integration.metadata.namespace, integration.metadata.name)
        if key not in self._awaited and self.verdict_for(integration) is None:
            self._awaited.add(key)
            self._tell(self._on_demand, key)

    def request(self, key: Key) -> None:
        """STS refused a Run that should have been given a session: verify again, before others."""
        if key not in self._doubted:
            self._doubted.add(key)
            self._awaited.add(key)
            self._tell(self._on_demand, key)

    def subscribe(self, listener: Listener) -> None:
        """Hear of every integration about which something else is known now."""
        self._on_change.append(listener)

    def _history_of(self, integration: AwsIntegration) -> History | None:
        """What is known of exactly this integration with exactly this spec."""
        metadata = integration.metadata
        key = (metadata.namespace, metadata.name)
        entry = self._entries.get(key)
        if entry is None or entry.uid != metadata.uid:
            return None
        # Asked for each Run at each step, and mostly about the very same object.
        asked, plan = self._last_plan.get(key, (None, None))
        if asked is not integration:
            plan = self._plan_of(integration)
            self._last_plan[key] = integration, plan
        return entry.history if entry.history.plan == plan else None

    @staticmethod
    def _tell(listeners: list[Listener], key: Key) -> None:
        for listener in listeners:
            listener(key)
