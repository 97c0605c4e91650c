"""Calls to the API server: six verbs and two kinds of stream. Nothing is retried here but a login that has run out."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from spacelift_aws_cli import VERSION
from spacelift_aws_cli.kube.connection import open_connection
from spacelift_aws_cli.kube.credentials import Credentials
from spacelift_aws_cli.kube.errors import Unreachable, api_error
from spacelift_aws_cli.kube.kubeconfig import Access
from spacelift_aws_cli.kube.resources import ACCESS_REVIEW, WHO_AM_I, Resource
from spacelift_aws_cli.model.objects import Object

CALL_SECONDS = 30.0
WATCH_SECONDS = 240
"""The API server ends a watch after this long, and another one begins."""
SILENCE_SECONDS = 60.0
"""A stream that says nothing for this long is opened anew: its other end may be gone without a word."""
PAGE = 500

_BROKEN = (OSError, http.client.HTTPException)
"""How a connection fails. TLS's errors and time-outs are OSErrors."""


class Client:
    """The API server of one access."""

    def __init__(self, access: Access, impersonate: Mapping[str, list[str]] | None = None) -> None:
        """`impersonate` are headers (`Impersonate-User`, `Impersonate-Group`) with their values."""
        self.access = access
        self._impersonate = impersonate or {}
        self._credentials = Credentials(access)
        self._prefix = urlsplit(access.server).path.rstrip("/")

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object. Raises NotFound."""
        return self.call("GET", resource.path(namespace, name))

    def find(self, resource: Resource, namespace: str | None = None, **query: str) -> list[Object]:
        """All objects of a kind; without a namespace those of all."""
        return self.page_through(resource, namespace, **query)[0]

    def page_through(self, resource: Resource, namespace: str | None = None, **query: str) -> tuple[list[Object], str]:
        """All objects of a kind, and the resource version from which a watch goes on."""
        items: list[Object] = []
        wanted = {**query, "limit": str(PAGE)}
        while True:
            body = self.call("GET", resource.path(namespace), query=wanted)
            items += body.get("items") or ()
            metadata = body.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", ""))
            wanted["continue"] = metadata["continue"]

    def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any], **query: str) -> Object:
        """Create an object; the API server refuses fields that it does not know."""
        wanted = {"fieldValidation": "Strict", **query}
        return self.call("POST", resource.path(namespace), body=body, query=wanted)

    def patch(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Object:
        """Merge into an object."""
        return self.call("PATCH", resource.path(namespace, name), body=body)

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object, in the background."""
        self.call("DELETE", resource.path(namespace, name), query={"propagationPolicy": "Background"})

    def may(self, verb: str, resource: Resource, namespace: str | None, name: str = "", sub: str = "") -> bool:
        """Whether the API server would let us."""
        asked = {
            "verb": verb,
            "group": resource.group,
            "resource": resource.plural,
            "subresource": sub,
            "namespace": namespace or "",
            "name": name,
        }
        attributes = {key: value for key, value in asked.items() if value}
        body = {**ACCESS_REVIEW.head, "spec": {"resourceAttributes": attributes}}
        return bool(self.call("POST", ACCESS_REVIEW.path(), body=body)["status"].get("allowed"))

    def who_am_i(self) -> str:
        """Whom the API server takes us for."""
        answer = self.call("POST", WHO_AM_I.path(), body=WHO_AM_I.head)
        return str(answer["status"]["userInfo"].get("username", ""))

    def watch(
        self,
        resource: Resource,
        namespace: str | None,
        version: str,
        query: Mapping[str, str],
        within: float | None = None,
    ) -> Iterator[Object]:
        """Events `{type, object}` after a resource version, until the API server ends the watch. Raises Expired.

        It ends it after `within` seconds at the latest.
        """
        path = resource.path(namespace)
        wanted = {
            **query,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS if within is None else max(1, min(WATCH_SECONDS, round(within)))),
        }
        with self.stream(path, wanted, seconds=WATCH_SECONDS + SILENCE_SECONDS) as answer:
            for line in _lines(answer, path):
                event: Object = json.loads(line)
                if event["type"] == "ERROR":
                    raise api_error(int(event["object"].get("code") or 500), event["object"], path)
                yield event

    def log(self, namespace: str, pod: str, container: str, query: Mapping[str, str]) -> Iterator[bytes]:
        """The lines of a container's log with their line ends; the last may lack it. Raises Unreachable midway."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        with self.stream(path, {"container": container, **query}, seconds=SILENCE_SECONDS) as answer:
            yield from _lines(answer, path)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str | None = None,
    ) -> Object:
        """One call and its JSON. Raises ApiError, Unreachable, ConfigError."""
        with self._answer(method, path, query, body, CALL_SECONDS, accept) as answer:
            try:
                content: Object = json.loads(answer.read())
            except _BROKEN as error:
                raise self._unreachable(error) from None
            except ValueError:
                raise Unreachable(f"{self.access.server} answers, but not as an API server does.") from None
            return content

    def greeting(self) -> tuple[Object, str | None, str | None]:
        """The API server's version, its clock (an HTTP date), and until when its certificate is valid.

        The certificate's end is in the form of `ssl.cert_time_to_seconds`; None where it is not verified.
        """
        answer, connection = self._ask("GET", f"{self._prefix}/version", None, CALL_SECONDS)
        try:
            certificate = connection.sock.getpeercert() if isinstance(connection.sock, ssl.SSLSocket) else None
            ends = str(certificate["notAfter"]) if certificate else None
            body = json.loads(answer.read()) if answer.status == 200 else {}
            return body, answer.headers.get("Date"), ends
        except (*_BROKEN, ValueError) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def text(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """One call whose answer is text."""
        with self._answer("GET", path, query, None, CALL_SECONDS) as answer:
            try:
                return answer.read().decode(errors="replace")
            except _BROKEN as error:
                raise self._unreachable(error) from None

    def stream(self, path: str, query: Mapping[str, str], *, seconds: float) -> Any:
        """A context with an answer that comes bit by bit."""
        return self._answer("GET", path, query, None, seconds)

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        seconds: float,
        accept: str | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        answer, connection = self._ask(method, target, body, seconds, accept)
        if answer.status == 401 and self._credentials.forget():
            connection.close()
            answer, connection = self._ask(method, target, body, seconds, accept)
        try:
            if answer.status >= 400:
                raise api_error(answer.status, _refusal(answer), path)
            yield answer
        finally:
            connection.close()

    def _ask(
        self, method: str, target: str, body: Mapping[str, Any] | None, seconds: float, accept: str | None = None
    ) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
        credential = self._credentials.current()
        connection = open_connection(self.access, credential, seconds)
        try:
            connection.putrequest(method, target)
            for name, values in self._headers(method, credential.authorization, accept).items():
                for value in values:
                    connection.putheader(name, value)
            data = json.dumps(body).encode() if body is not None else b""
            connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            return connection.getresponse(), connection
        except _BROKEN as error:
            connection.close()
            raise self._unreachable(error) from None

    def _headers(self, method: str, authorization: str | None, accept: str | None) -> dict[str, list[str]]:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {
            "Accept": [accept or "application/json, */*"],
            "Content-Type": [kind],
            "User-Agent": [f"kubectl-spacelift-aws/{VERSION}"],
            **self._impersonate,
        }
        return {**headers, "Authorization": [authorization]} if authorization else headers

    def _unreachable(self, error: Exception) -> Unreachable:
        server = self.access.server
        if isinstance(error, ssl.SSLCertVerificationError):
            return Unreachable(
                f"The certificate of {server} is not accepted ({error.verify_message}): look at the "
                "certificate-authority in the kubeconfig."
            )
        why = "no answer in time" if isinstance(error, TimeoutError) else (str(error) or type(error).__name__)
        return Unreachable(f"The API server {server} cannot be reached ({why}): check the connection and --context.")


def _lines(answer: http.client.HTTPResponse, path: str) -> Iterator[bytes]:
    while True:
        try:
            line = answer.readline()
        except _BROKEN as error:
            raise Unreachable(f"The stream of {path} broke off ({error or type(error).__name__}).") from None
        if not line:
            return
        yield line


def _refusal(answer: http.client.HTTPResponse) -> Mapping[str, Any]:
    """The `Status` of a refusal, or what little something on the way said."""
    try:
        text = answer.read().decode(errors="replace")
    except _BROKEN:
        return {}
    try:
        body = json.loads(text)
    except ValueError:
        return {"message": text.strip()[:500]}
    return body if isinstance(body, dict) else {}
