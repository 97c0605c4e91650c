"""Answers of STS that no emulator gives, and the rules that say when a fault proxy gives them. Pure.

Texts, codes and HTTP statuses are STS's own, as its service model, its documentation and the reports of its users show
them; `sandbox.faultproxy` serves them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

# STS's default when a request names no duration.
DEFAULT_DURATION_SECONDS = 3600
ROLE_CHAINING_LIMIT_SECONDS = 3600
# Parameters that a record of calls never holds: signatures and tokens, by which a request proves who sent it.
_NEVER_KEPT = ("X-Amz-", "Signature", "SecurityToken", "WebIdentityToken", "SAMLAssertion", "TokenCode", "TradeInToken")


@dataclass(frozen=True)
class Request:
    """What a request asks, as far as it is public: its signature and session token are not in here."""

    action: str
    parameters: Mapping[str, str]
    region: str | None = None
    access_key_id: str | None = None

    @property
    def role_arn(self) -> str | None:
        return self.parameters.get("RoleArn")

    @property
    def session_name(self) -> str:
        return self.parameters.get("RoleSessionName", "")

    @property
    def external_id(self) -> str | None:
        return self.parameters.get("ExternalId")

    @property
    def duration_seconds(self) -> int:
        return int(self.parameters.get("DurationSeconds", DEFAULT_DURATION_SECONDS))

    @property
    def tags(self) -> dict[str, str]:
        """The session tags, put together from ``Tags.member.N.Key`` and ``.Value``."""
        keys = [name for name in self.parameters if name.startswith("Tags.member.") and name.endswith(".Key")]
        return {self.parameters[key]: self.parameters.get(f"{key[: -len('Key')]}Value", "") for key in keys}

    def has(self, parameter: str) -> bool:
        """Whether a parameter was sent; of a list or a structure (``Tags``), whether any part of it was."""
        return parameter in self.parameters or any(name.startswith(f"{parameter}.") for name in self.parameters)


def read_request(query: str, body: str, authorization: str) -> Request:
    """Reads a request of the query protocol; anything else becomes one with an empty action."""
    pairs = parse_qsl(query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True)
    parameters = {name: value for name, value in pairs if not name.startswith(_NEVER_KEPT)}
    action = parameters.pop("Action", "")
    parameters.pop("Version", None)
    access_key_id, region = _credential_scope(authorization, dict(pairs))
    return Request(action, parameters, region, access_key_id)


def _credential_scope(authorization: str, query: Mapping[str, str]) -> tuple[str | None, str | None]:
    """(access key ID, region) from ``Credential=AKIA…/20260102/eu-west-1/sts/aws4_request``, header or query."""
    _, found, rest = authorization.partition("Credential=")
    scope = rest.partition(",")[0] if found else query.get("X-Amz-Credential", "")
    parts = scope.strip().split("/")
    return (parts[0], parts[2]) if len(parts) == 5 else (None, None)


@dataclass(frozen=True)
class Match:
    """Which requests a rule is for: all that is given must hold. The default is every AssumeRole."""

    action: str | None = "AssumeRole"
    """`None` is every action."""
    role_arn: str | None = None
    region: str | None = None
    """The region that the request was signed for, which is how an emulator on one port tells them apart."""
    access_key_id: str | None = None
    """Whose call."""
    session_name_prefix: str = ""
    session_name_like: str = "*"
    """A pattern with ``*`` and ``?``."""
    session_name_unlike: str = ""
    """A pattern that must not fit."""
    present: Sequence[str] = ()
    """Parameters that must be sent: ``ExternalId``, ``Tags``, ``SourceIdentity``, ``Policy``, ``PolicyArns``…"""
    absent: Sequence[str] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    duration_above: int | None = None
    """In seconds; a request that names no duration asks for STS's default."""

    def __call__(self, request: Request) -> bool:
        wanted = (
            (self.action, request.action),
            (self.role_arn, request.role_arn),
            (self.region, request.region),
            (self.access_key_id, request.access_key_id),
        )
        return (
            all(value is None or value == given for value, given in wanted)
            and request.session_name.startswith(self.session_name_prefix)
            and fnmatchcase(request.session_name, self.session_name_like)
            and not (self.session_name_unlike and fnmatchcase(request.session_name, self.session_name_unlike))
            and all(request.has(name) for name in self.present)
            and not any(request.has(name) for name in self.absent)
            and all(request.parameters.get(name) == value for name, value in self.values.items())
            and (self.duration_above is None or request.duration_seconds > self.duration_above)
        )


