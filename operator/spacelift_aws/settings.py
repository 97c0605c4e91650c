"""Every setting of the operator, as environment variables with the prefix `SPACELIFT_AWS_`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    seconds = float(value)
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"write a number of seconds above 0 and up to {_LONGEST}, a year")
    return timedelta(seconds=seconds)


_LONGEST = 365 * 24 * 3600


Seconds = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]
"""A duration, written as a number of seconds."""


_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Principal = Annotated[
    str, StringConstraints(pattern=r"^(\d{12}|arn:aws[a-z-]*:iam::\d{12}:(root|(role|user)/[!-~]+))$")
]
"""What a trust policy may name: the ARN of a role, a user or an account's root, or an account's number."""

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""A DNS label: a pool's or a namespace's name."""


def _as_text(amount: object) -> object:
    return str(amount) if isinstance(amount, int | float) and not isinstance(amount, bool) else amount


Quantity = Annotated[str, BeforeValidator(_as_text), StringConstraints(pattern=r"^\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi)?$")]
"""An amount of a resource, as in a pod."""


class HelperResources(BaseModel):
    """Resources of the init container that brings the helper that masks logs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity] = {}
    limits: dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity] = {}

    @model_validator(mode="after")
    def _fit(self) -> Self:
        for name, limit in self.limits.items():
            if _amount(self.requests.get(name, "0")) > _amount(limit):
                raise ValueError(f"the request of {name} is above its limit")
        memory = self.limits.get("memory")
        if memory is not None and _amount(memory) < _amount(_LEAST_MEMORY):
            raise ValueError(f"a memory limit below {_LEAST_MEMORY} has no room for the helper and its copy in memory")
        return self


_LEAST_MEMORY = "16Mi"


def _amount(quantity: str) -> float:
    number = quantity.rstrip("mkiKMG")
    units = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
    return float(number) * units[quantity.removeprefix(number)]


_SECURITY_FIELDS = frozenset(
    (
        "allowPrivilegeEscalation",
        "appArmorProfile",
        "capabilities",
        "privileged",
        "procMount",
        "readOnlyRootFilesystem",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "seLinuxOptions",
        "seccompProfile",
    )
)


def _known_fields(context: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(context) - _SECURITY_FIELDS)
    if unknown:
        raise ValueError(f"a container's security context on Linux has no {', '.join(unknown)}")
    return context


HelperSecurityContext = Annotated[dict[str, Any], AfterValidator(_known_fields)]
"""A container's security context; of its values the API server judges."""


def _own_namespace() -> str:
    """Where this pod runs; empty outside a cluster."""
    return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else ""


