"""How verdicts follow each other, and when STS is asked again."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from spacelift_aws.api.awsintegration import ProbeAnswer, ProbeName
from spacelift_aws.api.meta import ConditionStatus
from spacelift_aws.aws.errors import Failure, StsError
from spacelift_aws.controllers.awsintegration.history import (
    Draw,
    History,
    Schedule,
    impatient,
    next_spelling,
    next_spelling_time,
    next_time,
    positions_to_ask,
    record_round,
    record_spelling,
)
from spacelift_aws.controllers.awsintegration.probes.answers import Answers, ProbeResult
from spacelift_aws.controllers.awsintegration.probes.plan import plan_of
from spacelift_aws.controllers.awsintegration.verdict import Verdict

DAY = timedelta(hours=24)
SCHEDULE = Schedule()


class Story:
    """One integration's life, told in rounds."""

    def __init__(self, kit: Any, schedule: Schedule = SCHEDULE) -> None:
        self.clock = kit.clock
        plan = plan_of(kit.integration(), "demo")
        assert plan is not None
        self.history = History(plan)
        self.draw = Draw(schedule, Random(1))

    def round(
        self, status: ConditionStatus, reason: str = "Any", principal_id: str = "AROAOP", let_in: int | None = None
    ) -> "Story":
        verdict = Verdict(status, reason, f"{reason} at {self.clock.now}", self.clock.now)
        answer = {"True": ProbeAnswer.ALLOWED, "False": ProbeAnswer.DENIED, "Unknown": ProbeAnswer.UNKNOWN}[status]
        failure = None if status == "True" else StsError(Failure.RETRYING, reason, reason)
        own = ProbeResult(ProbeName.OWN, answer, self.clock.now, failure=failure)
        spelled = () if let_in is None else (self.spelled(ProbeAnswer.ALLOWED, let_in),)
        answers = Answers(own, spelled, self.clock.now)
        self.history = record_round(self.history, answers, verdict, principal_id, self.draw)
        return self

    def spelled(self, answer: ProbeAnswer, position: int = 0) -> ProbeResult:
        return ProbeResult(ProbeName.SPELLING, answer, self.clock.now, position=position)

    def spell(self, answer: ProbeAnswer = ProbeAnswer.DENIED) -> int:
        """Ask the next spelling; its position."""
        position = next_spelling(self.history)
        self.history = record_spelling(self.history, self.spelled(answer, position), self.draw.schedule)
        return position

    def next_spelling(self, verify_every: timedelta = DAY) -> timedelta | None:
        due = next_spelling_time(self.history, verify_every, self.draw.schedule)
        return None if due is None else due - self.clock.now

    def later(self, **span: float) -> "Story":
        self.clock.pass_(**span)
        return self

    @property
    def shown(self) -> tuple[str, str] | None:
        verdict = self.history.verdict
        return None if verdict is None else (verdict.status, verdict.reason)

    def delay(self, verify_every: timedelta = DAY) -> timedelta | None:
        due = next_time(self.history, verify_every)
        return None if due is None else due - self.clock.now


@pytest.fixture
def story(kit: Any) -> Story:
    return Story(kit)


def test_the_first_verdict_holds_at_once(story: Story) -> None:
    assert story.round("False", "AccessDenied").shown == ("False", "AccessDenied")
    assert not story.history.may_issue
    assert story.later(seconds=2).round("False", "ExternalIdNotRequired").shown == ("False", "ExternalIdNotRequired")
    assert story.later(seconds=2).round("True", "Verified").shown == ("True", "Verified")
    assert story.history.may_issue


def test_a_verified_trust_takes_two_rounds_to_break(story: Story) -> None:
    story.round("True", "Verified").later(hours=24).round("False", "AccessDenied")
    assert story.shown == ("True", "Verified")
    assert story.history.may_issue
    assert story.delay() == timedelta(seconds=120)
    story.later(seconds=120).round("False", "AccessDenied")
    assert story.shown == ("False", "AccessDenied")
    assert not story.history.may_issue


def test_the_second_round_need_not_name_the_same_reason(story: Story) -> None:
    story.round("True").later(hours=1).round("False", "AccessDenied").later(seconds=121)
    assert story.round("False", "OtherExternalIdAccepted").shown == ("False", "OtherExternalIdAccepted")


def test_a_second_round_that_comes_too_early_proves_nothing_new(story: Story) -> None:
    story.round("True").later(hours=1).round("False", "AccessDenied").later(seconds=30).round("False", "AccessDenied")
    assert story.history.may_issue
    assert story.delay() == timedelta(seconds=90)


def test_a_round_that_says_yes_ends_the_doubt(story: Story) -> None:
    story.round("True").later(hours=1).round("False").later(seconds=120).round("True", "Verified")
    assert story.history.doubt is None
    story.later(hours=1).round("False")
    assert story.history.may_issue


