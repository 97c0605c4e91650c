"""What an answer of STS, or the lack of one, means to us.

Codes and message fragments are those of the STS service model and of answers seen in the wild. Only public facts leave
this module: an error code, a sentence, a request ID. Parameters and credentials never do, and neither does the original
exception, whose frames and attributes may hold them.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from botocore import exceptions as boto

_ACTION = re.compile(r"not authorized to perform: (sts:\w+)")
_DENIED_BY = re.compile(
    r"(?:because no|with an explicit deny in an?) "
    r"((?:identity-based|session|service control|VPC endpoint) policy|permissions boundary)"
)
"""The policies of the caller's side, as AWS names them where it may
(https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html)."""
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/=]{100,}")
_SESSION_POLICY = re.compile(r"at 'policy(?:Arns)?\b|session polic|policyarns|policy arn|managed polic", re.IGNORECASE)
_TOO_LONG = ("maxsessionduration", "session limit for roles assumed by role chaining")
_MAX_MESSAGE = 600

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
UNKNOWN_KEY = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"})
SKEWED = frozenset({"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"})
INVALID_KEY = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
    }
)
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.MetadataRetrievalError,
    boto.TokenRetrievalError,
    boto.NoAuthTokenError,
    boto.SSOError,
    boto.ProfileNotFound,
    boto.InvalidConfigError,
    boto.ConfigParseError,
    boto.ConfigNotFound,
    boto.InfiniteLoopConfigError,
)


class Failure(Enum):
    """Why STS did not give a session."""

    ACCESS_DENIED = "AccessDenied"
    """`sts:AssumeRole` itself is denied: by the trust, the caller's own policy or an organisation's, or a wrong ID."""
    DENIED_ELSEWHERE = "DeniedElsewhere"
    """The same, and STS says that a policy of the caller's side denies: the trust policy was not what decided."""
    TAG_SESSION_DENIED = "TagSessionDenied"
    SOURCE_IDENTITY_DENIED = "SourceIdentityDenied"
    DURATION_TOO_LONG = "DurationTooLong"
    """Longer than the role's maximum, or than the hour that role chaining allows."""
    REGION_DISABLED = "RegionDisabled"
    """The regional endpoint is off in the role's account, or the region in the operator's own."""
    INVALID_SESSION_POLICY = "InvalidSessionPolicy"
    """Malformed, or packed too large together with the tags."""
    INVALID_REQUEST = "InvalidRequest"
    """STS refuses a parameter: a mistyped ARN, say, or one of another partition."""
    NO_IDENTITY = "NoIdentity"
    """The operator's own credentials are missing, expired or invalid: nothing was learnt about the role."""
    RETRYING = "Retrying"
    """Throttled, timed out, unreachable, or an answer nobody understands: nothing was learnt about the role."""

    @property
    def is_ours(self) -> bool:
        """Whether the failure says nothing about the role that was asked for."""
        return self in (Failure.NO_IDENTITY, Failure.RETRYING)


class StsError(Exception):
    """A call of STS that gave nothing; its attributes are public facts, safe to log and to write into a status."""

    def __init__(self, kind: Failure, code: str, message: str, request_id: str | None = None) -> None:
        super().__init__(kind, code, message, request_id)
        self.kind = kind
        self.code = code
        self.message = message
        self.request_id = request_id

    @property
    def denied_by(self) -> str | None:
        """Which policy of the caller's side denies, where STS says so."""
        match = _DENIED_BY.search(self.message)
        return match.group(1) if match else None

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.message}{request}"

    def __repr__(self) -> str:
        return f"StsError({self.kind.name}, {self})"


@dataclass(frozen=True)
class _Answer:
    """The parts of an error answer of AWS that matter."""

    operation: str
    code: str
    message: str
    http_status: int
    request_id: str | None


def classify(error: BaseException) -> StsError:
    """Tell what an exception of boto3 means. Never raises, and keeps no reference to the exception."""
    if isinstance(error, boto.ClientError):
        return _classify_answer(_answer_of(error))
    name = type(error).__name__
    if isinstance(error, boto.NoCredentialsError):
        return StsError(
            Failure.NO_IDENTITY,
            name,
            "the operator has no AWS credentials: there are none in its environment, and none from a web identity, "
            "EKS Pod Identity or an instance profile",
        )
    if isinstance(error, boto.PartialCredentialsError):
        return StsError(Failure.NO_IDENTITY, name, "the operator's AWS credentials are incomplete")
    if isinstance(error, _NO_CREDENTIALS):
        return StsError(Failure.NO_IDENTITY, name, "the operator's AWS credentials could not be retrieved")
    if isinstance(error, boto.ParamValidationError):
        return StsError(Failure.INVALID_REQUEST, name, "a parameter has a form that STS does not accept")
    if isinstance(error, boto.NoRegionError):
        return StsError(Failure.INVALID_REQUEST, name, "no AWS region is set: set AWS_REGION (`region` in the charts)")
    if isinstance(error, (boto.InvalidRegionError, boto.UnknownRegionError)):
        return StsError(Failure.INVALID_REQUEST, name, "the AWS region is not a valid name")
    if isinstance(error, (boto.ConnectTimeoutError, boto.ReadTimeoutError)):
        return StsError(Failure.RETRYING, name, f"STS did not answer in time: {_ON_THE_WAY}")
    if isinstance(error, (boto.HTTPClientError, boto.ConnectionError, ConnectionError, TimeoutError)):
        return StsError(Failure.RETRYING, name, f"STS could not be reached: {_why_unreachable(error)}")
    if isinstance(error, OSError) and not isinstance(error, boto.BotoCoreError):
        # The web identity's token file is read by botocore without a wrapper of its own.
        return StsError(Failure.NO_IDENTITY, name, "the operator's web identity token file cannot be read")
    if isinstance(error, RuntimeError) and "still expired" in str(error):
        return StsError(Failure.NO_IDENTITY, "ExpiredToken", "the operator's AWS credentials have expired")
    return StsError(Failure.RETRYING, name, "the call failed in an unexpected way")


