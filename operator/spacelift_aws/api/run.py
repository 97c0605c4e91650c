"""`Run`: one execution of a pod with credentials of its own."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict

from spacelift_aws.api import API_VERSION, RUNS
from spacelift_aws.api.awsintegration import Stack
from spacelift_aws.api.meta import INT32, DnsLabel, DnsSubdomain, Message, Model, ObjectMeta, Status, Time
from spacelift_aws.api.schema.markers import (
    VALIDATIONS,
    Cel,
    Column,
    Definition,
    Matches,
    anything,
    between,
    entries,
    length,
    rules,
    set_of,
)

VariableName = Annotated[
    str,
    length(1, 253),
    Matches(
        "^[A-Za-z_][A-Za-z0-9_.-]*$",
        "write an environment variable's name: a letter or _ first, then letters, digits and _.- only",
    ),
]
ProfileName = Annotated[
    str,
    length(1, 64),
    Matches(
        "^[A-Za-z0-9_.@+-]+$",
        "write a profile's name: letters, digits and _.@+- only, as AWS configuration files have them",
    ),
    Cel("self != 'default'", "remove `default`: the run's credentials are always those of the default profile"),
]


class RunType(StrEnum):
    """What kind of run it is."""

    PROPOSED = "Proposed"
    TRACKED = "Tracked"
    TASK = "Task"
    TESTING = "Testing"
    DESTROY = "Destroy"


class Delivery(StrEnum):
    """How credentials reach a run."""

    ENVIRONMENT = "Environment"
    FILE = "File"


class MaskLogs(StrEnum):
    """Whether secret values are masked in what a run prints."""

    AUTO = "Auto"
    REQUIRED = "Required"
    NEVER = "Never"


REQUESTER_LIMIT = 1024
"""Characters of a user's name that are kept."""


class Phase(StrEnum):
    """Where a Run stands; only forwards."""

    QUEUED = "Queued"
    PREPARING = "Preparing"
    RUNNING = "Running"
    FINISHED = "Finished"
    FAILED = "Failed"
    STOPPED = "Stopped"

    @property
    def rank(self) -> int:
        """Its place in time; the three ends share one."""
        return min(list(Phase).index(self), list(Phase).index(Phase.FINISHED))

    @property
    def terminal(self) -> bool:
        """Whether a Run never leaves it."""
        return self in (Phase.FINISHED, Phase.FAILED, Phase.STOPPED)


class IntegrationRef(Model):
    """Names an AwsIntegration."""

    name: DnsSubdomain
    """The AwsIntegration's name."""
    namespace: DnsLabel | None = None
    """The AwsIntegration's namespace, if it is not the Run's own; the AwsIntegration must allow that. With
    `generateCredentialsInWorker` it must be the Run's own."""


class PodTemplateMetadata(Model):
    """Labels and annotations of a run's pod."""

    labels: Annotated[dict[str, Annotated[str, length(0, 63)]], entries(128)] | None = None
    """Labels of the pod. Keys under aws.spacelift.io/ are the operator's own."""
    annotations: Annotated[dict[str, Annotated[str, length(0, 65536)]], entries(128)] | None = None
    """Annotations of the pod. Keys under aws.spacelift.io/ are the operator's own."""


class PodTemplate(Model):
    """The pod that a Run makes."""

    metadata: PodTemplateMetadata | None = None
    """Labels and annotations of the pod; the operator gives it its name."""
    spec: Annotated[Any, anything()]
    """The pod's spec, with every field that the cluster's API server knows (see `kubectl explain pod.spec`). It is
    checked when the pod is created. `restartPolicy` becomes Never."""


MUTABLE = ("stop", "ttlSecondsAfterFinished")