def test_silence_neither_feeds_nor_ends_a_doubt(story: Story) -> None:
    story.round("True", "Verified").later(hours=1).round("False").later(seconds=120).round("Unknown", "Retrying")
    assert story.shown == ("True", "Verified")
    assert story.history.doubt is not None
    assert story.later(seconds=10).round("False", "AccessDenied").shown == ("False", "AccessDenied")


@pytest.mark.parametrize("status", ["True", "False"])
def test_silence_never_replaces_a_verdict(story: Story, status: ConditionStatus) -> None:
    story.round(status, "Before")
    shown, probes = story.shown, story.history.probes
    since = story.later(hours=1).clock.now
    story.round("Unknown", "Retrying").later(minutes=1).round("Unknown", "NoIdentity")
    assert story.shown == shown
    assert story.history.probes == probes
    assert story.history.inconclusive is not None
    assert (story.history.inconclusive.since, story.history.inconclusive.rounds) == (since, 2)
    assert story.later(minutes=1).round(status).history.inconclusive is None


def test_silence_is_shown_where_there_is_nothing_else(story: Story) -> None:
    assert story.round("Unknown", "NoIdentity").shown == ("Unknown", "NoIdentity")
    assert story.later(seconds=5).round("Unknown", "Retrying").shown == ("Unknown", "Retrying")
    assert not story.history.may_issue


def test_what_an_earlier_process_verified_is_shown_but_issues_nothing(story: Story) -> None:
    story.history = replace(story.history, verdict=Verdict("True", "Verified", "", story.clock.now))
    assert not story.history.may_issue
    story.round("False", "AccessDenied")
    assert story.shown == ("True", "Verified")
    assert not story.history.may_issue
    assert story.later(seconds=10).round("True", "Verified").history.may_issue


def test_a_broken_trust_that_is_mended_is_verified_at_once(story: Story) -> None:
    story.round("True").later(hours=1).round("False").later(seconds=120).round("False")
    assert story.later(seconds=2).round("True", "Verified").history.may_issue


def test_delays_grow_for_some_minutes_and_then_stay_long(story: Story) -> None:
    delays = []
    for _ in range(25):
        delay = story.round("False").delay()
        assert delay is not None
        delays.append(delay.total_seconds())
        story.later(seconds=delay.total_seconds())
    for seconds, expected in zip(delays, [2, 4, 8, 16, 32, 60, 60, 60], strict=False):
        assert expected * 0.9 <= seconds <= expected
    assert sum(delay <= 60 for delay in delays) >= 10
    assert all(300 <= delay <= 600 for delay in delays[-8:])
    assert len(set(delays[-8:])) == 8


def test_someone_who_changed_something_is_answered_quickly_again(story: Story) -> None:
    for _ in range(20):
        story.round("False").later(minutes=5)
    story.history = impatient(story.history)
    delay = story.round("False").delay()
    assert delay is not None
    assert delay <= timedelta(seconds=2)


def test_a_silent_sts_is_asked_at_growing_distances(story: Story) -> None:
    delays = []
    for _ in range(10):
        delay = story.round("Unknown").delay()
        assert delay is not None
        delays.append(delay.total_seconds())
    for seconds, expected in zip(delays, [5, 10, 20, 40, 80, 160, 300, 300], strict=False):
        assert expected * 0.9 <= seconds <= expected


def test_verified_ones_are_asked_every_so_often_and_drift_apart(story: Story) -> None:
    delays = [story.round("True").delay() for _ in range(50)]
    assert all(delay is not None and DAY * 0.9 <= delay <= DAY * 1.1 for delay in delays)
    assert len(set(delays)) > 40


def test_a_shorter_interval_counts_at_once(story: Story) -> None:
    story.round("True").later(hours=1)
    delay = story.delay(timedelta(minutes=5))
    assert delay is not None
    assert delay < timedelta(0)


def test_zero_turns_repetition_off_but_not_the_second_look(story: Story) -> None:
    never = timedelta(0)
    assert story.round("True").delay(never) is None
    assert story.later(hours=1).round("False").delay(never) == timedelta(seconds=120)


def test_the_principal_of_the_last_verification_is_remembered(story: Story) -> None:
    story.round("True", principal_id="AROAOLD").later(hours=1).round("False", principal_id="AROANEW")
    assert story.history.principal_id == "AROAOLD"


def test_no_jitter_makes_it_exact(kit: Any) -> None:
    story = Story(kit, Schedule(jitter=0, first_delay=timedelta(milliseconds=100)))
    assert story.round("False").delay() == timedelta(milliseconds=100)
    assert story.round("True").delay() == DAY


# Spellings

