"""`AwsIntegration`: the right to act as one IAM role, given to the Runs of some namespaces."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from spacelift_aws.api import API_VERSION, AWSINTEGRATIONS
from spacelift_aws.api.meta import DnsLabel, Duration, Message, Model, ObjectMeta, Status, Time
from spacelift_aws.api.schema.markers import (
    Cel,
    Column,
    Definition,
    Matches,
    at_least,
    between,
    entries,
    items,
    length,
    map_by,
    rules,
    set_of,
)

RoleArn = Annotated[
    str,
    length(20, 2048),
    Matches(
        "^arn:aws[a-z-]*:iam::[0-9]{12}:role/([!-~]{1,511}/)?[A-Za-z0-9_+=,.@-]{1,64}$",
        "write the ARN of an IAM role, like arn:aws:iam::123456789012:role/deploy (a path before the name is fine)",
    ),
]
PolicyArn = Annotated[
    str,
    length(20, 2048),
    Matches(
        "^arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/([!-~]{1,511}/)?[A-Za-z0-9_+=,.@-]{1,128}$",
        "write the ARN of a managed policy, like arn:aws:iam::aws:policy/ReadOnlyAccess",
    ),
]
ExternalId = Annotated[
    str,
    length(2, 1224),
    Matches("^[A-Za-z0-9_+=,.@:/-]+$", "write letters, digits and _+=,.@:/- only: STS accepts nothing else"),
]
Region = Annotated[
    str,
    length(8, 32),
    Matches("^[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}$", "write a region's code, like eu-central-1"),
]
SessionPolicy = Annotated[
    str,
    length(2, 2000),
    Matches(
        "^[\\t\\n\\r ]*\\{[\\t\\n\\r -ÿ]*\\}[\\t\\n\\r ]*$",
        "write an IAM policy document as a JSON object in text, from { to }, without characters beyond Latin-1",
    ),
]
Stack = Annotated[
    str,
    length(1, 256),
    Matches(
        "^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]+$",
        "write letters, digits, spaces and _.:/=+@- only: a session tag's value holds nothing else",
    ),
]
Statement = Annotated[str, length(0, 8192)]
"""A policy, or one statement of it, as JSON in text."""


class NamespacesFrom(StrEnum):
    """Which namespaces' Runs may use an integration."""

    SAME = "Same"
    ALL = "All"
    SELECTOR = "Selector"


class LabelSelectorRequirement(Model):
    """One requirement on an object's labels."""

    model_config = rules(
        Cel(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 "
            ": !has(self.values) || size(self.values) == 0",
            "give at least one of values with operator In or NotIn, and none with Exists or DoesNotExist",
        )
    )

    key: Annotated[str, length(1, 317)]
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value relates to `values`."""
    values: Annotated[tuple[Annotated[str, length(0, 63)], ...], items(0, 64)] | None = None
    """The values that In and NotIn compare with."""


class LabelSelector(Model):
    """A choice among namespaces by their labels; all demands must be met."""

    match_labels: Annotated[dict[str, Annotated[str, length(0, 63)]], entries(64)] | None = None
    """Labels that a namespace must have, with these values."""
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], items(0, 32)] | None = None
    """Requirements beyond equality."""


class AllowedNamespaces(Model):
    """Which namespaces' Runs may use an integration."""

    model_config = rules(
        Cel(
            "(self.from == 'Selector') == has(self.selector)",
            "give a selector if from is Selector, and only then: add one, remove it, or change from",
        )
    )

    from_: NamespacesFrom = Field(NamespacesFrom.SAME, alias="from")
    """Same: the integration's own namespace. All: every namespace of the cluster. Selector: those that `selector`
    chooses by their labels."""
    selector: LabelSelector | None = None
    """The namespaces that may refer to the integration, by their labels; an empty one chooses all. Only with
    `from: Selector`."""


class SessionPolicies(Model):
    """Session policies: a session gets no more than both they and the role allow."""

    session_policy: SessionPolicy | None = None
    """An IAM policy document as JSON. Sessions may do only what both it and the role's own policies allow."""
    session_policy_arns: Annotated[tuple[PolicyArn, ...], set_of(0, 9)] | None = None
    """ARNs of managed policies that limit sessions in the same way; with `sessionPolicy` too, what any of them allows
    is allowed. STS takes ten; the tenth is kept for the operator's verification."""


