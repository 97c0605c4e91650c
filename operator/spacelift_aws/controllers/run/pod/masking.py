"""`maskLogs`: a helper in front of each command that holds credentials, which masks them in what the command prints.

    init container aws-run-mask ──copies itself──► emptyDir ◄──mounted, read-only── container terraform
      image: the operator's                         in memory                         command: [helper, --, terraform]

or, where API server and nodes have image volumes, without an init container:

    volume of the operator's image ◄──mounted, read-only── container terraform

The helper's source is `operator/mask`. Pure, as all that decides.
"""

import copy
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spacelift_aws.api.reasons import LogsMaskedReason
from spacelift_aws.api.run import MaskLogs, RunSpec
from spacelift_aws.controllers.run.delivery import DELIVERIES
from spacelift_aws.controllers.run.pod.helper import USER, Helper, HelperDelivery

INIT_CONTAINER = "aws-run-mask"
VOLUME = "spacelift-aws-mask"
MOUNT_PATH = "/spacelift-aws-mask"
"""A folder of its own at the root, because templates mount volumes at /run and /opt."""
HELPER = f"{MOUNT_PATH}/spacelift-aws-mask"
HELPER_VOICE = "spacelift-aws-mask: "
"""Begins every sentence of the helper's own."""

_HELPER_IN_IMAGE = "/usr/local/bin/spacelift-aws-mask"

_PATHS = {
    HelperDelivery.INIT_CONTAINER: HELPER,
    HelperDelivery.IMAGE: MOUNT_PATH + _HELPER_IN_IMAGE,
}
"""Where the helper is in a container that mounts the volume."""

_NODES = {
    ("kubernetes.io/arch", "beta.kubernetes.io/arch"): ("amd64", "arm64"),
    ("kubernetes.io/os", "beta.kubernetes.io/os"): ("linux",),
}
"""The labels of nodes that the helper is built for."""

_FIRST_PROCESSES = ("init", "my_init", "openrc-init", "runit-init", "s6-svscan", "systemd")
"""Of s6-overlay (`/init`), phusion's baseimage, OpenRC, runit, s6 and systemd."""

_ENTRY_POINTS = {"aws-cli": "aws", "opentofu": "tofu"}
"""What images start that are called otherwise."""


@dataclass(frozen=True, slots=True)
class Masking:
    """Which containers are masked; `Masked` if those are all that hold credentials, else why one is not."""

    containers: tuple[str, ...]
    reason: LogsMaskedReason
    message: str


def plan(spec: RunSpec, credentialed: Sequence[str], helper_image: str | None) -> Masking:
    """What can be masked in a pod of this template, whose containers can be looked through."""
    if spec.mask_logs is MaskLogs.NEVER:
        return Masking((), LogsMaskedReason.NOT_ASKED, "The Run has `maskLogs: Never`.")
    if not helper_image:
        message = "No image with the helper that masks logs is configured: set SPACELIFT_AWS_HELPER_IMAGE."
        return Masking((), LogsMaskedReason.NO_HELPER, message)
    foreign = _foreign_nodes(spec.template.spec)
    if foreign is not None:
        message = f"The helper that masks logs is built for Linux on amd64 and arm64; the template asks for {foreign}."
        return Masking((), LogsMaskedReason.NO_HELPER, message)
    hindrances = {
        container["name"]: hindrance
        for container in _containers(spec.template.spec)
        if container["name"] in credentialed and (hindrance := _hindrance(container)) is not None
    }
    masked = tuple(name for name in credentialed if name not in hindrances)
    if not hindrances:
        return all_masked(credentialed)
    reason = next(iter(hindrances.values()))[0]
    sentences = [message for _, message in hindrances.values()]
    if masked:
        sentences.append(f"What {_quoted(masked)} prints is masked.")
    return Masking(masked, reason, " ".join(sentences))


