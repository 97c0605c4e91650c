"""What the executor needs from around it: the objects as last seen, a policy, STS and a clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from spacelift_aws.api.run import Run
from spacelift_aws.aws.sts import AssumeRoleRequest, Session
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.state import Authorized, Denied
from spacelift_aws.names import run_id

ObjectKey = tuple[str, str]
"""Namespace and name."""

Clock = Callable[[], datetime]


class View(Protocol):
    """The objects as last seen, and where what our own calls show goes."""

    def run(self, key: ObjectKey) -> Run | None: ...
    def pod_of(self, run: Run) -> Pod | None: ...
    def saw_run(self, run: Run) -> None: ...
    def lost_run(self, run: Run) -> None: ...
    def saw_pod(self, pod: Pod) -> None: ...
    def lost_pod(self, pod: Pod) -> None: ...
    def orphaned(self, orphan: "OrphanKey") -> None: ...


class Policy(Protocol):
    """What differs between executors: which Runs are theirs, and when those may be issued credentials."""

    @property
    def message_prefix(self) -> str: ...
    def owns(self, run: Run, pod: Pod | None) -> bool: ...
    def is_foreign(self, run: Run) -> bool:
        """Whether it is for another executor to issue credentials to a Run without a pod."""
        ...

    def grant(self, run: Run, run_id: str) -> Authorized | Denied: ...
    def takeover_grace(self, run: Run, pod: Pod | None) -> timedelta: ...
    def region(self, run: Run) -> str | None: ...
    def own_account(self, run: Run) -> str | None: ...
    def denied(self, run: Run) -> None:
        """STS refused a Run whose integration is trusted."""
        ...


class Issuer(Protocol):
    """STS, as far as a Run needs it."""

    async def assume_role(self, request: AssumeRoleRequest, tenant: str) -> Session: ...


@dataclass(frozen=True, slots=True)
class OrphanKey:
    """What may remain of a Run that is gone: found by its ID alone."""

    namespace: str
    run_id: str
    run_name: str

    @classmethod
    def of(cls, run: Run) -> "OrphanKey":
        """What a Run that is there may leave."""
        return cls(run.metadata.namespace, run_id_of(run), run.metadata.name)


def key_of(run: Run) -> ObjectKey:
    """The key of a Run."""
    return run.metadata.namespace, run.metadata.name


def run_id_of(run: Run) -> str:
    """The ID of a Run."""
    return run_id(run.metadata.creation_timestamp, run.metadata.uid)


def own_pod(view: View, run: Run) -> Pod | None:
    """The Run's pod. Somebody else's is never adopted; that it has the name shows when ours is created."""
    pod = view.pod_of(run)
    return pod if pod is not None and pod.owner_uid == run.metadata.uid else None