TagKey = Annotated[
    str,
    length(1, 128),
    Matches(
        "^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]+$",
        "write letters, digits, spaces and _.:/=+@- only: a session tag's key holds nothing else",
    ),
    Cel(
        "!(self.lowerAscii() in ['run', 'stack', 'space']) && !self.lowerAscii().startsWith('aws:')",
        "write another key: run, stack and space are reserved for the operator, and aws: for AWS",
    ),
]
TagValue = Annotated[
    str,
    length(0, 256),
    Matches(
        "^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]*$",
        "write letters, digits, spaces and _.:/=+@- only: a session tag's value holds nothing else",
    ),
]
LabelKey = Annotated[
    str,
    length(1, 317),
    Matches(
        r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        "write a label's key, like team or example.com/team",
    ),
]


class TagSource(Model):
    """Where a session tag's value comes from."""

    model_config = rules(
        Cel(
            "has(self.label) != has(self.requester)",
            "give exactly one of label and requester: the Run's label of that name, or who created the Run",
        )
    )

    label: LabelKey | None = None
    """The key of a label of the Run. Its value is only what the Run's creator claims. Without the label the tag is
    empty."""
    requester: Literal[True] | None = None
    """Who created the Run, as in its `status.requestedBy`; empty where the cluster cannot tell."""


class SessionTag(Model):
    """A session tag beyond the operator's own."""

    model_config = rules(
        Cel(
            "has(self.value) != has(self.from)",
            "give exactly one of value and from: a fixed value, or where it comes from",
        )
    )

    key: TagKey
    """The tag's key. AWS does not tell capital letters from small ones here."""
    value: TagValue | None = None
    """The same value for every session."""
    from_: TagSource | None = Field(None, alias="from")
    """Where the value of each Run's session comes from. Characters that STS would not take become _, and what is longer
    than 256 characters loses its end."""


def _distinct_keys() -> Cel:
    """STS refuses keys that differ in case only; the list itself refuses equal ones."""
    return Cel(
        "self.all(one, self.exists_one(other, other.key.lowerAscii() == one.key.lowerAscii()))",
        "give each key once: AWS does not tell capital letters from small ones in keys",
    )


