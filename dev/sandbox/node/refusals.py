"""What the node cannot do, refused by a sentence that names the field. Pure.

A field is honoured, ignored on purpose, or refused; one that nobody here has heard of is refused, unless it is empty or
false.

Ignored on purpose, because a process of this machine behaves the same without it, or because it only matters to a
scheduler or to an image: `image`, `imagePullPolicy`, `imagePullSecrets`, `resources`, `ports`, `dnsPolicy`,
`dnsConfig`, `hostNetwork`, `subdomain`, `enableServiceLinks`, `nodeSelector`, `affinity`, `tolerations`,
`topologySpreadConstraints`, priorities, `terminationMessagePath`, `os`, the service account's token (its projected
volume and mount), and of `securityContext` what only takes rights away: `runAsNonRoot`, `allowPrivilegeEscalation`,
`readOnlyRootFilesystem`, `capabilities`, `seccompProfile`, `appArmorProfile`, `seLinuxOptions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

REASON = "UnsupportedBySandboxNode"

_POD = frozenset(
    {
        "containers",
        "initContainers",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "serviceAccountName",
        "nodeName",
        "hostname",
        "schedulerName",
        "schedulingGates",
        "volumes",
        "securityContext",
        "serviceAccount",
        "automountServiceAccountToken",
        "imagePullSecrets",
        "dnsPolicy",
        "dnsConfig",
        "hostNetwork",
        "subdomain",
        "enableServiceLinks",
        "nodeSelector",
        "affinity",
        "tolerations",
        "topologySpreadConstraints",
        "priority",
        "priorityClassName",
        "preemptionPolicy",
        "os",
    }
)
_CONTAINER = frozenset(
    {
        "name",
        "image",
        "imagePullPolicy",
        "command",
        "args",
        "workingDir",
        "env",
        "envFrom",
        "resources",
        "ports",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "securityContext",
        "volumeMounts",
        "restartPolicy",
        "resizePolicy",
    }
)
_SECURITY = frozenset(
    {
        "runAsNonRoot",
        "allowPrivilegeEscalation",
        "readOnlyRootFilesystem",
        "capabilities",
        "seccompProfile",
        "appArmorProfile",
        "seLinuxOptions",
    }
)
_SOURCES = frozenset({"fieldRef", "secretKeyRef", "configMapKeyRef"})
_TOKEN_VOLUME = "kube-api-access-"
_SECRET_VOLUME = frozenset({"secretName", "optional", "defaultMode"})
_CONFIG_VOLUME = frozenset({"name", "items", "defaultMode"})
_MOUNT = frozenset({"name", "mountPath", "readOnly"})
_MOUNTABLE = ("/var/run/secrets/", "/run/workspace")


def refusal(pod: Mapping[str, Any]) -> str | None:
    """The first thing about the pod that this node cannot do, as a sentence, or None."""
    return next(_refusals(pod["spec"]), None)


def _refusals(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown("spec", spec, _POD)
    yield from _unknown("spec.securityContext", spec.get("securityContext") or {}, _SECURITY)
    if spec.get("restartPolicy") != "Never":
        yield f"spec.restartPolicy is {spec.get('restartPolicy')}: this node runs a pod once only; write Never"
    for i, volume in enumerate(spec.get("volumes") or []):
        place = f"spec.volumes[{i}] ({volume['name']})"
        if "secret" in volume:
            yield from _unknown(f"{place}.secret", volume["secret"], _SECRET_VOLUME)
        elif "configMap" in volume:
            yield from _unknown(f"{place}.configMap", volume["configMap"], _CONFIG_VOLUME)
        elif "emptyDir" in volume:
            yield from _unknown(f"{place}.emptyDir", volume["emptyDir"], frozenset({"sizeLimit"}))
        elif "projected" not in volume or not volume["name"].startswith(_TOKEN_VOLUME):
            yield f"{place}: a local process can be given no volume but a Secret, a ConfigMap and an empty folder"
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or []):
            yield from _container(f"spec.{group}[{i}]", container, sidecar_allowed=group == "initContainers")


def _container(place: str, container: Mapping[str, Any], *, sidecar_allowed: bool) -> Iterator[str]:
    yield from _unknown(place, container, _CONTAINER)
    yield from _unknown(f"{place}.securityContext", container.get("securityContext") or {}, _SECURITY)
    if not container.get("command"):
        yield f"{place}.command is not set: this node knows no images, so it cannot know the image's entry point"
    restart = container.get("restartPolicy")
    if restart not in (None, "Never") and not (sidecar_allowed and restart == "Always"):
        yield f"{place}.restartPolicy is {restart}: this node starts a container once only, sidecars apart"
    if container.get("terminationMessagePolicy", "File") != "File":
        yield f"{place}.terminationMessagePolicy: this node reports no termination messages"
    for i, mount in enumerate(container.get("volumeMounts") or []):
        yield from _unknown(f"{place}.volumeMounts[{i}]", mount, _MOUNT)
        if not mount["mountPath"].startswith(_MOUNTABLE):
            yield f"{place}.volumeMounts[{i}] ({mount['mountPath']}): this node mounts below {_MOUNTABLE[0]} only"
    for i, variable in enumerate(container.get("env") or []):
        yield from _unknown(f"{place}.env[{i}].valueFrom", variable.get("valueFrom") or {}, _SOURCES)


def _unknown(place: str, fields: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    for name, value in fields.items():
        if name not in known and value not in (None, False, "", [], {}):
            yield f"{place}.{name} is not supported by this node, which runs containers as local processes"