def _rules(schema: dict[str, Any]) -> None:
    """One rule for each immutable field, so that the refusal shows at it; new fields are immutable at once."""
    rules = [
        _immutable(name, always_there=name in schema["required"] or field.get("default") is not None)
        for name, field in schema["properties"].items()
        if name not in MUTABLE
    ]
    rules.append(
        Cel(
            "!has(self.profiles) || self.delivery == 'File'",
            "write `delivery: File` or remove profiles: variables have no profiles",
            ".profiles",
        )
    )
    rules.append(
        Cel(
            "self.stop || !oldSelf.stop",
            "stop is immutable once it is true: a stopped Run does not continue; create another Run instead",
            ".stop",
            forbidden=True,
        )
    )
    schema[VALIDATIONS] = [rule.schema() for rule in rules]


def _immutable(field: str, always_there: bool) -> Cel:
    """Adding or removing an optional field is a change too. (`self.?x == oldSelf.?x` exceeds the cost limit.)"""
    same = f"self.{field} == oldSelf.{field}"
    return Cel(
        same if always_there else f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})",
        f"{field} is immutable: only {' and '.join(MUTABLE)} of a Run's spec may change; create another Run instead",
        f".{field}",
        forbidden=True,
    )


def _ranks() -> str:
    return "{" + ", ".join(f"'{phase}': {phase.rank}" for phase in Phase) + "}"


class RunSpec(Model):
    """What to run, as whom, and for how long."""

    model_config = ConfigDict(json_schema_extra=_rules)

    integration_ref: IntegrationRef
    """The AwsIntegration whose role the run acts as."""
    type: RunType = RunType.TASK
    """What kind of run it is. Proposed only plans: it gets the session policies that the AwsIntegration has for that.
    The type reaches the run as TF_VAR_spacelift_run_type."""
    stack: Stack | None = None
    """The stack that the run belongs to. The AwsIntegration may restrict it; it becomes the session tag `stack` and
    reaches the run as TF_VAR_spacelift_stack_id."""
    worker_pool: DnsLabel = "default"
    """The worker pool that executes the run, if its AwsIntegration has `generateCredentialsInWorker`."""
    template: PodTemplate
    """The run's pod. Credentials and the computed TF_VAR_spacelift_… variables are added to it."""
    credentials_for: Annotated[tuple[DnsLabel, ...], set_of(1, 64)] | None = None
    """Names of the containers that receive the credentials, init containers included. By default the first of
    `template.spec.containers`."""
    delivery: Delivery = Delivery.ENVIRONMENT
    """How the credentials arrive. Environment: as the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN and AWS_SECURITY_TOKEN, the same for the container's whole life. File: as an AWS configuration
    file that SDKs read again before the credentials expire, for runs that outlive a session."""
    mask_logs: MaskLogs = MaskLogs.AUTO
    """Whether secret key and session token are replaced by ***** in what the containers print. Auto: where it can be
    done, and condition LogsMasked tells. Required: a template where it cannot be done is refused. Never: not at all."""
    mask_from: Annotated[tuple[VariableName, ...], set_of(1, 32)] | None = None
    """Names of environment variables of the masked containers. Their values are replaced too, each line by itself; a
    line of fewer than 8 characters is not replaced."""
    profiles: Annotated[tuple[ProfileName, ...], set_of(1, 32)] | None = None
    """Names of AWS profiles under which the credentials are also found, for programs whose configuration names one
    (`profile = "prod"` in a Terraform provider or backend). Only with `delivery: File`."""
    success_exit_codes: Annotated[tuple[Annotated[int, between(-(2**31), INT32)], ...], set_of(1, 64)] = (0,)
    """Exit codes with which a container has succeeded. `terraform plan -detailed-exitcode` ends with 2 where something
    is to be changed: write 0 and 2. `status.exitCode` shows the code itself."""
    starting_deadline_seconds: Annotated[int, between(1, INT32)] = 86400
    """How long the Run may wait for its containers to start, in seconds: for its AwsIntegration, its worker pool, an
    admission webhook or an image. A Run that has waited longer fails, so that it does not start when nobody expects it
    any more."""
    active_deadline_seconds: Annotated[int, between(1, INT32)] | None = None
    """How long the pod may exist before the run is ended, in seconds, also while no node can take it. By default
    without limit."""
    ttl_seconds_after_finished: Annotated[int, between(0, INT32)] | None = None
    """How long after its end the Run and its pod are deleted, in seconds. By default never. May be changed at any
    time."""
    stop: bool = False
    """Set to true to end the run: its pod is given its grace period, its credentials are deleted. Cannot be taken
    back."""


