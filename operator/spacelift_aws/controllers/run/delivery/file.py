"""`delivery: File`: credentials in a file that any AWS SDK reads again before they expire.

A Secret is mounted with two files. `config` is an AWS configuration whose default profile runs a `credential_process`,
and all that process does is print the other file, `credentials.json`. SDKs run it again when the expiry that it printed
draws near, and find what the kubelet has brought meanwhile.
"""

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from spacelift_aws.api.meta import format_time
from spacelift_aws.aws.sts import Credentials
from spacelift_aws.controllers.run.delivery import sources
from spacelift_aws.controllers.run.delivery.delivery import Places
from spacelift_aws.names import CREDENTIAL_VARIABLES

MOUNT_PATH = "/var/run/secrets/aws.spacelift.io"
VOLUME = "spacelift-aws-credentials"

EARLIER = timedelta(minutes=5)
"""The file names an end so much earlier than the true one: the Go SDK asks again only when it has come."""

VARIABLES = {
    "AWS_CONFIG_FILE": f"{MOUNT_PATH}/config",
    # Older SDKs for Go and JavaScript look at the configuration file only with this.
    "AWS_SDK_LOAD_CONFIG": "1",
    # A ~/.aws/credentials of the image would win over the file.
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}

_SHIELDS = {
    **dict.fromkeys((*CREDENTIAL_VARIABLES, *sources.OLDER_KEYS, sources.WEB_IDENTITY), ""),
    **dict.fromkeys(sources.PROFILES, "default"),
}
"""What an image or an `envFrom` may bring, and some SDK would prefer to the file: SDKs skip an empty variable, and the
default profile is the file's. An empty profile's name would be an error."""


class FileDelivery:
    """Two files in a mounted Secret, which is replaced before the credentials expire."""

    is_renewed = True
    masked_files = MOUNT_PATH
    remedy = "Use a service account without a role, exclude this pod from the webhook, or use `delivery: Environment`."

    def content(self, credentials: Credentials, profiles: Iterable[str]) -> dict[str, str]:
        """By file name (https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html)."""
        printed = {
            "Version": 1,
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            "Expiration": format_time(credentials.expires_at - EARLIER),
        }
        return {"config": config(profiles), "credentials.json": json.dumps(printed)}

    def annotations(self, own: Mapping[str, str], credentialed: Iterable[str]) -> dict[str, str]:
        """EKS's webhook skips the containers that have the file."""
        return sources.skipping(own, tuple(credentialed))

    def volumes(self, secret_name: str) -> list[dict[str, Any]]:
        """Whoever the container runs as has to read it, and nobody else sees it: hence readable by all."""
        secret = {"secretName": secret_name, "optional": False, "defaultMode": 0o444}
        return [{"name": VOLUME, "secret": secret}]

    def add_to(self, container: dict[str, Any], secret_name: str) -> None:
        """Mount the files and point SDKs to them.

        Never by `subPath`: such a mount is not updated.
        """
        mount = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
        own = [variable for variable in container.get("env") or () if variable.get("name") not in tuple(VARIABLES)]
        # Always, not only beside `envFrom`: an image may have keys of its own.
        container["env"] = own + [{"name": name, "value": value} for name, value in {**_SHIELDS, **VARIABLES}.items()]

    def caveat(self, container: Mapping[str, Any]) -> str | None:
        """None: what may come from elsewhere is shielded."""
        return None

    def is_in(self, pod: Mapping[str, Any], secret_name: str) -> bool:
        """Whether the pod has the volume with this run's Secret."""
        return any(
            one.get("name") == VOLUME and (one.get("secret") or {}).get("secretName") == secret_name
            for one in pod.get("volumes") or ()
        )

    def refusals(self, pod: Mapping[str, Any], credentialed: Places) -> Iterator[str]:
        """Variables, volumes and mounts that are in the way."""
        yield from _volumes_refused(pod.get("volumes") or [])
        for place, container in credentialed:
            yield from _variables_refused(place, container)
            yield from _mounts_refused(place, container.get("volumeMounts") or [])

    def hindrance(self, container: Mapping[str, Any], pod: Mapping[str, Any], secret_name: str) -> str | None:
        """Another source of credentials, or no file."""
        other = sources.found(container, _SHIELDS)
        if other is not None:
            return other
        # Of two variables with the same name the last counts.
        variables = {variable.get("name"): variable for variable in container.get("env") or ()}
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            if (variables.get(name) or {}).get("value") != VARIABLES[name]:
                return f"another {name} than the run's"
        mounted = any(_is_ours(mount) for mount in container.get("volumeMounts") or ())
        if not mounted or not self.is_in(pod, secret_name):
            return f"no mount of the run's credentials at {MOUNT_PATH}"
        return None


def config(profiles: Iterable[str]) -> str:
    """The AWS configuration, in which the default profile and these give the same credentials.

    The command needs neither quoting nor a shell: Python's SDK splits the line itself, most others hand it to `sh -c`.
    """
    sections = ["default", *(f"profile {name}" for name in profiles)]
    return "\n".join(f"[{section}]\ncredential_process = cat {MOUNT_PATH}/credentials.json\n" for section in sections)


def _variables_refused(place: str, container: Mapping[str, Any]) -> Iterator[str]:
    for index, variable in enumerate(container.get("env") or ()):
        name = variable.get("name")
        if name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            yield f"{place}.env[{index}]: {name} is set by the run itself with `delivery: File`; remove it."
    yield from sources.refusals(place, container)


def _volumes_refused(volumes: Any) -> Iterator[str]:
    if not isinstance(volumes, list):
        yield "template.spec.volumes: a list of volumes is needed here."
        return
    for index, one in enumerate(volumes):
        if isinstance(one, Mapping) and one.get("name") == VOLUME:
            yield f"template.spec.volumes[{index}]: `{VOLUME}` is the name of the run's own volume; use another name."


def _mounts_refused(place: str, mounts: Any) -> Iterator[str]:
    if not isinstance(mounts, list):
        yield f"{place}.volumeMounts: a list of mounts is needed here."
        return
    for index, mount in enumerate(mounts):
        path = mount.get("mountPath") if isinstance(mount, Mapping) else None
        if isinstance(path, str) and _meet(path):
            yield (
                f"{place}.volumeMounts[{index}]: {path} is at, above or below {MOUNT_PATH}, where the run's "
                "credentials are mounted with `delivery: File`; mount it elsewhere."
            )


def _meet(path: str) -> bool:
    """Whether one of a mount and ours covers the other; in most images /var/run is a link to /run."""
    theirs = posixpath.normpath("/" + path.lstrip("/")) + "/"
    return any(ours.startswith(theirs) or theirs.startswith(ours) for ours in (f"{MOUNT_PATH}/", f"{MOUNT_PATH[4:]}/"))


def _is_ours(mount: Mapping[str, Any]) -> bool:
    return (
        mount.get("name") == VOLUME
        and mount.get("mountPath") == MOUNT_PATH
        and not mount.get("subPath")
        and not mount.get("subPathExpr")
    )
