"""What can go wrong with the API server, as sentences that say what to do."""

from collections.abc import Mapping
from typing import Any

from spacelift_aws_cli.exits import UserError


class KubeError(UserError):
    """The API server could not be asked, or refused."""


class ConfigError(KubeError):
    """The kubeconfig does not lead to an API server."""


class Unreachable(KubeError):
    """No connection, or none that lasted until the answer."""


class ApiError(KubeError):
    """The API server answered with a refusal. `status` is HTTP's, `words` are its own."""

    def __init__(self, status: int, reason: str, words: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.reason, self.words = status, reason, words


class Unauthorized(ApiError):
    """It does not know who is asking."""


class Forbidden(ApiError):
    """It knows who is asking, and that is not enough. Refusals by admission policies come as this too."""


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class Expired(ApiError):
    """The resource version is too old to watch from."""


_CLASSES = {401: Unauthorized, 403: Forbidden, 404: NotFound, 410: Expired}


def api_error(status: int, body: Mapping[str, Any], path: str) -> ApiError:
    """The error for a `Status` that came with this HTTP status."""
    reason = str(body.get("reason") or "")
    words = str(body.get("message") or f"HTTP {status}").strip()
    return _CLASSES.get(status, ApiError)(status, reason, words, _sentence(status, words, path))


def _sentence(status: int, words: str, path: str) -> str:
    if status == 401:
        return "The API server does not accept these credentials: log in again, or choose another --context."
    if status == 404 and "/apis/aws.spacelift.io/" in path and "could not find the requested resource" in words:
        return "This cluster has no Runs or AwsIntegrations: install the operator's chart, or choose another --context."
    if status == 403 and "denied request" in words:
        # An admission policy's own words, which say what to do; the API server puts its name in front.
        return words.partition("denied request: ")[2] or words
    if status == 403:
        return f"{words}. Ask an administrator for this right; `kubectl spacelift-aws doctor` lists yours."
    return f"The API server refuses: {words}"
