"""Every condition and every reason that a status may show: words that alerts, scripts and people rely on."""

from enum import StrEnum


class ConditionType(StrEnum):
    """The conditions of both kinds."""

    TRUST_VERIFIED = "TrustVerified"
    READY = "Ready"
    CREDENTIALS_ISSUED = "CredentialsIssued"
    LOGS_MASKED = "LogsMasked"
    COMPLETE = "Complete"
    SUCCEEDED = "Succeeded"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class TrustVerifiedReason(StrEnum):
    """Why an integration's trust is verified, is not, or could not be."""

    VERIFIED = "Verified"

    ROLE_NOT_SET = "RoleNotSet"
    ACCESS_DENIED = "AccessDenied"
    EXTERNAL_ID_NOT_REQUIRED = "ExternalIdNotRequired"
    OTHER_EXTERNAL_ID_ACCEPTED = "OtherExternalIdAccepted"
    DURATION_TOO_LONG = "DurationTooLong"
    TAG_SESSION_DENIED = "TagSessionDenied"
    SOURCE_IDENTITY_DENIED = "SourceIdentityDenied"
    REGION_DISABLED = "RegionDisabled"
    INVALID_SESSION_POLICY = "InvalidSessionPolicy"
    INVALID_REQUEST = "InvalidRequest"
    """STS takes a parameter for malformed: a role's ARN of another partition, say."""

    NO_IDENTITY = "NoIdentity"
    NOT_VERIFIABLE = "NotVerifiable"
    RETRYING = "Retrying"
    NOT_VERIFIED_YET = "NotVerifiedYet"
    """No probe has been answered since the integration was created or its spec was changed."""


class ReadyReason(StrEnum):
    """Why Runs may use an integration; where they may not, the reason is that of `TrustVerified`."""

    VERIFIED = "Verified"
    WORKER_MODE = "WorkerMode"
    """The workers verify it, each for itself."""


class CredentialsIssuedReason(StrEnum):
    """Why a Run has credentials or waits for them."""

    ISSUED = "Issued"

    INTEGRATION_NOT_FOUND = "IntegrationNotFound"
    INTEGRATION_NOT_READY = "IntegrationNotReady"
    NOT_ALLOWED = "NotAllowed"
    NO_WORKER = "NoWorker"
    ACCESS_DENIED = "AccessDenied"
    RETRYING = "Retrying"
    WORKER_MODE_IS_NAMESPACED = "WorkerModeIsNamespaced"
    NOT_NEEDED = "NotNeeded"
    """The Run ended before credentials were issued."""


class LogsMaskedReason(StrEnum):
    """Why a Run's logs are masked or not."""

    MASKED = "Masked"

    NOT_ASKED = "NotAsked"
    NO_COMMAND = "NoCommand"
    NO_HELPER = "NoHelper"
    """None is configured, none is built for the nodes that the template asks for, or the pod was made without one."""
    TERMINAL = "Terminal"
    IMAGE_VOLUME_REFUSED = "ImageVolumeRefused"
    """The node does not bring the helper as an image volume: another pod takes the pod's place. Read again by whoever
    takes over in the middle of that."""


class SucceededReason(StrEnum):
    """How a Run ended."""

    FINISHED = "Finished"

    CONTAINER_FAILED = "ContainerFailed"
    OOM_KILLED = "OOMKilled"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    POD_DELETED = "PodDeleted"
    RESULT_UNKNOWN = "ResultUnknown"
    """The pod is gone, and nobody saw how it ended."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    STARTING_DEADLINE_EXCEEDED = "StartingDeadlineExceeded"
    TEMPLATE_REFUSED = "TemplateRefused"
    ACCESS_DENIED = "AccessDenied"
    STOPPED = "Stopped"
    RESTORED = "Restored"
    """The Run bears the mark of an earlier life: a backup brought it back, or a copy was made."""