class AwsIntegrationSpec(SessionPolicies):
    """Which role is assumed, how, and for whom."""

    model_config = rules(
        Cel(
            "!has(self.externalId) || self.generateCredentialsInWorker",
            "remove externalId: without generateCredentialsInWorker the operator decides the external ID, "
            "see status.externalId",
            ".externalId",
        ),
        Cel(
            "!has(self.tags) || size(self.tags) == 0 || self.tagAssumeRole",
            "set tagAssumeRole to true, or remove tags: without it sessions carry no tags",
            ".tags",
        ),
        Cel(
            "!self.generateCredentialsInWorker || self.allowedNamespaces.from == 'Same'",
            "write `from: Same`: with generateCredentialsInWorker a worker serves only Runs of the integration's "
            "own namespace",
            ".allowedNamespaces",
        ),
        Cel(
            "!has(self.roleArn) || !has(self.region) || ("
            "self.roleArn.startsWith('arn:aws-cn:') == self.region.startsWith('cn-') && "
            "self.roleArn.startsWith('arn:aws-us-gov:') == self.region.startsWith('us-gov-') && "
            "self.roleArn.startsWith('arn:aws-eusc:') == self.region.startsWith('eusc-'))",
            "give a region of the partition that roleArn names, or remove region: a role cannot be assumed across "
            "partitions",
            ".region",
        ),
    )

    role_arn: RoleArn | None = None
    """The ARN of the IAM role that Runs act as, in any partition, path included. Leave it out until the role exists:
    the status then shows all that is needed to create it."""
    generate_credentials_in_worker: bool = False
    """Who assumes the role. false: the controller, for Runs that it then executes itself. true: the worker pool that a
    Run names, under its own AWS identity and in its own namespace; the controller never holds the credentials."""
    external_id: ExternalId | None = None
    """The external ID that workers send when they assume the role. Only with `generateCredentialsInWorker`; without it
    the operator decides, so that no namespace can use another's role."""
    duration_seconds: Annotated[
        int,
        between(900, 43200),
        Cel(
            "self >= 900 && self <= 43200",
            "write 900 (a quarter of an hour) to 43200 (twelve hours): STS accepts nothing else",
        ),
    ] = 3600
    """How long credentials live, in seconds. The role's maximum session duration must allow it, and role chaining
    allows one hour at most; whether it does is verified."""
    region: Region | None = None
    """The region whose STS endpoint is asked. By default the operator's own. It does not set the region that a run
    works in: the Run's template does."""
    tag_assume_role: bool = False
    """Whether every session carries the tags `run`, `stack` and `space` (the Run's namespace), for use in policies and
    cost reports. The trust policy and the operator's own policy must then allow `sts:TagSession`."""
    tags: Annotated[tuple[SessionTag, ...], map_by("key", 20), _distinct_keys()] | None = None
    """Further tags of every session. The value of each is fixed, or that of a label of the Run, or the name of who
    created the Run. Only with `tagAssumeRole`. CloudTrail and cost reports then name the person, the team or the
    pipeline."""
    allowed_stacks: Annotated[tuple[Stack, ...], set_of(1, 256)] | None = None
    """The values of `spec.stack` that Runs may carry. By default any; the session tag `stack` is then only what the
    Run's creator claims."""
    source_identity: bool = False
    """Whether every session carries the run ID as its source identity, which stays when the run goes on to other roles.
    The trust policies of all these roles and the operator's own policy must then allow `sts:SetSourceIdentity`."""
    proposed: SessionPolicies | None = None
    """What takes the place of `spec.sessionPolicy` and `spec.sessionPolicyArns` for Runs of type Proposed, so that one
    role plans with the right to read and applies with all of its own. Without this field no Run of type Proposed is
    issued credentials; `{}` gives them all rights of the role."""
    allowed_namespaces: AllowedNamespaces = AllowedNamespaces()
    """Which namespaces' Runs may use the integration. With `generateCredentialsInWorker` only its own."""
    verify_every: Annotated[
        Duration,
        Cel(
            "!self.matches('^([0-9]{1,5}(h|m|s)){1,3}$') || duration(self) == duration('0s') || "
            "(duration(self) >= duration('5m') && duration(self) <= duration('8760h'))",
            "write 5m or more and 8760h or less, or 0s to turn repeated verification off",
        ),
    ] = timedelta(hours=24)
    """How often the role's trust is verified again, like 24h or 1h30m; at least 5m. 0s turns it off: trust is then
    verified only after a change, after a start of the operator, and on demand."""


class ProbeName(StrEnum):
    """What a probe sends to STS in place of this integration's external ID."""

    OWN = "Own"
    NONE = "None"
    SIBLING = "Sibling"
    OTHER_INSTALLATION = "OtherInstallation"
    SPELLING = "Spelling"


class ProbeForm(StrEnum):
    """What a probe sends beside the external ID."""

    BARE = "Bare"
    RUN = "Run"


class ProbeAnswer(StrEnum):
    """What STS answered to a probe."""

    ALLOWED = "Allowed"
    DENIED = "Denied"
    UNKNOWN = "Unknown"


class Probe(Model):
    """One question to STS, and its answer."""

    name: ProbeName
    """The external ID that was sent. Own: this integration's, which must be allowed. None: none at all. Sibling: that
    of a namespace that does not exist. OtherInstallation: that of a cluster that does not exist. Spelling: this
    integration's with one character replaced by one that no name contains. All but the first must be denied."""
    result: ProbeAnswer
    """Whether the role could be assumed so, the worst of all answers to this question. Unknown: STS could not be asked,
    or answered something that proves nothing."""
    form: ProbeForm | None = None
    """What else was sent with that answer's request. Bare: nothing. Run: what a Run from there would send, as tags and
    a source identity."""
    position: Annotated[int, at_least(1)] | None = None
    """Which character of the external ID was replaced, counted from 1, where that was allowed."""
    time: Time
    """When STS answered."""
    request_id: Annotated[str, length(0, 128)] | None = None
    """STS's ID of the request, to find it in CloudTrail or to ask AWS about it."""
    message: Message | None = None
    """What STS said, where it should have answered otherwise."""