INNER = (1, 2, 4, 6, 7, 9, 11, 12, 13, 14)
"""Places of demo@team@deploy that are at no end of a part."""


def test_every_round_asks_the_ends_of_all_parts(story: Story) -> None:
    for status in ("False", "True", "Unknown", "True"):
        assert positions_to_ask(story.round(status).history) == (0, 3, 5, 8, 10, 15)


def test_the_others_are_asked_within_a_minute_after_the_role_became_verified(story: Story) -> None:
    begun = story.round("True").clock.now
    asked = []
    for _ in INNER:
        delay = story.next_spelling()
        assert delay == pytest.approx(timedelta(seconds=4.5), rel=0.11)
        assert delay is not None
        story.later(seconds=delay.total_seconds())
        asked.append(story.spell())
    assert sorted(asked) == list(INNER)
    assert story.clock.now - begun < timedelta(minutes=1)
    assert story.next_spelling() == pytest.approx(DAY / 10, rel=0.11)


def test_also_where_the_role_is_not_to_be_verified_again(story: Story) -> None:
    never = timedelta(0)
    story.round("True")
    for _ in INNER:
        assert story.next_spelling(never) is not None
        story.spell()
    assert story.next_spelling(never) is None


def spelled_out(story: Story) -> Story:
    """All places were looked at once."""
    story.round("True")
    for _ in INNER:
        story.spell()
    return story


def test_then_they_are_spread_over_the_interval_and_come_in_turn(story: Story) -> None:
    asked, begun = [], spelled_out(story).clock.now
    for _ in range(20):
        delay = story.next_spelling()
        assert delay is not None
        assert delay == pytest.approx(DAY / 10, rel=0.11)
        story.later(seconds=delay.total_seconds())
        asked.append(story.spell())
    assert story.clock.now - begun == pytest.approx(2 * DAY, rel=0.11)
    assert sorted(asked[:10]) == sorted(asked[10:]) == list(INNER)


def restarted(kit: Any, seed: int) -> Story:
    """A process that finds a role that an earlier one verified, and verifies it itself."""
    story = Story(kit)
    story.draw = Draw(SCHEDULE, Random(seed))
    story.history = replace(story.history, verdict=Verdict("True", "Verified", "", story.clock.now))
    return story.round("True")


def test_after_a_restart_they_are_not_asked_all_at_once_and_begin_anywhere(kit: Any) -> None:
    stories = [restarted(kit, seed) for seed in range(40)]
    assert all(story.next_spelling() == pytest.approx(DAY / 10, rel=0.11) for story in stories)
    assert len({next_spelling(story.history) for story in stories}) > 5


def test_after_a_restart_an_external_id_of_ends_alone_is_verified_as_well(kit: Any) -> None:
    story = Story(kit)
    plan = replace(story.history.plan, external_id="ab")
    story.history = History(plan, verdict=Verdict("True", "Verified", "", story.clock.now))
    assert story.round("True").history.may_issue
    assert story.next_spelling() is None


def test_what_drifts_apart_drifts_as_drawn(story: Story) -> None:
    story.history = replace(spelled_out(story).history, spread=1.05)
    assert story.next_spelling() == DAY / 10 * 1.05


def test_a_place_that_could_not_be_asked_is_asked_the_next_time(story: Story) -> None:
    spelled_out(story)
    delay = story.next_spelling()
    assert delay is not None
    position = story.later(seconds=delay.total_seconds()).spell(ProbeAnswer.UNKNOWN)
    assert story.next_spelling() == timedelta(seconds=15)
    assert story.spell() == position
    assert story.spell() != position


@pytest.mark.parametrize("rounds", [[], ["False"], ["True", "False"], ["Unknown"]])
def test_no_spelling_is_asked_while_the_trust_is_not_verified_or_in_doubt(
    story: Story, rounds: list[ConditionStatus]
) -> None:
    for status in rounds:
        story.round(status).later(hours=1)
    assert story.next_spelling() is None


def test_a_spelling_that_is_let_in_ends_the_trust_at_once_and_goes_first_until_it_is_not(story: Story) -> None:
    spelled_out(story).later(hours=1).round("False", "OtherExternalIdAccepted", let_in=7)
    assert story.shown == ("False", "OtherExternalIdAccepted")
    assert not story.history.may_issue
    assert positions_to_ask(story.history) == (7, 0, 3, 5, 8, 10, 15)
    story.later(seconds=2).round("False", "AccessDenied")
    assert positions_to_ask(story.history)[0] == 7
    story.later(seconds=2).round("True")
    assert positions_to_ask(story.history) == (0, 3, 5, 8, 10, 15)
    assert story.next_spelling() == pytest.approx(timedelta(seconds=4.5), rel=0.11), "the policy was edited"