_ON_THE_WAY = "look at network policies, the VPC endpoint, and HTTPS_PROXY and NO_PROXY"


def _why_unreachable(error: BaseException) -> str:
    """The cause, and what to look at: in sentences of our own, because libraries quote proxies with their passwords."""
    cause = getattr(error, "kwargs", {}).get("error", error)
    said = f"{type(cause).__name__} {cause}".lower()
    if isinstance(cause, FileNotFoundError) or "ca certificate bundle" in said or "no such file" in said:
        return "the file that AWS_CA_BUNDLE names does not exist"
    if isinstance(error, boto.ProxyConnectionError) or "proxyerror" in said:
        return "the proxy that HTTPS_PROXY names does not answer"
    if isinstance(error, boto.SSLError) or "ssl" in said or "certificate" in said:
        return (
            "its certificate is not trusted: for a private CA or a proxy that inspects TLS, set AWS_CA_BUNDLE to a "
            "file with that CA's certificates"
        )
    if "resol" in said or "name or service not known" in said or "getaddrinfo" in said:
        return "its name could not be resolved: look at the cluster's DNS, AWS_REGION and AWS_ENDPOINT_URL_STS"
    if "refused" in said:
        return f"the connection was refused: {_ON_THE_WAY}"
    return _ON_THE_WAY


def of_own_identity(error: StsError) -> StsError:
    """The same of a call by which the operator obtains its own credentials: nothing was learnt about any role."""
    if error.kind is Failure.NO_IDENTITY:
        return error
    message = f"the operator's own AWS credentials could not be obtained: {error.message}"
    return StsError(Failure.NO_IDENTITY, error.code, message, error.request_id)


def _answer_of(error: boto.ClientError) -> _Answer:
    response: dict[str, Any] = error.response
    details = response.get("Error") or {}
    metadata = response.get("ResponseMetadata") or {}
    return _Answer(
        operation=error.operation_name,
        code=_plain(str(details.get("Code") or "Unknown"))[:100],
        message=_plain(str(details.get("Message") or "")),
        http_status=int(metadata.get("HTTPStatusCode") or 0),
        request_id=_plain(str(metadata["RequestId"]))[:100] if metadata.get("RequestId") else None,
    )


def _plain(text: str) -> str:
    """One line of bounded length without anything that has the shape of a session token."""
    line = _LONG_TOKEN.sub("…", " ".join(text.split()))
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 1] + "…"


def _classify_answer(answer: _Answer) -> StsError:
    kind, message = _meaning(answer)
    return StsError(kind, answer.code, message or answer.message or "STS gave no reason", answer.request_id)


def _meaning(answer: _Answer) -> tuple[Failure, str | None]:
    """(what it means, our own sentence where STS's is not to be repeated)."""
    if answer.code in THROTTLED or answer.http_status >= 500:
        return Failure.RETRYING, None
    if answer.operation in ("AssumeRoleWithWebIdentity", "GetRoleCredentials", "CreateToken"):
        # These are calls that botocore makes to obtain the operator's own credentials.
        return Failure.NO_IDENTITY, f"AWS refused the operator's own identity: {answer.message}"
    if (ours := _meaning_for_our_identity(answer)) is not None:
        return Failure.NO_IDENTITY, ours
    if answer.code in ("AccessDenied", "AccessDeniedException"):
        return _meaning_of_denial(answer.message), None
    if answer.code in ("RegionDisabledException", "RegionDisabled"):
        return Failure.REGION_DISABLED, None
    if answer.code.removesuffix("Exception") in ("PackedPolicyTooLarge", "MalformedPolicyDocument"):
        return Failure.INVALID_SESSION_POLICY, None
    if answer.code in ("ValidationError", "ValidationException", "InvalidParameterValue"):
        return _meaning_of_validation(answer.message), None
    # A proxy's or a firewall's 403 has no code of STS: it is no verdict on anybody's trust.
    return Failure.RETRYING, None


def _meaning_for_our_identity(answer: _Answer) -> str | None:
    """A sentence of our own: for a wrong signature, the answer of AWS may repeat the signed headers, token included."""
    if answer.code in EXPIRED:
        return "the operator's AWS credentials have expired"
    if answer.code in SKEWED:
        return "the clock of the operator's machine is wrong: AWS refuses the time of its signatures"
    if answer.code in UNKNOWN_KEY:
        return "the operator's AWS credentials are invalid: AWS does not know the access key or its session token"
    if answer.code in INVALID_KEY:
        lower = answer.message.lower()
        if "signature expired" in lower or "not yet current" in lower:
            return "the clock of the operator's machine is wrong: AWS refuses the time of its signatures"
        return "the operator's AWS credentials are invalid: AWS refuses their signature"
    return None


def _meaning_of_denial(message: str) -> Failure:
    match = _ACTION.search(message)
    action = match.group(1) if match else ""
    if action == "sts:TagSession":
        return Failure.TAG_SESSION_DENIED
    if action == "sts:SetSourceIdentity":
        return Failure.SOURCE_IDENTITY_DENIED
    return Failure.DENIED_ELSEWHERE if _DENIED_BY.search(message) else Failure.ACCESS_DENIED


def _meaning_of_validation(message: str) -> Failure:
    lower = message.lower()
    if any(fragment in lower for fragment in _TOO_LONG):
        return Failure.DURATION_TOO_LONG
    if _SESSION_POLICY.search(message):
        return Failure.INVALID_SESSION_POLICY
    return Failure.INVALID_REQUEST
