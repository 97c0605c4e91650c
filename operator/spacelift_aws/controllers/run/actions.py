"""What can be done for a Run."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spacelift_aws.api.run import RunStatus
from spacelift_aws.controllers.run.state import Authorized, Progress


@dataclass(frozen=True, slots=True)
class IssueCredentials:
    """Assume the role and put the session into the Run's Secret, in place of one that may be there."""

    grant: Authorized


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create the Run's pod; its Secret is there."""


@dataclass(frozen=True, slots=True)
class LookForPod:
    """Ask the API server for the pod: what was seen so far does not prove that it is gone."""


@dataclass(frozen=True, slots=True)
class DeletePod:
    """End the pod gently."""

    uid: str


@dataclass(frozen=True, slots=True)
class DeleteSecret:
    """Delete the Secret by name, whether or not it is there."""


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Write this status, if the Run is still the one decided on."""

    status: RunStatus
    warning: str | None = None
    """The reason of the Event that tells a new message of a run under way; None where that is no news to anybody."""


@dataclass(frozen=True, slots=True)
class Advise:
    """Tell once, by an Event, what would serve this Run better."""

    message: str


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """The Run's time to live after its end is over."""


@dataclass(frozen=True, slots=True)
class MarkEnded:
    """Mark the Run as executed, for backups and for whoever makes it again."""

    change: dict[str, Any]


Action = (
    IssueCredentials | CreatePod | LookForPod | DeletePod | DeleteSecret | WriteStatus | Advise | DeleteRun | MarkEnded
)


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions to do now, in this order, and when to look again if nothing changes before."""

    actions: tuple[Action, ...] = ()
    again_at: datetime | None = None
    progress: Progress | None = None
    """What is known from now on; None where nothing new is."""
    awaits_verdict: bool = False
    """The Run waits for the verdict on its integration's trust, which goes before verdicts that nobody waits for."""
