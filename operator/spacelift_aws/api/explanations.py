"""What each reason means and what to do: one table for docs/reasons.md and for `kubectl spacelift-aws explain`.

Pure data in Markdown. The page's tables are written from it by `python -m sandbox.reasontables`.
"""

from dataclasses import dataclass
from typing import Final

from spacelift_aws.api.reasons import ConditionType
from spacelift_aws.api.reasons import CredentialsIssuedReason as Credentials
from spacelift_aws.api.reasons import LogsMaskedReason as Masked
from spacelift_aws.api.reasons import ReadyReason as Ready
from spacelift_aws.api.reasons import SucceededReason as Ended
from spacelift_aws.api.reasons import TrustVerifiedReason as Trust


@dataclass(frozen=True, slots=True)
class Explanation:
    """One reason of one condition. `remedy` None: there is nothing to do."""

    condition: ConditionType
    reason: str
    meaning: str
    remedy: str | None


def _of(condition: ConditionType, *rows: tuple[str, str, str | None]) -> tuple[Explanation, ...]:
    return tuple(Explanation(condition, reason, meaning, remedy) for reason, meaning, remedy in rows)


EXPLANATIONS: Final = (
    *_of(
        ConditionType.TRUST_VERIFIED,
        (
            Trust.VERIFIED,
            "The role trusts this external ID and no other that was tried",
            None,
        ),
        (
            Trust.ROLE_NOT_SET,
            "There is no `roleArn`",
            "Create the role with `status.trustPolicy` or by `status.createRoleUrl`, write its ARN into `roleArn`",
        ),
        (
            Trust.NOT_VERIFIED_YET,
            "STS has not been asked since the last change",
            "Wait some seconds",
        ),
        (
            Trust.ACCESS_DENIED,
            "STS denies the role: it does not exist, or one side does not allow it",
            "Add the message's statement to the role's trust policy, and look at the controller's own policy and the "
            "organization's",
        ),
        (
            Trust.EXTERNAL_ID_NOT_REQUIRED,
            "The role can be assumed without any external ID",
            "Add the condition on `sts:ExternalId` to every statement",
        ),
        (
            Trust.OTHER_EXTERNAL_ID_ACCEPTED,
            "A wildcard in the trust policy lets another namespace or cluster in",
            "Write `StringEquals` and the exact value",
        ),
        (
            Trust.DURATION_TOO_LONG,
            "The role, or role chaining, allows shorter sessions only",
            "Raise the role's maximum, or lower `durationSeconds`",
        ),
        (
            Trust.TAG_SESSION_DENIED,
            "`sts:TagSession` is not allowed",
            "Add it on both sides, or turn `tagAssumeRole` off",
        ),
        (
            Trust.SOURCE_IDENTITY_DENIED,
            "`sts:SetSourceIdentity` is not allowed",
            "Add it on both sides, or turn `sourceIdentity` off",
        ),
        (
            Trust.REGION_DISABLED,
            "The STS endpoint of `region` is off in one of the accounts",
            "Activate it, or name another region",
        ),
        (
            Trust.INVALID_SESSION_POLICY,
            "STS refuses a session policy: malformed, unknown, or too large",
            "Correct it",
        ),
        (
            Trust.INVALID_REQUEST,
            "STS refuses the request itself, for example for a role of another partition",
            "Correct `roleArn` or `region`",
        ),
        (
            Trust.NO_IDENTITY,
            "The controller has no AWS credentials that STS accepts",
            "Repair the controller's own credentials",
        ),
        (
            Trust.RETRYING,
            "STS is throttling or cannot be reached",
            "Wait; the previous verdict still holds",
        ),
        (
            Trust.NOT_VERIFIABLE,
            "`generateCredentialsInWorker` is on: workers verify the role, each for itself",
            "See `status.workers` (`Ready` says `WorkerMode`)",
        ),
    ),
    *_of(
        ConditionType.CREDENTIALS_ISSUED,
        (
            Credentials.ISSUED,
            "The run has its credentials, or had them; where they could not be renewed, `status.message` says "
            "why and how long they last",
            None,
        ),
        (
            Credentials.INTEGRATION_NOT_FOUND,
            "There is no such AwsIntegration",
            "Create it, or correct `integrationRef` in another Run",
        ),
        (
            Credentials.INTEGRATION_NOT_READY,
            "Its trust is not verified",
            "See its `TrustVerified`; the Run goes on by itself",
        ),
        (
            Credentials.NOT_ALLOWED,
            "The integration does not allow this namespace, stack or type",
            "Change the integration, or use another",
        ),
        (
            Credentials.ACCESS_DENIED,
            "STS refuses although the trust was verified",
            "Nothing at first: trust is verified again. After five minutes the Run fails",
        ),
        (
            Credentials.RETRYING,
            "STS or the API server cannot do it now, for example because of a quota",
            "The message says which; the Run goes on by itself",
        ),
        (
            Credentials.NO_WORKER,
            "The integration is for workers, and no worker of the Run's pool has taken the Run",
            "Start that pool; `workerPool` names it. The Run goes on by itself",
        ),
        (
            Credentials.WORKER_MODE_IS_NAMESPACED,
            "Such an integration serves its own namespace only",
            "Create the Run there",
        ),
        (
            Credentials.NOT_NEEDED,
            "The Run ended before it had credentials",
            None,
        ),
    ),
    *_of(
        ConditionType.SUCCEEDED,
        (
            Ended.FINISHED,
            "All containers ended with 0",
            None,
        ),
        (
            Ended.CONTAINER_FAILED,
            "A container ended with another code: see `status.exitCode`",
            "See the pod's log",
        ),
        (
            Ended.OOM_KILLED,
            "A container used more memory than its limit",
            "Raise the limit",
        ),
        (
            Ended.EVICTED,
            "The node or an API user evicted the pod",
            "Look for the cause in the message, create another Run",
        ),
        (
            Ended.NODE_LOST,
            "The pod's node no longer answers",
            "Create another Run",
        ),
        (
            Ended.POD_DELETED,
            "Somebody deleted the pod",
            "Use `stop: true` for that",
        ),
        (
            Ended.RESULT_UNKNOWN,
            "The pod is gone, and how it ended is unknown",
            "Look in the run's own records and in CloudTrail for what it did, then create another Run",
        ),
        (
            Ended.DEADLINE_EXCEEDED,
            "The run took longer than `activeDeadlineSeconds`",
            "Raise it, or find out what hangs",
        ),
        (
            Ended.STARTING_DEADLINE_EXCEEDED,
            "It waited longer than `startingDeadlineSeconds`",
            "The message says what it waited for",
        ),
        (
            Ended.TEMPLATE_REFUSED,
            "The operator or the API server refuses the pod, or a webhook has put other credentials into it",
            "The message names the place",
        ),
        (
            Ended.ACCESS_DENIED,
            "STS refused for five minutes",
            "See the integration",
        ),
        (
            Ended.STOPPED,
            "`stop: true`",
            None,
        ),
        (
            Ended.RESTORED,
            "The Run is not new: it was restored from a backup, or it is a copy",
            "Create another Run",
        ),
    ),
    *_of(
        ConditionType.LOGS_MASKED,
        (
            Masked.MASKED,
            "Secret key and session token are replaced by `*****` in what its containers print",
            None,
        ),
        (
            Masked.NOT_ASKED,
            "`maskLogs: Never`",
            None,
        ),
        (
            Masked.NO_COMMAND,
            "A container has no `command`, and the operator does not know its image's entry point",
            'Add it: `command: ["terraform"]`',
        ),
        (
            Masked.TERMINAL,
            "A container has `tty: true`",
            "Remove it",
        ),
        (
            Masked.NO_HELPER,
            "None is configured, or none is built for the nodes that the template asks for",
            "The message says which",
        ),
        (
            Masked.IMAGE_VOLUME_REFUSED,
            "The node's runtime or kubelet has no image volumes; the pod is being made again, with an init container",
            "Nothing; `maskHelper.delivery: InitContainer` avoids the delay",
        ),
    ),
    *_of(
        ConditionType.READY,
        (
            Ready.VERIFIED,
            "Runs may use the integration",
            None,
        ),
        (
            Ready.WORKER_MODE,
            "Runs may use the integration through their worker pools, which verify the role each for itself",
            None,
        ),
    ),
)
"""In the order in which people meet them."""


def explanations_of(reason: str) -> tuple[Explanation, ...]:
    """All that a word can mean, whatever its case; several conditions share some reasons."""
    return tuple(one for one in EXPLANATIONS if one.reason.lower() == reason.lower())
