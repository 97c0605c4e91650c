import asyncio
from typing import Any

import pytest
from botocore import exceptions as boto

from spacelift_aws.aws.errors import Failure, StsError, classify

USER = "User: arn:aws:sts::111122223333:assumed-role/operator/pod is not authorized to perform: "
ROLE = " on resource: arn:aws:iam::123456789012:role/deploy"
TOKEN = "IQoJb3JpZ2luX2VjE" + "x" * 300 + "=="


def answer(code: str, message: str, status: int = 403, operation: str = "AssumeRole") -> boto.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "req-1"},
    }
    return boto.ClientError(response, operation)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(
            answer("AccessDenied", USER + "sts:AssumeRole" + ROLE), Failure.ACCESS_DENIED, id="the role is denied"
        ),
        pytest.param(
            answer("AccessDenied", USER + "sts:TagSession" + ROLE), Failure.TAG_SESSION_DENIED, id="tags are denied"
        ),
        pytest.param(
            answer("AccessDenied", USER + "sts:SetSourceIdentity" + ROLE),
            Failure.SOURCE_IDENTITY_DENIED,
            id="the source identity is denied",
        ),
        pytest.param(
            answer("AccessDenied", "Roles may not be assumed by root accounts."),
            Failure.ACCESS_DENIED,
            id="a denial that names no action",
        ),
        pytest.param(
            answer("AccessDenied", USER + "sts:AssumeRole on resource: arn:aws:iam::123456789012:role/sts:TagSession"),
            Failure.ACCESS_DENIED,
            id="an action's name elsewhere in the message is no action",
        ),
        pytest.param(
            answer(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
                400,
            ),
            Failure.DURATION_TOO_LONG,
            id="longer than the role allows",
        ),
        pytest.param(
            answer(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
                400,
            ),
            Failure.DURATION_TOO_LONG,
            id="longer than role chaining allows",
        ),
        pytest.param(
            answer("ValidationError", "1 validation error detected: Value 'x' at 'roleArn' failed to satisfy", 400),
            Failure.INVALID_REQUEST,
            id="a bad ARN",
        ),
        pytest.param(
            answer("ValidationError", "1 validation error detected: Value '{' at 'policy' failed to satisfy", 400),
            Failure.INVALID_SESSION_POLICY,
            id="a session policy too long for the parameter",
        ),
        pytest.param(
            answer("RegionDisabledException", "STS is not activated in this region for account: 1", 403),
            Failure.REGION_DISABLED,
            id="the endpoint is off in the role's account",
        ),
        pytest.param(
            answer("PackedPolicyTooLarge", "Packed size of session tags consumes 104% of allotted space.", 400),
            Failure.INVALID_SESSION_POLICY,
            id="packed too large",
        ),
        pytest.param(
            answer("PackedPolicyTooLargeException", "Packed size", 400),
            Failure.INVALID_SESSION_POLICY,
            id="packed too large, by the model's name",
        ),
        pytest.param(
            answer("MalformedPolicyDocument", "This policy contains invalid Json", 400),
            Failure.INVALID_SESSION_POLICY,
            id="a session policy that is no JSON",
        ),
        pytest.param(
            answer("ExpiredToken", "The security token included in the request is expired"),
            Failure.NO_IDENTITY,
            id="our own credentials have expired",
        ),
        pytest.param(
            answer("ExpiredTokenException", "expired", 400), Failure.NO_IDENTITY, id="expired, by the other name"
        ),
        pytest.param(
            answer("InvalidClientTokenId", "The security token included in the request is invalid."),
            Failure.NO_IDENTITY,
            id="our own key is unknown",
        ),
        pytest.param(
            answer("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than"),
            Failure.NO_IDENTITY,
            id="our clock is wrong",
        ),
        pytest.param(answer("Throttling", "Rate exceeded", 400), Failure.RETRYING, id="throttled"),
        pytest.param(answer("ThrottlingException", "Rate exceeded", 400), Failure.RETRYING, id="throttled, otherwise"),
        pytest.param(answer("RequestLimitExceeded", "", 503), Failure.RETRYING, id="too many requests"),
        pytest.param(answer("InternalFailure", "", 500), Failure.RETRYING, id="STS is ill"),
        pytest.param(
            answer("AccessDenied", USER + "sts:AssumeRole" + ROLE, 500),
            Failure.RETRYING,
            id="a 500 is never a denial, whatever its code",
        ),
        pytest.param(answer("403", "Forbidden", 403), Failure.RETRYING, id="a proxy's 403 is no denial of STS"),
        pytest.param(
            answer(
                "AccessDenied",
                "Not authorized to perform sts:AssumeRoleWithWebIdentity",
                403,
                "AssumeRoleWithWebIdentity",
            ),
            Failure.NO_IDENTITY,
            id="a denial while fetching our own credentials says nothing of the role",
        ),
        pytest.param(
            answer("Throttling", "Rate exceeded", 400, "AssumeRoleWithWebIdentity"),
            Failure.RETRYING,
            id="throttled while fetching our own credentials",
        ),
        pytest.param(boto.NoCredentialsError(), Failure.NO_IDENTITY, id="no credentials at all"),
        pytest.param(
            boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            Failure.NO_IDENTITY,
            id="half of the credentials",
        ),
        pytest.param(
            boto.CredentialRetrievalError(provider="container-role", error_msg="x"),
            Failure.NO_IDENTITY,
            id="the Pod Identity agent gives none",
        ),
        pytest.param(FileNotFoundError("/token"), Failure.NO_IDENTITY, id="the token file is missing"),
        pytest.param(PermissionError("/token"), Failure.NO_IDENTITY, id="the token file cannot be read"),
        pytest.param(
            RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
            Failure.NO_IDENTITY,
            id="refreshed to expired ones",
        ),
        pytest.param(boto.EndpointConnectionError(endpoint_url="https://sts"), Failure.RETRYING, id="unreachable"),
        pytest.param(
            boto.ConnectTimeoutError(endpoint_url="https://sts"), Failure.RETRYING, id="no connection in time"
        ),
        pytest.param(boto.ReadTimeoutError(endpoint_url="https://sts"), Failure.RETRYING, id="no answer in time"),
        pytest.param(boto.ConnectionClosedError(endpoint_url="https://sts"), Failure.RETRYING, id="cut off"),
        pytest.param(boto.SSLError(endpoint_url="https://sts", error="bad"), Failure.RETRYING, id="TLS fails"),
        pytest.param(
            boto.ParamValidationError(report="Invalid type for parameter Policy, value: secret"),
            Failure.INVALID_REQUEST,
            id="botocore refuses a parameter",
        ),
        pytest.param(boto.InvalidRegionError(region_name="a b"), Failure.INVALID_REQUEST, id="no region's name"),
        pytest.param(ZeroDivisionError(), Failure.RETRYING, id="what nobody foresaw is no verdict"),
        pytest.param(asyncio.InvalidStateError(), Failure.RETRYING, id="neither is this"),
    ],
)
def test_every_answer_has_one_meaning(error: Exception, kind: Failure) -> None:
    told = classify(error)
    assert told.kind is kind
    assert told.message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (boto.NoCredentialsError(), "has no AWS credentials"),
        (answer("ExpiredToken", "x"), "have expired"),
        (answer("InvalidClientTokenId", "x"), "are invalid"),
        (answer("SignatureDoesNotMatch", "Signature expired: now"), "clock"),
        (answer("RequestTimeTooSkewed", "x"), "clock"),
        (answer("SignatureDoesNotMatch", "The request signature we calculated"), "are invalid"),
        (FileNotFoundError(), "token file cannot be read"),
    ],
)
def test_a_missing_identity_says_which_it_is(error: Exception, words: str) -> None:
    assert words in classify(error).message


