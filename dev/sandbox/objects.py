"""Reading and writing objects of a cluster without starting a kubectl for each."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import config

from sandbox.process import wait_until

Object = dict[str, Any]

_API = {
    "Run": "/apis/aws.spacelift.io/v1beta1/{namespace}/runs",
    "AwsIntegration": "/apis/aws.spacelift.io/v1beta1/{namespace}/awsintegrations",
    "Pod": "/api/v1/{namespace}/pods",
    "Secret": "/api/v1/{namespace}/secrets",
    "ConfigMap": "/api/v1/{namespace}/configmaps",
    "Job": "/apis/batch/v1/{namespace}/jobs",
    "CronJob": "/apis/batch/v1/{namespace}/cronjobs",
    "Event": "/api/v1/{namespace}/events",
    "ServiceAccount": "/api/v1/{namespace}/serviceaccounts",
    "ResourceQuota": "/api/v1/{namespace}/resourcequotas",
    "Namespace": "/api/v1/namespaces",
}


class RefusedError(Exception):
    """The API server refused a call; `status` is HTTP's, `message` its own sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Answer:
    """What the API server answered, whatever its status; `warnings` are its Warning headers, as it wrote them."""

    status: int
    content: Object
    warnings: tuple[str, ...]


class Objects:
    """Somebody's hands: every call goes to the API server, nothing is remembered."""

    def __init__(
        self, kubeconfig: Path, user: str = "", groups: Sequence[str] = (), *, retries: urllib3.Retry | None = None
    ) -> None:
        """Whose `kubeconfig` it is; `user`, in `groups`, is somebody else, whom that one may impersonate.

        `retries` are for an API server that may be away; by default urllib3's own, three without a pause.
        """
        self.user = user
        self._groups = groups
        self._retries = retries
        self._api = config.new_client_from_config(str(kubeconfig))
        self._server: str = self._api.configuration.host

    def create(self, body: Mapping[str, Any]) -> Object:
        """Create an object of one of the kinds above."""
        return self._call("POST", self._path(body["kind"], body["metadata"].get("namespace")), body)

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """An object, or None."""
        try:
            return self._call("GET", f"{self._path(kind, namespace)}/{name}")
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """All objects of a kind in a namespace, with these labels."""
        items: list[Object] = self._call("GET", f"{self._path(kind, namespace)}?labelSelector={selector}")["items"]
        return items

    def patch(
        self, kind: str, namespace: str | None, name: str, body: Mapping[str, Any], *, subresource: str = ""
    ) -> Object:
        """Merge into an object, or into its `status`."""
        return self._call("PATCH", f"{self._path(kind, namespace)}/{name}{subresource and '/' + subresource}", body)

    def delete(self, kind: str, namespace: str | None, name: str, **options: Any) -> None:
        """Delete an object; `options` are those of `DeleteOptions`."""
        self._call("DELETE", f"{self._path(kind, namespace)}/{name}", options)

    def delete_all(self, kind: str, namespace: str) -> None:
        """Delete all objects of a kind in a namespace, and in the background what they own."""

        def deleted() -> bool:
            # The answer is not read: it holds all of them, some deeper than Python's parser goes.
            answer = self._send("DELETE", self._path(kind, namespace), {"propagationPolicy": "Background"})
            if 400 <= answer.status < 500:
                raise RefusedError(answer.status, answer.data.decode(errors="replace"))
            return bool(answer.status < 400)

        # A crowded API server does not get through with hundreds in its one minute, and says 504.
        wait_until(deleted, timeout=120, what=f"the end of all of kind {kind} in {namespace}", interval=1)

    def version(self, kind: str, namespace: str) -> str:
        """The version of what is there now: from it `history` goes on."""
        return str(self._call("GET", f"{self._path(kind, namespace)}?limit=1")["metadata"]["resourceVersion"])

    def history(self, kind: str, namespace: str, version: str, *, seconds: int) -> Generator[tuple[str, Object]]:
        """What became of a kind's objects since a version, as a watch tells it, for so long: its words and the objects.

        So what is over can be seen as well, however late somebody looks.
        """
        path = f"{self._path(kind, namespace)}?watch=true&resourceVersion={version}&timeoutSeconds={seconds}"
        answer = self._send("GET", path, None, preload_content=False)
        try:
            for line in answer:
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            answer.close()

    def wait(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        until: Callable[[Object | None], object],
        *,
        timeout: float = 60.0,
        what: str = "",
    ) -> Object:
        """Look again and again until the object is as wanted; AssertionError with its last view if it never is."""
        seen: Object | None = None

        def as_wanted() -> bool:
            nonlocal seen
            seen = self.get(kind, namespace, name)
            return bool(until(seen))

        try:
            wait_until(as_wanted, timeout=timeout, what=what or "an object as wanted")
        except TimeoutError as error:
            shown = json.dumps((seen or {}).get("status", seen), indent=1)
            raise AssertionError(f"{kind} {namespace}/{name}: {error}:\n{shown}") from None
        return seen or {}

    def _path(self, kind: str, namespace: str | None) -> str:
        return _API[kind].format(namespace=f"namespaces/{namespace}")

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Send a request to a path of the API; a refusal is an answer too."""
        answer = self._send(method, path, body)
        try:
            content: Object = json.loads(answer.data)
        except ValueError:
            content = {"message": answer.data.decode(errors="replace")}
        return Answer(answer.status, content, tuple(answer.headers.getlist("Warning")))

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, **how: Any) -> Any:
        headers = urllib3.HTTPHeaderDict({"Accept": "application/json", "Content-Type": "application/json"})
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        if self.user:
            headers["Impersonate-User"] = self.user
        for group in self._groups:
            headers.add("Impersonate-Group", group)
        if self._retries is not None:
            how["retries"] = self._retries
        token = self._api.configuration.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        return self._api.rest_client.pool_manager.request(
            method, self._server + path, body=json.dumps(body) if body is not None else None, headers=headers, **how
        )

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Object:
        answer = self.request(method, path, body)
        if answer.status >= 400:
            raise RefusedError(answer.status, answer.content.get("message", ""))
        return answer.content


def condition(body: Object | None, type_: str) -> Object:
    """A condition of an object; empty where it has none of that type."""
    conditions = (body or {}).get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == type_), {})


def complete(run: Object | None) -> bool:
    """Whether a Run has come to its end, whichever that is."""
    return condition(run, "Complete").get("status") == "True"


def refusal(hands: Objects, body: Object) -> str:
    """What the API server says against a creation; empty where it creates the object."""
    try:
        hands.create(body)
    except RefusedError as error:
        return f"{error.status}: {error.message}"
    return ""