@dataclass(frozen=True)
class Refusal:
    """An error of STS. ``{caller}`` and ``{role}`` in the message become the ARNs of the request."""

    code: str
    message: str
    status: int = 400

    def body(self, request_id: str, caller: str, role: str) -> bytes:
        """The error as STS writes it, so that any SDK finds code, message and request ID where it looks for them."""
        message = self.message.replace("{caller}", caller).replace("{role}", role)
        return (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n'
            f"    <Type>{'Sender' if self.status < 500 else 'Receiver'}</Type>\n"
            f"    <Code>{escape(self.code)}</Code>\n    <Message>{escape(message)}</Message>\n  </Error>\n"
            f"  <RequestId>{escape(request_id)}</RequestId>\n</ErrorResponse>\n"
        ).encode()


@dataclass(frozen=True)
class Plain:
    """An answer that is not STS's, such as a load balancer's page.

    Of a 5xx that is empty or begins with ``<html>`` botocore makes a ``ClientError`` with the status as its code; of
    other text that is no XML a ``ResponseParserError``, which is no ``ClientError``.
    """

    status: int = 503
    text: str = "<html><body><h1>503 Service Unavailable</h1></body></html>"
    content_type: str = "text/html"


@dataclass(frozen=True)
class Drop:
    """The connection is cut; before or after the upstream served the call."""

    after_serving: bool = False


@dataclass(frozen=True)
class Pass:
    """What the upstream answers (useful with a rule's delay, and to count calls)."""


Answer = Refusal | Plain | Drop | Pass


@dataclass(eq=False)
class Rule:
    """Gives its answer to the requests that match, the first ``times`` of them or all. Compared by identity."""

    match: Match
    answer: Answer = field(default_factory=Pass)
    times: int | None = None
    delay: float = 0.0
    """Seconds before the answer."""
    used: int = 0

    def takes(self, request: Request) -> bool:
        return (self.times is None or self.used < self.times) and self.match(request)


def region_disabled(account_id: str) -> Refusal:
    """The account has not switched this region's STS on."""
    return Refusal(
        "RegionDisabledException",
        f"STS is not activated in this region for account:{account_id}. Your account administrator can activate STS "
        "in this region using the IAM Console.",
        403,
    )


def packed_policy_too_large(percent: int = 112) -> Refusal:
    """Session tags and policies do not fit into the session token."""
    return Refusal("PackedPolicyTooLarge", f"Packed size of session tags consumes {percent}% of allotted space.")


def malformed_policy(message: str = "Syntax errors in policy.") -> Refusal:
    return Refusal("MalformedPolicyDocument", message)


def expired_token(*, sdk_name: bool = False) -> Refusal:
    """The caller's own session is over; some front ends say ``ExpiredTokenException`` with 400."""
    message = "The security token included in the request is expired"
    return Refusal("ExpiredTokenException", message, 400) if sdk_name else Refusal("ExpiredToken", message, 403)


def invalid_client_token() -> Refusal:
    """The caller's access key is unknown; also the answer of a region that is off in the caller's own account."""
    return Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", 403)


def signature_mismatch() -> Refusal:
    return Refusal(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.",
        403,
    )


def clock_skew() -> Refusal:
    """The caller's clock is wrong."""
    return Refusal(
        "SignatureDoesNotMatch",
        "Signature expired: 20260102T030405Z is now earlier than 20260102T033905Z (20260102T034405Z - 5 min.)",
        403,
    )


def throttled(code: str = "Throttling") -> Refusal:
    return Refusal(code, "Rate exceeded")


def denied(action: str = "sts:AssumeRole") -> Refusal:
    """Refused by a policy; which one STS does not say across accounts."""
    return Refusal(
        "AccessDenied", f"User: {{caller}} is not authorized to perform: {action} on resource: {{role}}", 403
    )


def invalid(message: str) -> Refusal:
    return Refusal("ValidationError", message)


def internal_failure() -> Refusal:
    return Refusal(
        "InternalFailure", "The request processing has failed because of an unknown error, exception or failure.", 500
    )


def unavailable() -> Refusal:
    return Refusal("ServiceUnavailable", "The request has failed due to a temporary failure of the server.", 503)


def max_session_duration(role_arn: str, seconds: int) -> Rule:
    """The role allows sessions of this length at most."""
    return Rule(
        Match(role_arn=role_arn, duration_above=seconds),
        invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role."),
    )


def role_chaining(access_key_id: str | None = None) -> Rule:
    """The caller is itself an assumed role: its sessions last an hour at most."""
    return Rule(
        Match(access_key_id=access_key_id, duration_above=ROLE_CHAINING_LIMIT_SECONDS),
        invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."),
    )


def source_identity_denied(role_arn: str | None = None) -> Rule:
    """The trust policy lacks ``sts:SetSourceIdentity``: whoever sends a source identity is refused."""
    return Rule(Match(role_arn=role_arn, present=["SourceIdentity"]), denied("sts:SetSourceIdentity"))


def tag_session_denied(role_arn: str | None = None) -> Rule:
    """The trust policy lacks ``sts:TagSession``: whoever sends session tags is refused."""
    return Rule(Match(role_arn=role_arn, present=["Tags"]), denied("sts:TagSession"))
