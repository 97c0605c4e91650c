"""The calls of an executor, by name, and what befalls one of them. Both proxies ask a `Tape` about each call.

A call belongs to the namespace that it is about; one to STS to the namespace whose role it assumes. Its name is the
same in every namespace: `POST secrets`, `PATCH runs/it/status`, `AssumeRole`. Calls about no namespace are left alone.
"""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from sandbox.faults import Request

_PATH = re.compile(r"^/(?:api/v1|apis/[^/]+/[^/]+)/namespaces/(?P<namespace>[^/]+)(?:/(?P<rest>.*))?$")
_OF_A_RUN = re.compile(r"aws-run-[0-9a-z]{26}")
_EVENT = re.compile(r"(?<=^events/).+")


class Moment(Enum):
    """When the executor dies."""

    BEFORE = "before it is sent"
    BETWEEN = "sent, not answered"
    AFTER = "answered"


class Disturbance(Enum):
    """What befalls one call."""

    NO_CONNECTION = "cut before it is sent"
    RESET = "cut after sending"
    LOST = "answer lost"
    LATE = "carried out later, after the time-out"
    CONFLICT = "409"
    BUSY = "429, Retry-After: 1"
    FAILED = "500"
    DONE_AND_FAILED = "500, carried out"
    UNAVAILABLE = "503"


class WatchFault(Enum):
    """How every watch tells what it sees."""

    LATE = "three seconds late"
    TWICE = "twice, the second time when it is old"
    SILENT = "not at all, and stays open"


_OF_STS = (
    Disturbance.NO_CONNECTION,
    Disturbance.RESET,
    Disturbance.LOST,
    Disturbance.BUSY,
    Disturbance.FAILED,
    Disturbance.UNAVAILABLE,
)
"""Those that STS's side has: of a session that nobody hears of only its caller could tell."""


@dataclass(frozen=True, order=True)
class Call:
    """One call of a life: the `number`th of this name in it, from 1."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} #{self.number}"


What = Moment | Disturbance | WatchFault


def disturbances_of(call: Call) -> tuple[Disturbance, ...]:
    """What can befall a call: to STS less than to the API server."""
    return _OF_STS if call.name.startswith("AssumeRole") else tuple(Disturbance)


@dataclass(eq=False)
class Scope:
    """What one namespace's calls were, and which of them is to be disturbed."""

    covers: Callable[[str], bool]
    at: dict[Call, What] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    met: set[Call] = field(default_factory=set)
    frozen: bool = False
    """From here on nothing is sent any more: the executor is as good as dead."""
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Order:
    """What a proxy does with a call. `None` for `what`: it is held, because the executor is as good as dead."""

    scope: Scope
    what: What | None

    def reached(self) -> None:
        """The point has come: nothing of this namespace is sent any more."""
        self.scope.frozen = True
        self.scope.reached.set()

    async def released(self) -> None:
        """Wait until the executor is dead."""
        await until(self.scope.released.is_set)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens on another thread: both proxies have loops of their own."""
    while not condition():  # noqa: ASYNC110 - an event of asyncio's is of one loop only
        await asyncio.sleep(0.02)


class Tape:
    """Hears of every call from both proxies' threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scopes: dict[str, Scope] = {}
        self._roles: dict[str, str] = {}

    def own(self, role_arn: str, namespace: str) -> None:
        """Calls that assume this role are this namespace's."""
        self._roles[role_arn] = namespace

    def begin(self, namespace: str, scope: Scope) -> Scope:
        """From now on this namespace's calls are counted."""
        with self._lock:
            self._scopes[namespace] = scope
        return scope

    def resume(self, namespaces: list[str]) -> None:
        """The executor is dead: what it held is let go, and what the next one calls is sent."""
        with self._lock:
            for scope in (self._scopes[namespace] for namespace in namespaces if namespace in self._scopes):
                scope.released.set()
                scope.frozen, scope.at = False, {}

    def of_api(self, method: str, path: str, query: str) -> Order | None:
        """Orders for a call to the API server; None: it goes its way."""
        parts = _PATH.match(path)
        if parts is None:
            return None
        rest = _EVENT.sub("*", _OF_A_RUN.sub("aws-run-*", parts["rest"] or "namespace"))
        dry = "?dryRun" if "dryRun=" in query else ""
        return self._order(parts["namespace"], f"{method} {rest}{dry}")

    def of_sts(self, request: Request) -> Order | None:
        """Orders for a call to STS."""
        namespace = self._roles.get(request.role_arn or "")
        if namespace is None:
            return None
        # A probe denies itself everything; what issues denies itself nothing.
        probe = request.has("Policy") or request.has("PolicyArns")
        return self._order(namespace, "AssumeRole by a probe" if probe else "AssumeRole")

    def _order(self, namespace: str, name: str) -> Order | None:
        with self._lock:
            scope = self._scopes.get(namespace)
            if scope is None:
                return None
            if scope.frozen:
                return Order(scope, None)
            if not scope.covers(name):
                return None
            scope.counts[name] += 1
            call = Call(name, scope.counts[name])
            scope.calls.append(call)
            what = scope.at.get(call)
            if what is None:
                return None
            scope.met.add(call)
            return Order(scope, what)
