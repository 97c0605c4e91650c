"""What a template may not contain, each refusal a sentence that names the place."""

from collections.abc import Iterator, Mapping
from typing import Any

from spacelift_aws.api.run import RunSpec
from spacelift_aws.names import CHILD_PREFIX, OWN_PREFIX

CREDENTIAL_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")

_SECRET_REFERENCES = {
    # key of the mapping that refers to a Secret -> key of the name in it
    "secretRef": "name",
    "secretKeyRef": "name",
    "secret": "secretName",
    "nodePublishSecretRef": "name",
}


def refusal(spec: RunSpec, *, worker_service_account: str | None = None) -> str | None:
    """The first reason why this template is not executed, or None.

    `worker_service_account` is the executor's own account where the Run shares a namespace with it: a pod under
    that account could assume every role of the tenant.
    """
    return next(_refusals(spec, worker_service_account), None)


def credentialed_containers(spec: RunSpec) -> tuple[str, ...]:
    """The names of the containers that receive credentials; of a valid template only."""
    if spec.credentials_for:
        return tuple(spec.credentials_for)
    return (str(spec.template.spec["containers"][0]["name"]),)


def _refusals(spec: RunSpec, worker_service_account: str | None) -> Iterator[str]:
    shape = _shape(spec.template.spec)
    if shape is not None:
        # What follows relies on the shape.
        yield shape
        return
    pod: Mapping[str, Any] = spec.template.spec
    yield from _containers_named(spec, pod)
    yield from _variables(pod)
    yield from _secrets(pod, "template.spec")
    yield from _own_metadata(spec)
    yield from _restarts(spec, pod)
    if worker_service_account and worker_service_account in (pod.get("serviceAccountName"), pod.get("serviceAccount")):
        yield (
            f"template.spec.serviceAccountName: `{worker_service_account}` is the worker's own service account, "
            "which can assume every role of the pool; name another one."
        )


def _shape(pod: Any) -> str | None:
    """Whether containers and their variables can be looked through at all; the API server judges the rest."""
    if not isinstance(pod, Mapping):
        return "template.spec: a pod's spec is needed here, with at least one container."
    if not pod.get("containers"):
        return "template.spec.containers: at least one container is needed."
    for kind in ("initContainers", "containers"):
        containers = pod.get(kind) or []
        if not isinstance(containers, list):
            return f"template.spec.{kind}: a list of containers is needed here."
        for index, container in enumerate(containers):
            place = f"template.spec.{kind}[{index}]"
            if not isinstance(container, Mapping) or not isinstance(container.get("name"), str):
                return f"{place}: a container with a name is needed here."
            for key in ("env", "envFrom"):
                entries = container.get(key) or []
                if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
                    return f"{place}.{key}: a list of objects is needed here."
    return None


def _containers_named(spec: RunSpec, pod: Mapping[str, Any]) -> Iterator[str]:
    known = [container["name"] for _, container in _containers(pod)]
    for name in spec.credentials_for or ():
        if name not in known:
            names = ", ".join(f"`{container}`" for container in known)
            yield f"credentialsFor: the template has no container `{name}`; it has {names}."


def _variables(pod: Mapping[str, Any]) -> Iterator[str]:
    for place, container in _containers(pod):
        for index, variable in enumerate(container.get("env") or ()):
            if variable.get("name") in CREDENTIAL_VARIABLES:
                yield (
                    f"{place}.env[{index}]: {variable['name']} is set by the run itself, and a value of the template "
                    "would win over it; remove it."
                )


def _secrets(value: Any, place: str) -> Iterator[str]:
    """Every reference to a run's Secret, wherever the pod API has or will have a place for one."""
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _secrets(entry, f"{place}[{index}]")
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            names = {inner.get(_SECRET_REFERENCES.get(key, "")), inner.get("name") if key == "secret" else None}
            for name in names:
                if isinstance(name, str) and name.startswith(CHILD_PREFIX):
                    yield _secret_refused(f"{place}.{key}", name)
        if key == "imagePullSecrets" and isinstance(inner, list):
            for index, entry in enumerate(inner):
                name = entry.get("name") if isinstance(entry, Mapping) else None
                if isinstance(name, str) and name.startswith(CHILD_PREFIX):
                    yield _secret_refused(f"{place}.{key}[{index}]", name)
        yield from _secrets(inner, f"{place}.{key}")


def _secret_refused(place: str, name: str) -> str:
    return (
        f"{place}: `{name}` is a name of run credentials (`{CHILD_PREFIX}…`), which belong to one run alone; "
        "list the containers that need this run's own under credentialsFor."
    )


def _own_metadata(spec: RunSpec) -> Iterator[str]:
    metadata = spec.template.metadata
    for kind, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)) if metadata else ():
        for key in entries or ():
            if key.startswith(OWN_PREFIX):
                yield f"template.metadata.{kind}: `{key}` is the operator's own; remove it."


def _restarts(spec: RunSpec, pod: Mapping[str, Any]) -> Iterator[str]:
    if spec.delivery != "Environment":
        return
    credentialed = credentialed_containers(spec)
    for place, container in _containers(pod):
        if container["name"] in credentialed and (
            container.get("restartPolicy") or container.get("restartPolicyRules")
        ):
            yield (
                f"{place}.restartPolicy: a container that starts again would do so with the credentials of its first "
                "start, dead by then; remove it, or use `delivery: File`."
            )


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(kind) or ()):
            yield f"template.spec.{kind}[{index}]", container
