"""What a template may not contain, each refusal a sentence that names the place."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import orjson

from spacelift_aws.api.reasons import LogsMaskedReason
from spacelift_aws.api.run import MaskLogs, RunSpec
from spacelift_aws.controllers.run.delivery import DELIVERIES
from spacelift_aws.controllers.run.delivery.sources import PROFILES
from spacelift_aws.controllers.run.pod import masking
from spacelift_aws.controllers.run.pod.masking import Masking
from spacelift_aws.names import CHILD_PREFIX, CREDENTIAL_VARIABLES, OWN_PREFIX

_SECRET_REFERENCES = ("secretRef", "secretKeyRef", "secret", "nodePublishSecretRef", "imagePullSecrets")
"""Keys of mappings, or of lists of them, that refer to a Secret by `name`; `secretName` does so by itself."""

LARGEST = 1_000_000
"""Bytes of a pod's spec: two thirds of what etcd takes, so that the pod, which is larger, and the status fit too."""

MAX_DEPTH = 50
"""Levels of a pod's spec that are looked through: it has less than twenty."""


def refusal(spec: RunSpec, *, helper_image: str | None = None) -> str | None:
    """The first reason why this template is not executed, or None.

    `helper_image` is the image with the helper that masks logs, if there is one.
    """
    return next(_refusals(spec, helper_image), None)


def account_of(pod: Mapping[str, Any]) -> str:
    """The service account that a pod's spec asks for."""
    return str(pod.get("serviceAccountName") or pod.get("serviceAccount") or "default")


def own_account_refused(account: str) -> str:
    """Why no template may ask for the executor's own service account."""
    return (
        f"template.spec.serviceAccountName: `{account}` is the worker's own service account, and a pod with it could "
        "assume every role of its pool; name another one."
    )


def container_names(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a template's containers, init containers first."""
    return tuple(str(container["name"]) for _, container in _containers(pod))


def size_refused(pod: Any) -> str | None:
    """Why a pod's spec is too large, or nested too deeply to be looked through."""
    try:
        size = len(orjson.dumps(pod))
    except TypeError:  # more than 254 levels
        return f"template.spec: nested more than {MAX_DEPTH} levels deep, which no pod's spec needs."
    if size > LARGEST:
        return f"template.spec: {size:,} bytes, and at most {LARGEST:,} are allowed; make it smaller."
    return None


def masking_of(spec: RunSpec, helper_image: str | None) -> Masking | None:
    """What of the run's output can be masked; None if the template cannot even be looked through."""
    if shape_refused(spec.template.spec) is not None:
        return None
    return masking.plan(spec, credentialed_containers(spec), helper_image)


def caveats(spec: RunSpec) -> str:
    """What may keep the containers of a template of the right shape from using the credentials; empty if nothing."""
    delivery = DELIVERIES[spec.delivery]
    told = (delivery.caveat(container) for _, container in _credentialed(spec, spec.template.spec))
    return " ".join(filter(None, told))


def credentialed_containers(spec: RunSpec) -> tuple[str, ...]:
    """The names of the containers that receive credentials; of a valid template only."""
    if spec.credentials_for:
        return tuple(spec.credentials_for)
    return (str(spec.template.spec["containers"][0]["name"]),)


def _refusals(spec: RunSpec, helper_image: str | None) -> Iterator[str]:
    shape = shape_refused(spec.template.spec)
    if shape is not None:
        # What follows relies on the shape.
        yield shape
        return
    pod: Mapping[str, Any] = spec.template.spec
    yield from _containers_named(spec, pod)
    yield from _variables(pod)
    yield from _secrets(pod)
    size = size_refused(pod)
    if size is not None:
        yield size
    yield from _own_metadata(spec)
    yield from DELIVERIES[spec.delivery].refusals(pod, _credentialed(spec, pod))
    yield from masking.refusals(pod, _credentialed(spec, pod))
    planned = masking.plan(spec, credentialed_containers(spec), helper_image)
    if spec.mask_logs is MaskLogs.REQUIRED and planned.reason is not LogsMaskedReason.MASKED:
        yield planned.message


def shape_refused(pod: Any) -> str | None:
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
                    f"{place}.env[{index}]: {variable['name']} is set by the run itself, and a value in the template "
                    "would override it; remove it."
                )
            elif variable.get("name") in PROFILES:
                yield (
                    f"{place}.env[{index}]: {variable['name']} makes SDKs ignore the run's credentials; remove it, or "
                    "list the profile's name under `profiles` with `delivery: File`."
                )


def _secrets(pod: Mapping[str, Any]) -> Iterator[str]:
    """Every reference to a run's Secret, wherever the pod API has or will have a place for one."""
    # A stack of (key, value, place, depth) instead of a recursion, which a deep template would exhaust.
    left: list[tuple[str, Any, str, int]] = [("", pod, "template.spec", 0)]
    while left:
        key, value, place, depth = left.pop()
        if depth > MAX_DEPTH:
            yield f"{place[:200]}…: nested more than {MAX_DEPTH} levels deep, which no pod's spec needs."
            return
        if isinstance(value, list):
            left += [(key, entry, f"{place}[{index}]", depth + 1) for index, entry in enumerate(value)]
        elif isinstance(value, Mapping):
            name = value.get("name") if key in _SECRET_REFERENCES else None
            if _is_credentials(name):
                yield _secret_refused(place, name)
            left += [(inner, entry, f"{place}.{inner}", depth + 1) for inner, entry in value.items()]
        elif key == "secretName" and _is_credentials(value):
            yield _secret_refused(place, value)


def _is_credentials(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and name.startswith(CHILD_PREFIX)


def _secret_refused(place: str, name: str) -> str:
    return (
        f"{place}: `{name}` is the name of a run's Secret (`{CHILD_PREFIX}…`), which is for that run alone; to give "
        "this run's credentials to a container, list it under credentialsFor."
    )


def _own_metadata(spec: RunSpec) -> Iterator[str]:
    metadata = spec.template.metadata
    for kind, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)) if metadata else ():
        for key in entries or ():
            if key.startswith(OWN_PREFIX):
                yield f"template.metadata.{kind}: `{key}` is reserved for the operator; remove it."


def _credentialed(spec: RunSpec, pod: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    names = credentialed_containers(spec)
    return [(place, container) for place, container in _containers(pod) if container["name"] in names]


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(kind) or ()):
            yield f"template.spec.{kind}[{index}]", container
