"""Gathers what `doctor` looks at, as far as the caller's rights go. Of Secrets nothing but metadata is asked for."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from spacelift_aws.api import GROUP, VERSION
from spacelift_aws.names import LABEL_RUN_ID, SECRET_TYPE
from spacelift_aws_cli.kube import resources as kinds
from spacelift_aws_cli.kube.errors import ApiError, KubeError
from spacelift_aws_cli.model.doctor import Facts
from spacelift_aws_cli.model.objects import Object, name_of

if TYPE_CHECKING:
    from spacelift_aws_cli.kube.client import Client

T = TypeVar("T")

CONTROLLER = "spacelift-aws-controller"
OWN_RIGHTS = (
    ("create Runs", "create", kinds.RUN, ""),
    ("watch Runs", "watch", kinds.RUN, ""),
    ("stop Runs", "patch", kinds.RUN, ""),
    ("read AwsIntegrations", "list", kinds.INTEGRATION, ""),
    ("read pods", "get", kinds.POD, ""),
    ("read logs", "get", kinds.POD, "log"),
    ("bring a folder along", "create", kinds.CONFIG_MAP, ""),
    ("use every AwsIntegration", "use", kinds.INTEGRATION, ""),
    ("propose with every AwsIntegration", "propose", kinds.INTEGRATION, ""),
)
OPERATORS_RIGHTS = (
    ("get", kinds.RUN, ""),
    ("watch", kinds.RUN, ""),
    ("patch", kinds.RUN, "status"),
    ("watch", kinds.INTEGRATION, ""),
    ("patch", kinds.INTEGRATION, "status"),
    ("create", kinds.POD, ""),
    ("delete", kinds.POD, ""),
    ("create", kinds.SECRET, ""),
    ("delete", kinds.SECRET, ""),
)
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def survey(client: "Client", namespace: str, operator_namespace: str, *, everywhere: bool) -> Facts:
    """All facts. `everywhere`: of all namespaces, as far as they may be read. Raises KubeError where none is."""
    import ssl
    from email.utils import parsedate_to_datetime

    version, date, ends = client.greeting()
    place = None if everywhere else namespace
    leases = _readable(lambda: client.find(kinds.LEASE, place))
    controllers = _readable(lambda: client.find(kinds.LEASE, operator_namespace))
    return Facts(
        now=datetime.now(UTC),
        server=client.access.server,
        namespace=namespace,
        operator_namespace=operator_namespace,
        user=_readable(client.who_am_i) or "",
        version=str(version.get("gitVersion", "?")),
        server_time=parsedate_to_datetime(date) if date else None,
        certificate_ends=datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if ends else None,
        verified_tls=not client.access.cluster.get("insecure-skip-tls-verify"),
        kinds=_readable(lambda: _served(client)),
        definitions=_readable(lambda: client.find(kinds.DEFINITION)),
        may={what: client.may(verb, kind, namespace, sub=sub) for what, verb, kind, sub in OWN_RIGHTS},
        operator_may=_readable(lambda: _operators_rights(client, operator_namespace, namespace)),
        deployments=_readable(lambda: _deployments(client, operator_namespace)),
        leases=_merged(leases, controllers),
        policies=_readable(lambda: client.find(kinds.POLICY)),
        bindings=_readable(lambda: client.find(kinds.BINDING)),
        integrations=_readable(lambda: client.find(kinds.INTEGRATION, place)),
        runs=_readable(lambda: client.find(kinds.RUN, place)),
        secrets=_readable(lambda: _secrets(client, place)),
        pods=_readable(lambda: client.find(kinds.POD, place, labelSelector=LABEL_RUN_ID)),
    )


def _readable(ask: Callable[[], T]) -> T | None:
    """The answer, None where it is refused: that is a fact too."""
    with suppress(ApiError):
        return ask()
    return None


def _served(client: "Client") -> list[str]:
    found = client.call("GET", f"/apis/{GROUP}/{VERSION}")
    return [str(one["name"]) for one in found.get("resources") or ()]


def _deployments(client: "Client", namespace: str) -> list[Object]:
    return client.find(kinds.DEPLOYMENT, namespace, labelSelector="app.kubernetes.io/name=spacelift-aws-operator")


def _merged(some: list[Object] | None, more: list[Object] | None) -> list[Object] | None:
    if some is None and more is None:
        return None
    known = {one["metadata"]["uid"]: one for one in [*(some or ()), *(more or ())]}
    return [one for one in known.values() if name_of(one).startswith((CONTROLLER, "spacelift-aws-worker-"))]


def _operators_rights(client: "Client", operator_namespace: str, namespace: str) -> Mapping[str, bool]:
    user = f"system:serviceaccount:{operator_namespace}:{CONTROLLER}"
    found = {}
    for verb, kind, sub in OPERATORS_RIGHTS:
        attributes = {"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace}
        if sub:
            attributes["subresource"] = sub
        body: dict[str, Any] = {**kinds.OTHERS_REVIEW.head, "spec": {"user": user, "resourceAttributes": attributes}}
        answer = client.call("POST", kinds.OTHERS_REVIEW.path(), body=body)
        found[f"{verb} {kind.plural}{f'/{sub}' if sub else ''}"] = bool(answer["status"].get("allowed"))
    return found


def _secrets(client: "Client", namespace: str | None) -> list[Object]:
    query = {"fieldSelector": f"type={SECRET_TYPE}"}
    body = client.call("GET", kinds.SECRET.path(namespace), query=query, accept=_METADATA)
    return list(body.get("items") or ())


def operators_log(client: "Client", namespace: str) -> dict[str, str]:
    """The last lines of each of the operator's pods, by the pod's name; empty where they may not be read."""
    found = {}
    with suppress(KubeError):
        for pod in client.find(kinds.POD, namespace, labelSelector="app.kubernetes.io/name=spacelift-aws-operator"):
            path = kinds.POD.path(namespace, name_of(pod), "log")
            with suppress(KubeError):
                found[name_of(pod)] = client.text(path, {"tailLines": "2000"})
    return found
