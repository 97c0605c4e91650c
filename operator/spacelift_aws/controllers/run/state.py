"""What is known of one Run at one moment: the whole input of `decide`."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from spacelift_aws.api.reasons import CredentialsIssuedReason, SucceededReason
from spacelift_aws.api.run import Run
from spacelift_aws.aws.sts import AssumeRoleRequest
from spacelift_aws.controllers.run.credentials.session_life import LONGEST_SESSION
from spacelift_aws.controllers.run.delivery import DELIVERIES
from spacelift_aws.controllers.run.delivery.delivery import CredentialDelivery
from spacelift_aws.controllers.run.pod.outcome import PodTrouble
from spacelift_aws.controllers.run.pod.view import Pod
from spacelift_aws.controllers.run.template_facts import TemplateFacts


@dataclass(frozen=True, slots=True)
class Authorized:
    """The Run may be issued credentials: with this request."""

    request: AssumeRoleRequest


@dataclass(frozen=True, slots=True)
class Denied:
    """The Run may not be issued credentials at this moment; it waits."""

    reason: CredentialsIssuedReason
    message: str
    is_preliminary: bool = False
    """This process does not know yet, and is about to find out."""


@dataclass(frozen=True, slots=True)
class RetryableFailure:
    """The last try to issue credentials or to create the pod failed; when the next one is due."""

    reason: CredentialsIssuedReason
    message: str
    retry_at: datetime


@dataclass(frozen=True, slots=True)
class TerminalFailure:
    """A refusal that no waiting heals."""

    reason: SucceededReason
    message: str


class SecretState(Enum):
    """What this process knows of a Run's Secret, which it may not read."""

    UNKNOWN = "unknown"
    """Nothing yet: another process may have created it."""
    PRESENT = "present"
    """Created by this process."""
    HELD = "held"
    """Deleted, but a finalizer keeps it."""
    GONE = "gone"
    """The API server answered that it is gone."""


class PodSearch(Enum):
    """What is known of a pod that is not there."""

    NOT_LOOKED = "not looked"
    """It may have been made, and be gone."""
    NEVER_MADE = "never made"
    """Certainly not made yet."""
    LOST = "lost"
    """It was made or not, and nobody can tell any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What this process did for one Run. All of it may be lost: then a step is done once more, none is skipped."""

    secret: SecretState = SecretState.UNKNOWN
    issued_at: datetime | None = None
    deleted_at: datetime | None = None
    """When the Secret's deletion was last answered."""
    held_because: str = ""
    """Why a Secret that is HELD is still there, as a clause."""
    expires_at: datetime | None = None
    access_key_id: str | None = None
    unanswered_at: datetime | None = None
    """When a creation of the Secret was last sent without an answer: it may still arrive."""
    failures: int = 0
    retryable_failure: RetryableFailure | None = None
    terminal_failure: TerminalFailure | None = None
    pod_denied_since: datetime | None = None
    """Since when admission denies the pod."""
    pod_first: bool = False
    """The pod was refused: it is created before its Secret from now on, so that no session is issued for nothing."""
    pod_kept: RetryableFailure | None = None
    """The API server refuses to delete the pod."""
    secret_refused: bool = False
    """The API server refused the Secret: it is asked without credentials first."""
    refused_pod: str | None = None
    """UID of the pod whose node refused the image volume with the helper that masks logs: another takes its place."""
    told_trouble: PodTrouble | None = None
    """What troubles the pod, as it was first told."""
    denied_since: datetime | None = None
    """Since when STS refuses this Run while its integration's trust holds."""
    unmarkable: bool = False
    """The API server does not let the ended Run be given its mark."""
    pod_search: PodSearch = PodSearch.NOT_LOOKED
    advised: bool = False
    """That the run may outlive its session has been told."""
    undone_since: datetime | None = None
    """Since when this process sees that another executor, whose Run this is, has left something undone."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take; every one a setting, so that tests can shorten them."""

    creation_in_doubt: timedelta = timedelta(seconds=60)
    """A creation without an answer may still arrive within the API server's own request timeout (one minute)."""
    deletion_repeat: timedelta = timedelta(seconds=5)
    denied: timedelta = timedelta(minutes=5)
    """STS may go on refusing a Run this long, while trust holds, before the Run fails."""
    secret_seen: timedelta = timedelta(seconds=30)
    """A kubelet that still misses a Secret so long after its creation is right: somebody deleted it."""
    preparing: timedelta = timedelta(seconds=2)
    """A pod that started by then costs no status write of its own for `Preparing`."""
    lost_node: timedelta = timedelta(seconds=60)
    """A pod still there so long after its grace period has nobody left to end it."""
    renew_after: float = 0.5
    """After which part of a session's life the credentials in a file are renewed."""
    another_silent: timedelta = timedelta(seconds=5)
    """Another executor has so long to say its first word about a Run before its absence is told."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One Run, its pod, whether it may be issued credentials, and what this process remembers."""

    run: Run
    run_id: str
    pod: Pod | None
    grant: Authorized | Denied
    region: str | None
    """Where the session is issued, and its use begins to be recorded."""
    now: datetime
    template: TemplateFacts
    progress: Progress = field(default_factory=Progress)
    limits: Limits = field(default_factory=Limits)
    takeover_grace: timedelta = timedelta(0)
    """Grace before we end a Run that another executor should end. Zero for our own Runs."""
    helper_falls_back: bool = False
    """Whether a pod whose node refuses the image volume with the helper is replaced by one with an init container."""
    executor: str = ""
    """Our own name as an executor."""
    message_prefix: str = ""
    """Begins every reason for waiting, so that a reader knows whose word it is; empty for the controller."""
    own_account: str | None = None
    """The executor's own service account, where it is one of the Run's namespace: no run may have it."""
    requested_by: str | None = None
    """Who created the Run, where the cluster can tell."""
    stopped_by: str | None = None
    """Who set `spec.stop`, where the cluster can tell."""

    @property
    def delivery(self) -> CredentialDelivery:
        """How the Run's containers receive credentials."""
        return DELIVERIES[self.run.spec.delivery]

    @property
    def stopped(self) -> bool:
        """Whether the Run is to end: one that is being deleted and waits for a finalizer is to end as well."""
        return self.run.spec.stop or self.run.metadata.deletion_timestamp is not None

    @property
    def expires_at(self) -> datetime | None:
        """When the credentials in the Secret end: known from the issuing, else from the pod and the status."""
        if self.progress.expires_at is not None:
            return self.progress.expires_at
        known = (self.run.status.credentials_expire_at, self.pod.expires_at if self.pod else None)
        # Anybody may have written these: no session ended before its Run began, and none lives longer than STS allows.
        earliest, latest = self.run.metadata.creation_timestamp, self.now + LONGEST_SESSION
        return max((moment for moment in known if moment and earliest <= moment <= latest), default=None)
