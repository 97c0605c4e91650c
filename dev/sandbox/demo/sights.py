"""What must be seen of a Run's end, whoever executed it."""

from collections.abc import Iterator

from sandbox.audit import AuditEvent
from sandbox.controller import NAMESPACE, SERVICE_ACCOUNT
from sandbox.demo.beats import Beat, Check, Output, Prose
from sandbox.demo.scene import Scene
from sandbox.objects import Object, condition

CONTROLLER = f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"


def phase_of(run: Object | None) -> str:
    """A Run's phase; empty where it has none."""
    return str((run or {}).get("status", {}).get("phase", ""))


def ended(scene: Scene, name: str, phase: str, reason: str) -> Check:
    """How a Run ended."""
    run = scene.get("Run", name)
    said = condition(run, "Succeeded")
    return Check(
        f"Run {name}: its phase is {phase}",
        f"{phase_of(run)}, {said.get('reason', 'no reason')}: {said.get('message', '')}",
        phase_of(run) == phase and said.get("reason") == reason,
    )


def nothing_left(
    scene: Scene, run: str, secret: str, who: str = "controller", user: str = CONTROLLER
) -> Iterator[Beat]:
    """The Secret is gone, and went before the Run's end was told, as far as the cluster lets that be seen."""
    answer = scene.ask("get", "secret", secret, *scene.here)
    yield Check(
        f"Run {run}: its Secret is gone",
        answer.stderr.strip() or f"{secret} is still there",
        "NotFound" in answer.stderr,
    )
    if scene.stage.cluster.audit_log is None:
        yield Prose("This cluster's audit log cannot be read from here, so in which order things went is not shown.")
        return
    seen = scene.audit(lambda entries: deleted_before_the_end(written(entries, run, secret, user)))
    entries = written(seen, run, secret, user)
    yield Prose(f"All that the {who} wrote for it, from the API server's audit log:")
    yield Output("\n".join(_entry(event) for event in entries))
    yield Check(
        f"Run {run}: the Secret's deletion was answered before the end was written",
        order_of(entries),
        deleted_before_the_end(entries),
    )


def written(entries: list[AuditEvent], run: str, child: str, user: str = CONTROLLER) -> list[AuditEvent]:
    """The executor's writes to a Run, and to the pod and Secret named `child`; Events apart."""
    return [
        event
        for event in entries
        if event.user == user
        and event.verb in ("create", "patch", "update", "delete")
        and (event.resource, event.name) in (("runs", run), ("pods", child), ("secrets", child))
    ]


def deleted_before_the_end(entries: list[AuditEvent]) -> bool:
    """Whether the last write to the Run's status came in after the Secret's deletion was answered."""
    ends = [event for event in entries if (event.resource, event.subresource) == ("runs", "status")]
    deletions = [event for event in entries if (event.resource, event.verb) == ("secrets", "delete")]
    return bool(ends and deletions) and deletions[-1].code == 200 and deletions[-1].completed <= ends[-1].received


def order_of(entries: list[AuditEvent]) -> str:
    """The two moments that count, in words."""
    deletions = [event for event in entries if (event.resource, event.verb) == ("secrets", "delete")]
    ends = [event for event in entries if (event.resource, event.subresource) == ("runs", "status")]
    if not deletions or not ends:
        return "one of the two is not in the audit log"
    gap = (ends[-1].received - deletions[-1].completed).total_seconds() * 1000
    return f"deleted at {deletions[-1].completed:%H:%M:%S.%f}, the end written {gap:.1f} ms later"


def _entry(event: AuditEvent) -> str:
    what = f"{event.resource}/{event.name}{event.subresource and '/' + event.subresource}"
    return f"{event.completed:%H:%M:%S.%f}"[:-3] + f"  {event.verb:<7} {what:<44} {event.code}"