def all_masked(credentialed: Sequence[str]) -> Masking:
    """Nothing is left to wish for."""
    message = f"Secret access keys and session tokens are replaced by ***** in what {_quoted(credentialed)} prints."
    return Masking(tuple(credentialed), LogsMaskedReason.MASKED, message)


def _hindrance(container: Mapping[str, Any]) -> tuple[LogsMaskedReason, str] | None:
    """Why no helper can stand in front of this container's command, and what to change."""
    name, command = container["name"], container.get("command")
    if not isinstance(command, list) or not command:
        return LogsMaskedReason.NO_COMMAND, (
            f"Container `{name}` has no `command`, and the operator does not know what its image starts. To mask its "
            f'output, add it, such as `command: ["{_entry_point(container.get("image"))}"]`.'
        )
    if container.get("tty"):
        return LogsMaskedReason.TERMINAL, (
            f"Container `{name}` has a terminal, whose output cannot be masked. To mask it, remove `tty: true`."
        )
    return None


def _entry_point(image: Any) -> str:
    """What the image most likely starts: `terraform` for `docker.io/hashicorp/terraform:1.13`."""
    name = str(image or "").partition("@")[0].rpartition("/")[2].partition(":")[0]
    return _ENTRY_POINTS.get(name, name) or "terraform"


def _foreign_nodes(pod: Mapping[str, Any]) -> str | None:
    """The labels of nodes that the template insists on and the helper is not built for."""
    if _mapping(pod.get("os")).get("name") == "windows":
        return "Windows"
    for key, value in _mapping(pod.get("nodeSelector")).items():
        if not _fits({"key": key, "operator": "In", "values": [value]}):
            return f"nodes with {key}={value}"
    affinity = _mapping(_mapping(pod.get("affinity")).get("nodeAffinity"))
    required = _mapping(affinity.get("requiredDuringSchedulingIgnoredDuringExecution"))
    # Of the terms one has to hold, of a term's expressions all.
    terms = [_list(_mapping(term).get("matchExpressions")) for term in _list(required.get("nodeSelectorTerms"))]
    if terms and not any(all(_fits(_mapping(expression)) for expression in term) for term in terms):
        return "other nodes by its affinity"
    return None


def _fits(expression: Mapping[str, Any]) -> bool:
    """Whether a node that the helper is built for can meet the expression."""
    built_for = next((values for keys, values in _NODES.items() if expression.get("key") in keys), None)
    if built_for is None:
        return True
    values = _list(expression.get("values"))
    match expression.get("operator"):
        case "In":
            return any(value in values for value in built_for)
        case "NotIn":
            return any(value not in values for value in built_for)
        case _:
            return True


