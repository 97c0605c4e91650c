"""Whatever STS answers, in whatever order, however time goes: when Runs are issued credentials, and when not."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacelift_aws.api.awsintegration import ProbeAnswer
from spacelift_aws.controllers.awsintegration.history import History, impatient, next_time

from .test_history import SCHEDULE, Story

STEPS = st.one_of(
    st.sampled_from(["yes", "no", "silence", "let in", "restart", "request", "spelled", "not spelled"]),
    # Time goes on, and may jump back: clocks are set.
    st.sampled_from([timedelta(seconds=seconds) for seconds in (1, 10, 119, 121, 3600, 90000, -1, -600)]),
)
LONGEST = SCHEDULE.slow_delay * 4 / 3


class Witness:
    """What somebody knows who saw all answers, and needs no schedule."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.yes_since_start = False
        self.doubted_at: datetime | None = None

    def step(self, step: str | timedelta) -> None:
        story, before = self.story, self.story.history
        if isinstance(step, timedelta):
            story.clock.pass_(seconds=step.total_seconds())
            return
        match step:
            case "yes":
                story.round("True")
                self.yes_since_start, self.doubted_at = True, None
            case "no":
                story.round("False")
                self._hear_no(before)
            case "let in":
                story.round("False", let_in=7)
                assert not story.history.may_issue, "what was proved is no doubt"
                self.doubted_at = None
            case "silence":
                story.round("Unknown")
                if before.own:
                    assert story.history.verdict == before.verdict, "silence says nothing"
            case "restart":
                # Of what is known only what the status shows outlives the process.
                story.history = History(before.plan, verdict=before.verdict, verified_at=before.verified_at)
                self.yes_since_start, self.doubted_at = False, None
            case "request":
                story.history = impatient(before)
            case _ if before.may_issue and before.retry_at is None:
                story.spell(ProbeAnswer.DENIED if step == "spelled" else ProbeAnswer.UNKNOWN)

    def _hear_no(self, before: History) -> None:
        now = self.story.clock.now
        if not before.may_issue:
            return
        if self.doubted_at is None:
            assert self.story.history.may_issue, "one round that fails changes nothing"
            self.doubted_at = now
        elif now >= self.doubted_at + SCHEDULE.confirm_after:
            assert not self.story.history.may_issue, "two rounds that agree do"
            self.doubted_at = None

    def look(self) -> None:
        history = self.story.history
        assert not history.may_issue or self.yes_since_start, "nothing is issued on an earlier process's word"
        if history.asked_at is None:
            return
        due = next_time(history, timedelta(0))
        assert history.may_issue or due is not None, "what is not verified is asked about again, for ever"
        if due is not None and not history.doubt:
            assert due <= history.asked_at + LONGEST


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=30))
def test_no_order_of_answers_issues_what_was_not_verified_or_stays_silent_for_ever(kit: Any, steps: list[Any]) -> None:
    story = Story(kit)
    witness = Witness(story)
    for step in steps:
        witness.step(step)
        witness.look()
    # Left in peace, with a role that is as it should be.
    story.history = replace(story.history, doubt=None)
    story.later(days=2).round("True")
    assert story.history.may_issue