class RunStatus(Status):
    """How far a Run has come. It is for people: only its phase and times are believed, names are always computed."""

    model_config = rules(
        Cel(
            f"self.phase == oldSelf.phase || {_ranks()}[self.phase] > {_ranks()}[oldSelf.phase]",
            "phase only advances, from Queued through Preparing and Running to Finished, Failed or Stopped; "
            "a final phase is immutable",
            ".phase",
            forbidden=True,
        )
    )

    phase: Phase = Phase.QUEUED
    """Where the Run stands. Queued: it waits, and condition CredentialsIssued says why. Preparing: its pod is starting.
    Running: its containers run. Finished, Failed, Stopped: it has ended, and its credentials are deleted."""
    run_id: Annotated[str, length(0, 26)] | None = None
    """The run's ID, a ULID. It is the role session's name, so CloudTrail shows it with all that the run did."""
    requested_by: Annotated[str, length(0, REQUESTER_LIMIT)] | None = None
    """Who created the Run, by the name that the API server knows them under. Absent where the cluster cannot tell:
    before Kubernetes 1.36, and without the chart's admission policies."""
    executor: Annotated[str, length(0, 128)] | None = None
    """Who executes the run: `controller`, or `worker/` and the name of the worker pool that has taken it up."""
    pod_created_after: Annotated[str, length(0, 64)] | None = None
    """Set before the run's pod is created: the Run's resource version at that moment. A process that takes the Run
    over and finds no pod looks from there on for one that has gone, so that a Run is never executed twice."""
    pod_name: Annotated[str, length(0, 253)] | None = None
    """The name of the run's pod."""
    secret_name: Annotated[str, length(0, 253)] | None = None
    """The name of the Secret that holds the credentials while the run may need them."""
    role_arn: Annotated[str, length(0, 2048)] | None = None
    """The role that the run acts as."""
    assumed_role_arn: Annotated[str, length(0, 2048)] | None = None
    """The ARN under which AWS sees the run; it ends in the run ID."""
    credentials_expire_at: Time | None = None
    """When the run's credentials end."""
    started_at: Time | None = None
    """When the run's first container started."""
    finished_at: Time | None = None
    """When the run ended."""
    exit_code: Annotated[int, between(-(2**31), INT32)] | None = None
    """The exit code of the container that decided how the run ended."""
    message: Message | None = None
    """What a person should know at this moment, in a sentence."""
    cloud_trail_url: Annotated[str, length(0, 2048)] | None = None
    """Opens CloudTrail's event history in the AWS console, filtered by the run ID."""


class Run(Model):
    """One execution of a pod with AWS credentials of its own. They are issued for this run alone, traceable to it, and
    deleted when it ends."""

    definition: ClassVar[Definition] = Definition(
        kind="Run",
        plural=RUNS,
        short_name="awsrun",
        columns=(
            Column("Type", ".spec.type", "What kind of run it is"),
            Column("Phase", ".status.phase", "Where it stands"),
            Column("Integration", ".spec.integrationRef.name", "The AwsIntegration whose role it acts as"),
            Column("Run ID", ".status.runId", "Its ID, also the role session's name"),
            # Not `date`: that prints an age, and a moment to come as "<invalid>".
            Column("Expires", ".status.credentialsExpireAt", "When its credentials end"),
            Column("Requested by", ".status.requestedBy", "Who created it", wide=True),
            Column("Age", ".metadata.creationTimestamp", "How long ago it was created", "date"),
        ),
        selectable=(".status.runId", ".status.phase", ".spec.integrationRef.name"),
    )

    api_version: str = API_VERSION
    kind: str = "Run"
    metadata: ObjectMeta
    spec: RunSpec
    """What to run, as whom, and for how long. Immutable but for `stop` and `ttlSecondsAfterFinished`."""
    status: RunStatus = RunStatus()
    """How far the Run has come. For people: only its phase and times are believed, all names are computed."""
