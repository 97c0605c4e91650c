"""What a Run went through: each step in a sentence, and the whole as a time line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from spacelift_aws_cli.model.objects import Object, condition, first_line, status_of
from spacelift_aws_cli.model.runs import has_ended, phase_of, reason_of, requester_of, stopper_of, why
from spacelift_aws_cli.model.times import parse, span
from spacelift_aws_cli.output.tables import Cell, Row, Tone


def step(run: Object) -> str:
    """Where a Run stands, for whoever watches it."""
    phase, status = phase_of(run), status_of(run)
    told = why(run)
    if phase == "Running" and status.get("assumedRoleArn"):
        acting = f"Running as {status['assumedRoleArn']}"
        return f"{acting}; {told}" if told else acting
    if has_ended(run):
        return f"{phase} with exit code {status['exitCode']}: {told}" if status.get("exitCode") else f"{phase}: {told}"
    return f"{phase}: {told}" if told else phase


def pod_trouble(pod: Object) -> str:
    """What keeps a pod from starting, from its own status; empty where nothing is known to."""
    status = status_of(pod)
    for state in _states(status):
        waiting = state.get("waiting") or {}
        reason = waiting.get("reason")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            message = first_line(str(waiting.get("message") or ""))
            return f"{reason}: {message}" if message else str(reason)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {first_line(str(scheduled.get('message') or ''))}"
    return ""


def _states(status: Object) -> Iterator[Object]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        for one in status.get(kind) or ():
            yield one.get("state") or {}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened."""

    at: datetime
    what: str
    tone: Tone = Tone.PLAIN
    order: int = 0
    """Among what happened in the same second, which is all that the API tells."""


def time_line(run: Object, pod: Object | None, events: Sequence[Object]) -> list[Moment]:
    """All that is known, in the order in which it happened."""
    said = str(status_of(run).get("message") or "")
    news = [one for one in events if not has_ended(run) or one.get("message") != said]
    moments = [*_of_the_run(run), *(_of_the_pod(pod) if pod else ()), *_of_events(news)]
    return sorted((one for one in moments if one is not None), key=lambda one: (one.at, one.order))


def drawn(moments: Sequence[Moment]) -> Iterator[Row]:
    """A time line to look at: the time, how long after the step before, and what happened."""
    before: datetime | None = None
    for one in moments:
        later = (one.at - before).total_seconds() if before else 0.0
        gap = f"+{span(later)}" if later >= 1 else ""
        yield [
            Cell(one.at.strftime("%Y-%m-%d %H:%M:%S  "), Tone.QUIET),
            Cell(gap.rjust(8) + "  ", Tone.QUIET),
            Cell(one.what, one.tone),
        ]
        before = one.at


def _moment(order: int, time: object, what: str, tone: Tone = Tone.PLAIN) -> Moment | None:
    at = parse(str(time)) if time else None
    return Moment(at, what, tone, order) if at else None


def _of_the_run(run: Object) -> Iterator[Moment | None]:
    status, metadata = status_of(run), run["metadata"]
    asked = f" by {requester_of(run)}" if requester_of(run) else ""
    yield _moment(0, metadata.get("creationTimestamp"), f"created{asked}")
    issued = condition(run, "CredentialsIssued")
    if issued.get("status") == "True":
        yield _moment(
            1, issued.get("lastTransitionTime"), first_line(str(issued.get("message") or "credentials issued"))
        )
    elif issued and not has_ended(run):
        yield _moment(1, issued.get("lastTransitionTime"), f"waits: {why(run)}", Tone.BUSY)
    yield _moment(5, status.get("startedAt"), "its first container runs")
    if has_ended(run):
        good = phase_of(run) == "Finished"
        code = f", exit code {status['exitCode']}" if "exitCode" in status else ""
        reason = reason_of(run)
        by = f" by {stopper_of(run)}" if stopper_of(run) else ""
        named = f" ({reason})" if reason else ""
        words = first_line(str(status.get("message") or ""))
        end = f"{phase_of(run)}{by}{named}{code}: {words}"
        yield _moment(8, status.get("finishedAt"), end, Tone.GOOD if good else Tone.BAD)


def _of_the_pod(pod: Object) -> Iterator[Moment | None]:
    status = status_of(pod)
    yield _moment(2, pod["metadata"].get("creationTimestamp"), f"pod {pod['metadata']['name']} created")
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "True":
        node = (pod.get("spec") or {}).get("nodeName", "a node")
        yield _moment(3, scheduled.get("lastTransitionTime"), f"pod scheduled to {node}")
    for kind in ("initContainerStatuses", "containerStatuses"):
        for one in status.get(kind) or ():
            state = one.get("state") or {}
            ended = state.get("terminated") or {}
            started = ended.get("startedAt") or (state.get("running") or {}).get("startedAt")
            yield _moment(4, started, f"container {one['name']} started")
            if ended:
                code = ended.get("exitCode")
                why_ = f" ({ended['reason']})" if ended.get("reason") not in (None, "Completed", "Error") else ""
                tone = Tone.PLAIN if code == 0 else Tone.BAD
                yield _moment(7, ended.get("finishedAt"), f"container {one['name']} ended with {code}{why_}", tone)


def _of_events(events: Sequence[Object]) -> Iterator[Moment | None]:
    """Warnings alone: what went well stands in the statuses."""
    for event in events:
        if event.get("type") == "Warning":
            last = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
            count = event.get("count") or 1
            times = f" ({count} times)" if count > 1 else ""
            words = first_line(str(event.get("message") or ""))
            yield _moment(6, event.get("firstTimestamp") or last, f"{event.get('reason')}: {words}{times}", Tone.BUSY)
