"""What this process knows of an integration's trust, how a new round changes it, and when to ask again. Pure.

                      a round says no                    a second round, `confirm_after` later, says no
    verified ────────────────────────► verified, doubted ──────────────────────────────► not verified
        ▲                                      │                                               │
        └──────────── a round says yes ────────┴───────────────────────────────────────────────┘

Rounds that learn nothing (throttled, no identity) move nothing; they are only noted and repeated.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from spacelift_aws.controllers.awsintegration.probes import ProbeResult, Round
from spacelift_aws.controllers.awsintegration.question import TrustQuestion
from spacelift_aws.controllers.awsintegration.verdict import Verdict


@dataclass(frozen=True)
class Schedule:
    """When to ask again. All but the confirmation are spread by jitter, so that a thousand integrations stay apart."""

    confirm_after: timedelta = timedelta(seconds=120)
    """How long after the first round that doubts a verified trust the second is asked."""
    first_delay: timedelta = timedelta(seconds=2)
    """After the first round that finds no trust; doubled with each further one."""
    last_fast_delay: timedelta = timedelta(seconds=60)
    """Up to this, while `fast_for` lasts."""
    fast_for: timedelta = timedelta(minutes=10)
    """How long a trust that is not there is expected to come: somebody is creating the role, and IAM takes its time."""
    slow_delay: timedelta = timedelta(minutes=7, seconds=30)
    """Afterwards, for ever."""
    first_retry: timedelta = timedelta(seconds=5)
    """After a round that learnt nothing; doubled with each further one."""
    last_retry: timedelta = timedelta(minutes=5)
    jitter: float = 0.1
    """Of every delay, to both sides; a third for `slow_delay`."""
    request_every: timedelta = timedelta(seconds=10)
    """How often Runs that STS refuses may have one integration verified."""


@dataclass(frozen=True)
class Nothing:
    """A series of rounds that learnt nothing: since when, how many, and what the last one said."""

    since: datetime
    rounds: int
    verdict: Verdict


@dataclass(frozen=True)
class History:
    """What is known of one integration's trust.

    `verdict` is the one that holds and is shown; `own` says that this process itself asked for it, as opposed to having
    read it in the status that an earlier one left. `retry_at` None means that only `verifyEvery` counts.
    """

    question: TrustQuestion
    verdict: Verdict | None = None
    own: bool = False
    probes: tuple[ProbeResult, ...] = ()
    doubt: Verdict | None = None
    """The first round that said no to a trust that is verified."""
    nothing: Nothing | None = None
    no_since: datetime | None = None
    """Since when the trust is not there."""
    no_rounds: int = 0
    asked_at: datetime | None = None
    verified_at: datetime | None = None
    """The last round that said yes."""
    principal_id: str | None = None
    """The operator's unique ID in that round."""
    retry_at: datetime | None = None
    spread: float = 1.0
    """This integration's factor on `verifyEvery`, drawn anew with each round."""

    @property
    def may_issue(self) -> bool:
        """Whether this process has verified the trust itself, and holds it verified."""
        return self.own and self.verdict is not None and self.verdict.is_good


def fold(history: History, asked: Round, verdict: Verdict, principal_id: str | None, drawn: "Draw") -> History:
    """The history after one more round."""
    history = replace(history, asked_at=asked.at, spread=drawn.around_one(drawn.schedule.jitter))
    if verdict.status == "Unknown":
        return _nothing_learnt(history, asked, verdict, drawn)
    history = replace(history, nothing=None)
    if verdict.is_good:
        return replace(
            history,
            verdict=verdict,
            own=True,
            probes=asked.results,
            doubt=None,
            no_since=None,
            no_rounds=0,
            verified_at=asked.at,
            principal_id=principal_id,
            retry_at=None,
        )
    if history.verdict is not None and history.verdict.is_good:
        confirm_after = drawn.schedule.confirm_after
        doubt = history.doubt or verdict
        if history.doubt is None or asked.at < doubt.at + confirm_after:
            return replace(history, doubt=doubt, retry_at=doubt.at + confirm_after)
    return _not_trusted(history, asked, verdict, drawn)


def next_time(history: History, verify_every: timedelta) -> datetime | None:
    """When to ask next; None for never. An integration that was never asked about is due at once."""
    if history.retry_at is not None:
        return history.retry_at
    if history.asked_at is None or not verify_every:
        return None
    return history.asked_at + verify_every * history.spread


def impatient(history: History) -> History:
    """Somebody says that something was changed: the delays begin from the smallest again."""
    return replace(history, no_since=None, no_rounds=0)


@dataclass(frozen=True)
class Draw:
    """The schedule, and the dice for its jitter."""

    schedule: Schedule
    random: Random

    def around_one(self, jitter: float) -> float:
        return self.random.uniform(1 - jitter, 1 + jitter)

    def growing(self, first: timedelta, last: timedelta, rounds: int) -> timedelta:
        """`first`, doubled for every further round, never above `last`; jitter only shortens, so the bound holds."""
        doublings: int = 1 << min(rounds, 16)
        return min(last, first * doublings) * self.random.uniform(1 - self.schedule.jitter, 1)


def _nothing_learnt(history: History, asked: Round, verdict: Verdict, drawn: Draw) -> History:
    before = history.nothing
    nothing = Nothing(before.since if before else asked.at, before.rounds + 1 if before else 1, verdict)
    delay = drawn.growing(drawn.schedule.first_retry, drawn.schedule.last_retry, nothing.rounds - 1)
    if history.verdict is None or history.verdict.status == "Unknown":
        # A verdict found earlier outlives the silence; without one, the silence is all there is to show.
        history = replace(history, verdict=verdict, own=False, probes=asked.results)
    return replace(history, nothing=nothing, retry_at=asked.at + delay)


def _not_trusted(history: History, asked: Round, verdict: Verdict, drawn: Draw) -> History:
    schedule = drawn.schedule
    since = history.no_since or asked.at
    if asked.at - since < schedule.fast_for:
        delay = drawn.growing(schedule.first_delay, schedule.last_fast_delay, history.no_rounds)
    else:
        delay = schedule.slow_delay * drawn.around_one(1 / 3)
    return replace(
        history,
        verdict=verdict,
        own=True,
        probes=asked.results,
        doubt=None,
        no_since=since,
        no_rounds=history.no_rounds + 1,
        retry_at=asked.at + delay,
    )