class Settings(BaseSettings):
    """Read once at start-up. Durations exist as settings so that tests can shorten them; the defaults are meant."""

    model_config = SettingsConfigDict(env_prefix="SPACELIFT_AWS_", use_attribute_docstrings=True, frozen=True)

    installation: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{2,63}$")] | None = None
    """Name of this installation, the first part of every external ID. By default the UID of the namespace
    `kube-system`, which dies with the cluster, and every role's trust with it: set it."""

    principal: Principal | None = None
    """ARN that roles must trust, where the operator cannot find out its own: a role with a path under EKS Pod
    Identity, or a whole account."""

    region: str | None = None
    """Region of the STS endpoint for integrations that name none; by default boto3's own (`AWS_REGION`)."""

    suggested_policies: tuple[str, ...] = ("arn:aws:iam::aws:policy/PowerUserAccess",)
    """ARNs of the policies that the console's role wizard has ticked, as JSON list."""

    namespace: Label | Literal[""] = Field(default_factory=_own_namespace)
    """Where this process itself runs and its replicas compete for a Lease; in a cluster it is found. A controller
    without one, outside a cluster, competes with nobody and acts at once."""

    namespaces: tuple[Label, ...] = ()
    """Where Runs and integrations are watched, as JSON list; by default everywhere, and by a worker where it runs
    itself. With a list nothing outside these namespaces is read, not even the UID of `kube-system`."""

    jobs: bool = False
    """Whether Jobs with `managedBy: aws.spacelift.io/run` are executed as Runs. Off, nothing lists Jobs."""

    probes_per_second: float = Field(default=50.0, gt=0, le=300)
    """STS calls a second that verify trust, shared fairly among namespaces; AWS grants an account 600 a second."""

    sts_timeout: Seconds = timedelta(seconds=10)
    """How long one attempt of a call of STS may take; there are two."""

    confirm_after: Seconds = timedelta(minutes=2)
    """How long after a first failed round a verified integration is asked again before it loses its verification."""

    retry_first: Seconds = timedelta(seconds=2)
    """First delay before trust that was found wanting, or that STS did not speak about, is verified again; doubled
    each time, where it was found wanting up to `retry_last`."""

    retry_last: Seconds = timedelta(minutes=1)
    """Longest delay in the first minutes."""

    retry_slowly: Seconds = timedelta(minutes=10)
    """Delay between verifications after the first minutes, for ever."""

    relist_every: Seconds = timedelta(minutes=5)
    """How often all objects are listed and compared with what the watches told."""

    creation_in_doubt: Seconds = timedelta(minutes=1)
    """How long a Secret's creation that was never answered may still arrive: the API server's request timeout."""

    denied_for: Seconds = timedelta(minutes=5)
    """How long STS may refuse a Run, while its integration's trust holds, before the Run fails."""

    renew_after: float = Field(default=0.5, gt=0, le=0.5)
    """After which part of a session's life the credentials of a Run with `delivery: File` are renewed. Not later than
    at half of it: a kubelet may need a minute and a half to bring them to the pod, and the file of the shortest session
    names its end after ten of fifteen minutes."""

    helper_image: str | None = None
    """Image with the helper that masks logs, `/usr/local/bin/spacelift-aws-mask`; the chart sets the operator's own. It
    is pulled for the runs' pods, in their namespaces. Without it no log is masked."""

    helper_delivery: Literal["Auto", "Image", "InitContainer"] = "Auto"
    """How the helper comes into a pod: as a volume of its image (`volumes[].image`), by an init container that copies
    it, or `Auto`: as a volume where the API server has image volumes and no node has refused one, else by the other."""

    helper_resources: HelperResources | None = None
    """`requests` and `limits` of that init container, as JSON; by default 100m CPU and 32Mi memory, as both."""

    helper_security_context: HelperSecurityContext | None = None
    """Security context of that init container, as JSON; by default what Pod Security's `restricted` asks for."""

    worker_first: Seconds = timedelta(minutes=1)
    """How long the controller leaves the end of a worker's Run (`stop`, a deadline, an ended pod) to the worker."""

    health_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the probes, `/healthz` and `/readyz`; none by default."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of `/metrics`; none by default. It may be that of the probes, where no certificate is given."""

    metrics_certificate: Path | None = None
    """Folder with `tls.crt` and `tls.key` for `/metrics`. With it, a scraper must show a token whose owner may
    `get` that path in the cluster; without it, everybody who reaches the port may read them."""

    trust_requester: bool = False
    """Whether the annotation `aws.spacelift.io/requested-by` of Runs is believed. Only where the chart's admission
    policies are in force, which the chart knows, nobody can write another's name there."""

    audit_log: str = "stdout"
    """Where the audit trail goes: `stdout`, a file's path, or `off`."""

    log_format: Literal["auto", "plain", "json"] = "auto"
    """How log lines look; `auto` is `json` in a cluster and `plain` elsewhere."""

    log_level: Literal["DEBUG", "INFO", "WARNING"] = "INFO"
    """What is logged. Bodies of requests and answers never are."""

    @model_validator(mode="after")
    def _metrics_fit(self) -> Self:
        if self.metrics_certificate is None:
            return self
        if self.metrics_port is None or self.metrics_port == self.health_port:
            raise ValueError(
                "set SPACELIFT_AWS_METRICS_PORT to a port of its own: with SPACELIFT_AWS_METRICS_CERTIFICATE metrics "
                "are encrypted, and probes are not"
            )
        missing = [name for name in ("tls.crt", "tls.key") if not (self.metrics_certificate / name).is_file()]
        if missing:
            raise ValueError(f"SPACELIFT_AWS_METRICS_CERTIFICATE names a folder without {' and '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _namespaces_fit(self) -> Self:
        if len(set(self.namespaces)) < len(self.namespaces):
            raise ValueError("SPACELIFT_AWS_NAMESPACES names a namespace twice")
        if self.namespaces and self.installation is None:
            raise ValueError(
                "set SPACELIFT_AWS_INSTALLATION: with SPACELIFT_AWS_NAMESPACES nothing outside these namespaces is "
                "looked at, and so not the UID of kube-system, its default"
            )
        return self


class WorkerSettings(Settings):
    """What a worker has besides. `installation` is needed here: a worker may not look at kube-system."""

    pool: Label = "default"
    """Name of the pool: the `spec.workerPool` of the Runs that it executes."""

    pool_silent_after: Seconds = timedelta(minutes=2)
    """After how long without renewal of its Lease another pool of the same namespace counts as removed, and the Runs
    that it began are brought to their end by this one."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.installation is None:
            raise ValueError("set SPACELIFT_AWS_INSTALLATION to the same as the controller's")
        if not self.namespace:
            raise ValueError("set SPACELIFT_AWS_NAMESPACE to the worker's own namespace")
        return self
