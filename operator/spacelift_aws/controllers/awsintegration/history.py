"""What this process knows of an integration's trust, how a new round changes it, and when to ask again. Pure.

                      a round says no                    a second round, `confirm_after` later, says no
    verified ────────────────────────► verified, doubted ──────────────────────────────► not verified
        ▲                                      │                                               │
        └──────────── a round says yes ────────┴───────────────────────────────────────────────┘

Rounds that learn nothing (throttled, no identity) move nothing; they are only noted and repeated. A spelling that was
let in needs no second round: nothing but a pattern lets it in.

Spellings at the ends of the external ID's parts belong to every round. The others are asked one at a time between the
rounds: each once within a minute after a role has become verified, from then on spread over `verifyEvery`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from spacelift_aws.api.awsintegration import ProbeAnswer, ProbeName
from spacelift_aws.controllers.awsintegration.probes.answers import Answers, ProbeResult
from spacelift_aws.controllers.awsintegration.probes.plan import ProbePlan
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
    spell_within: timedelta = timedelta(seconds=45)
    """In which time all places of an external ID are looked at, after the role has become verified."""
    spell_again_after: timedelta = timedelta(seconds=15)
    """After a place that could not be asked, as others had something to ask."""
    request_every: timedelta = timedelta(seconds=10)
    """How often Runs that STS refuses may have one integration verified."""


@dataclass(frozen=True)
class Inconclusive:
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

    plan: ProbePlan
    verdict: Verdict | None = None
    own: bool = False
    probes: tuple[ProbeResult, ...] = ()
    doubt: Verdict | None = None
    """The first round that said no to a trust that is verified."""
    inconclusive: Inconclusive | None = None
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
    spelled: int = 0
    """Which of the spellings between the rounds is the next, counted without end."""
    spelled_at: datetime | None = None
    """When the last one was asked."""
    spell_after: datetime | None = None
    """Not before this: the last one could not be asked."""
    unspelled: int = 0
    """How many of them are still to be asked soon."""
    let_in: int | None = None
    """The place at which the last spelling that was let in differs; as long as it may be, every round looks at it."""

    @property
    def may_issue(self) -> bool:
        """Whether this process has verified the trust itself, and holds it verified."""
        return self.own and self.verdict is not None and self.verdict.is_good


def positions_to_ask(history: History) -> tuple[int, ...]:
    """The places of the external ID that Spelling looks at in the next round."""
    first = () if history.let_in is None else (history.let_in,)
    return (*first, *(position for position in history.plan.ends if position not in first))


def record_round(
    history: History, answers: Answers, verdict: Verdict, principal_id: str | None, drawn: "Draw"
) -> History:
    """The history after one more round."""
    history = replace(history, asked_at=answers.at, spread=drawn.around_one(drawn.schedule.jitter))
    if verdict.status == "Unknown":
        return _inconclusive(history, answers, verdict, drawn)
    history = replace(history, inconclusive=None)
    if verdict.is_good:
        return _trusted(history, answers, verdict, principal_id, drawn)
    is_certain = _place_let_in(answers) is not None
    if history.verdict is not None and history.verdict.is_good and not is_certain:
        confirm_after = drawn.schedule.confirm_after
        doubt = history.doubt or verdict
        if history.doubt is None or answers.at < doubt.at + confirm_after:
            return replace(history, doubt=doubt, retry_at=doubt.at + confirm_after)
    return _not_trusted(history, answers, verdict, drawn)


def next_spelling(history: History) -> int:
    """Which place is looked at next between the rounds."""
    inner = _inner_positions(history.plan)
    return inner[history.spelled % len(inner)]


def next_spelling_time(history: History, verify_every: timedelta, schedule: Schedule) -> datetime | None:
    """When that is; None for never: while the trust is not verified, or in doubt, or not to be verified again."""
    inner = len(_inner_positions(history.plan))
    if not history.may_issue or history.retry_at is not None or history.spelled_at is None or not inner:
        return None
    every = schedule.spell_within if history.unspelled else verify_every
    if not every:
        return None
    due = history.spelled_at + every / inner * history.spread
    return due if history.spell_after is None else max(due, history.spell_after)


def record_spelling(history: History, result: ProbeResult, schedule: Schedule) -> History:
    """The history after one. What could not be asked is asked again the next time."""
    if result.answer is ProbeAnswer.UNKNOWN:
        return replace(history, spell_after=result.at + schedule.spell_again_after)
    return replace(
        history,
        spelled=history.spelled + 1,
        spelled_at=result.at,
        spell_after=None,
        unspelled=max(0, history.unspelled - 1),
    )


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


def _place_let_in(answers: Answers) -> int | None:
    result = answers.of(ProbeName.SPELLING)
    return result.position if result is not None and result.answer is ProbeAnswer.ALLOWED else None


def _inner_positions(plan: ProbePlan) -> tuple[int, ...]:
    return tuple(position for position in plan.positions if position not in plan.ends)


def _trusted(history: History, answers: Answers, verdict: Verdict, principal_id: str | None, drawn: Draw) -> History:
    inner = len(_inner_positions(history.plan))
    if history.verdict is None or not history.verdict.is_good:
        # The policy is new, or was edited: all places are looked at soon.
        history = replace(history, unspelled=inner, spelled_at=answers.at)
    elif history.spelled_at is None and inner:
        # After a restart the row begins by chance, so that restarts do not keep it at its beginning.
        history = replace(history, spelled=drawn.random.randrange(inner), spelled_at=answers.at)
    return replace(
        history,
        verdict=verdict,
        own=True,
        probes=answers.results,
        doubt=None,
        no_since=None,
        no_rounds=0,
        verified_at=answers.at,
        principal_id=principal_id,
        retry_at=None,
        let_in=None,
    )


def _inconclusive(history: History, answers: Answers, verdict: Verdict, drawn: Draw) -> History:
    before = history.inconclusive
    inconclusive = Inconclusive(before.since if before else answers.at, before.rounds + 1 if before else 1, verdict)
    delay = drawn.growing(drawn.schedule.first_retry, drawn.schedule.last_retry, inconclusive.rounds - 1)
    if history.verdict is None or history.verdict.status == "Unknown":
        # A verdict found earlier outlives the silence; without one, the silence is all there is to show.
        history = replace(history, verdict=verdict, own=False, probes=answers.results)
    return replace(history, inconclusive=inconclusive, retry_at=answers.at + delay)


def _not_trusted(history: History, answers: Answers, verdict: Verdict, drawn: Draw) -> History:
    schedule = drawn.schedule
    since = history.no_since or answers.at
    if answers.at - since < schedule.fast_for:
        delay = drawn.growing(schedule.first_delay, schedule.last_fast_delay, history.no_rounds)
    else:
        delay = schedule.slow_delay * drawn.around_one(1 / 3)
    return replace(
        history,
        verdict=verdict,
        own=True,
        probes=answers.results,
        doubt=None,
        no_since=since,
        no_rounds=history.no_rounds + 1,
        let_in=history.let_in if (place := _place_let_in(answers)) is None else place,
        retry_at=answers.at + delay,
    )