@pytest.mark.parametrize(
    "error",
    [
        answer("SignatureDoesNotMatch", f"The Canonical String should have been 'x-amz-security-token:{TOKEN}'"),
        answer("ValidationError", f"Value '{TOKEN}' is wrong", 400),
        answer("SomethingNew", f"what about {TOKEN}?", 400),
        boto.ParamValidationError(report=f"Invalid value: {TOKEN}"),
        RuntimeError(TOKEN),
    ],
)
def test_nothing_that_looks_like_a_token_is_repeated(error: Exception) -> None:
    told = classify(error)
    for text in (str(told), repr(told), told.message, repr(told.args)):
        assert TOKEN not in text
        assert "x" * 50 not in text


def test_the_message_is_one_line_of_bounded_length() -> None:
    told = classify(answer("ValidationError", "word \n" * 1000, 400))
    assert "\n" not in told.message
    assert len(told.message) <= 600


def test_the_request_id_is_kept_for_a_support_case() -> None:
    told = classify(answer("AccessDenied", USER + "sts:AssumeRole" + ROLE))
    assert told.request_id == "req-1"
    assert str(told).endswith("(request req-1)")
    assert "ACCESS_DENIED" in repr(told)


def test_an_answer_without_any_details_is_no_verdict() -> None:
    empty: Any = {}
    told = classify(boto.ClientError(empty, "AssumeRole"))
    assert (told.kind, told.code, told.request_id) == (Failure.RETRYING, "Unknown", None)


def test_only_two_failures_say_nothing_about_the_role() -> None:
    assert {failure for failure in Failure if failure.is_ours} == {Failure.NO_IDENTITY, Failure.RETRYING}


def test_the_original_exception_is_not_kept() -> None:
    told = classify(answer("AccessDenied", "x"))
    assert isinstance(told, StsError)
    assert told.__cause__ is None
    assert told.__context__ is None