def add_to(pod: dict[str, Any], spec: RunSpec, masking: Masking, helper: Helper) -> None:
    """Put the helper into a pod's spec, in front of the commands of the containers that are masked.

    `helper.delivery` is one of the two ways.
    """
    if not masking.containers:
        return
    if helper.delivery is HelperDelivery.IMAGE:
        source: dict[str, Any] = {"image": {"reference": helper.image}}
    else:
        # First, because any init container of the template may hold credentials too.
        init_container = _init_container(helper, _mapping(pod.get("securityContext")))
        pod["initContainers"] = [init_container, *(pod.get("initContainers") or ())]
        # Three times what the helper needs; what lies there counts as memory of the init container.
        source = {"emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}
    pod["volumes"] = [*(pod.get("volumes") or ()), {"name": VOLUME, **source}]
    folder = DELIVERIES[spec.delivery].masked_files
    options = ["--files", folder] if folder is not None else []
    for name in spec.mask_from or ():
        options += ["--mask", name]
    for container in _containers(pod):
        if container["name"] in masking.containers:
            # `args` stay: the kubelet puts them behind `command`.
            container["command"] = [_PATHS[helper.delivery], *options, "--", *container["command"]]
            mount = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
            container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def _init_container(helper: Helper, of_pod: Mapping[str, Any]) -> dict[str, Any]:
    # The image's own user, or the pod's, so that a range of users that a namespace is given (OpenShift) is kept. Only
    # where the pod's is root has the container, which must not be, one of its own.
    needs_user = of_pod.get("runAsUser") == 0 and helper.security_context.get("runAsNonRoot")
    return {
        "name": INIT_CONTAINER,
        "image": helper.image,
        "command": [_HELPER_IN_IMAGE, "install", MOUNT_PATH],
        "resources": copy.deepcopy(dict(helper.resources)),
        "securityContext": {
            **({"runAsUser": USER} if needs_user else {}),
            **copy.deepcopy(dict(helper.security_context)),
        },
        # It has nothing secret to say, and what went wrong is to be the Run's message.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": VOLUME, "mountPath": MOUNT_PATH}],
    }


def masks_all(spec: RunSpec, masking: Masking) -> bool:
    """Whether every container of the template starts with the helper."""
    return all(container["name"] in masking.containers for container in _containers(spec.template.spec))


def behind_helper(container: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The command and arguments that the helper starts in a container of a pod, as the API server has it.

    None where the helper does not start. A webhook may have put a program in front that starts it in turn:
    `command: [vault-env]`, `args: [helper, --, …]`.
    """
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    at = next((index for index, word in enumerate(words) if word in _PATHS.values()), None)
    # No template has a volume of this name, so none can pretend.
    mounted = any(mount.get("name") == VOLUME for mount in container.get("volumeMounts") or ())
    if not mounted or at is None or "--" not in words[at:]:
        return None
    return tuple(words[words.index("--", at) + 1 :])


def must_be_first(command: Sequence[str]) -> bool:
    """Whether a command insists on being process 1 of its container, which it is not behind the helper."""
    return bool(command) and posixpath.basename(command[0]) in _FIRST_PROCESSES


def has_image_volume(pod: Mapping[str, Any]) -> bool:
    """Whether a pod's spec, as the API server has it, has the helper as a volume of its image, mounted somewhere."""
    volumes = (volume for volume in pod.get("volumes") or () if volume.get("name") == VOLUME)
    mounts = (mount for container in _containers(pod) for mount in container.get("volumeMounts") or ())
    return any("image" in volume for volume in volumes) and any(mount.get("name") == VOLUME for mount in mounts)


def refusals(pod: Mapping[str, Any], credentialed: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """What in a template is in the helper's way; `credentialed` are containers with credentials and their places."""
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(kind) or ()):
            if container["name"] == INIT_CONTAINER:
                yield (
                    f"template.spec.{kind}[{index}]: `{INIT_CONTAINER}` is the name of the init container of the "
                    "helper that masks logs; use another name."
                )
    for index, volume in enumerate(_list(pod.get("volumes"))):
        if _mapping(volume).get("name") == VOLUME:
            yield (
                f"template.spec.volumes[{index}]: `{VOLUME}` is the name of the volume with the helper that masks "
                "logs; use another name."
            )
    for place, container in credentialed:
        for index, mount in enumerate(_list(container.get("volumeMounts"))):
            path = _mapping(mount).get("mountPath")
            if isinstance(path, str) and _is_at_ours(path):
                yield (
                    f"{place}.volumeMounts[{index}]: {path} is where the helper that masks logs is mounted; mount it "
                    "elsewhere."
                )


def _is_at_ours(path: str) -> bool:
    return (posixpath.normpath("/" + path.lstrip("/")) + "/").startswith(f"{MOUNT_PATH}/")


def _containers(pod: Mapping[str, Any]) -> Iterator[Any]:
    yield from pod.get("initContainers") or ()
    yield from pod.get("containers") or ()


def _quoted(names: Sequence[str]) -> str:
    *others, last = [f"`{name}`" for name in names]
    return f"{', '.join(others)} and {last}" if others else last


def _mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is what the pod API has there; what is not, the API server refuses."""
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