Probes = Annotated[tuple[Probe, ...], map_by("name", 8)]


MOST_POOLS = 128
"""Entries of `status.workers`."""


class WorkerVerdict(Model):
    """What one worker pool found when it assumed the role under its own identity."""

    pool: DnsLabel
    """The pool's name, as in a Run's `workerPool`."""
    principal: Annotated[str, length(0, 2048)] | None = None
    """The ARN of the pool's own identity, which the role must trust."""
    trust_policy_statement: Statement | None = None
    """The statement that makes the role trust this pool, as JSON."""
    probes: Probes = ()
    """What STS answered to this pool. Only Own decides here."""
    reason: Annotated[str, length(0, 1024)] | None = None
    """The verdict in one word, one of the reasons of condition TrustVerified."""
    message: Message | None = None
    """The verdict in sentences, with what to do about it."""
    last_verified_time: Time | None = None
    """When the pool last came to a verdict."""
    observed_generation: Annotated[int, at_least(0)] | None = None
    """The `metadata.generation` that this is about."""


class AwsIntegrationStatus(Status):
    """What the operator found out, and what is needed to set up the role. It is for people: the operator computes each
    value anew and never relies on what stands here."""

    external_id: Annotated[str, length(0, 1224)] | None = None
    """The external ID that the role's trust policy must require. It is known before the role exists."""
    principal: Annotated[str, length(0, 2048)] | None = None
    """The ARN that the role must trust: the operator's own identity."""
    principal_id: Annotated[str, length(0, 128)] | None = None
    """The unique ID behind `principal`. If it changes, the identity was recreated, and every trust policy that names
    it must be saved again."""
    trust_policy_statement: Statement | None = None
    """The statement to add to an existing role's trust policy, as JSON."""
    trust_policy: Statement | None = None
    """The whole trust policy for a new role, as JSON."""
    caller_policy_statement: Statement | None = None
    """The statement that the operator's own identity needs, as JSON: for a role in another account both sides must
    allow the call."""
    create_role_url: Annotated[str, length(0, 8192)] | None = None
    """Opens the AWS console's form for a new role with everything filled in. Absent where the form cannot do it."""
    probes: Probes = ()
    """What STS answered when the role's trust was last verified."""
    workers: Annotated[tuple[WorkerVerdict, ...], map_by("pool", MOST_POOLS)] = ()
    """The verdict of each worker pool, with `generateCredentialsInWorker`."""
    last_verified_time: Time | None = None
    """When the trust was last verified with an answer from STS."""
    next_verify_time: Time | None = None
    """When it will be verified next."""


class AwsIntegration(Model):
    """The right to act as an IAM role, for the Runs that refer to it. Its trust is verified by asking AWS: Runs are
    issued credentials only while exactly this integration can assume the role."""

    definition: ClassVar[Definition] = Definition(
        kind="AwsIntegration",
        plural=AWSINTEGRATIONS,
        short_name="awsint",
        columns=(
            Column("Role", ".spec.roleArn", "The IAM role that Runs act as"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether Runs may use it"),
            Column(
                "Reason", '.status.conditions[?(@.type=="TrustVerified")].reason', "The verdict on the role's trust"
            ),
            Column("Verified", ".status.lastVerifiedTime", "How long ago the trust was verified", "date"),
            Column("Age", ".metadata.creationTimestamp", "How long ago it was created", "date"),
        ),
    )

    api_version: str = API_VERSION
    kind: str = "AwsIntegration"
    metadata: ObjectMeta
    spec: AwsIntegrationSpec = AwsIntegrationSpec()
    """Which role is assumed, how, and for whom."""
    status: AwsIntegrationStatus = AwsIntegrationStatus()
    """What the operator found out about the role, and what is needed to set it up. For people only: the operator
    computes each value anew and never relies on what stands here."""
