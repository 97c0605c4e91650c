"""Every reason that a verdict can have: how it is brought about, what must be said, and what repairs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.faults import (
    Drop,
    Match,
    Pass,
    Plain,
    Rule,
    clock_skew,
    denied,
    expired_token,
    internal_failure,
    invalid,
    invalid_client_token,
    malformed_policy,
    max_session_duration,
    packed_policy_too_large,
    region_disabled,
    signature_mismatch,
    source_identity_denied,
    throttled,
)

from .probes import SIBLING, named
from .scene import (
    HOME_REGION,
    Repair,
    Scene,
    Trust,
    add_statement_of_message,
    by,
    by_conditions,
    by_own,
    lift,
    no_role,
    paste_policy,
    paste_statement,
    write,
)

ALLOW_ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


@dataclass(frozen=True)
class Case:
    """What is set up, the verdict that must follow with what it must say, and what makes it good again."""

    reason: str
    says: Sequence[str] = ()
    trust: Trust = field(default_factory=by_own)
    spec: Mapping[str, Any] = field(default_factory=dict)
    faults: Callable[[Scene], Sequence[Rule]] = lambda _: ()
    repair: Repair | None = None
    status: str = "False"
    shows_statement: bool = False
    """Whether the message holds the statement of the status."""


def refuse(answer: Any, **match: Any) -> Callable[[Scene], Sequence[Rule]]:
    return lambda scene: [Rule(Match(role_arn=scene.role_arn, **match), answer)]


ANOTHER_NAMESPACE, ANOTHER_INSTALLATION = "another namespace", "another installation"


CASES = {
    "role-not-set": Case(
        "RoleNotSet", ["`status.trustPolicy`", "`spec.roleArn`"], no_role, {"roleArn": None}, repair=paste_policy
    ),
    "role-missing": Case(
        "AccessDenied",
        ["STS denied `sts:AssumeRole` on <role_arn>", "the operator's own policy", "policy of the organization"],
        no_role,
        repair=paste_policy,
        shows_statement=True,
    ),
    "wrong-external-id": Case(
        "AccessDenied",
        ["trust policy needs this statement"],
        by("somebody@else"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "no-condition": Case(
        "ExternalIdNotRequired",
        ["without any external ID", "knows the role's ARN", "`StringEquals`"],
        by(),
        repair=paste_statement,
        shows_statement=True,
    ),
    "if-exists": Case(
        "ExternalIdNotRequired",
        ["not `StringEqualsIfExists`"],
        by("<external_id>", operator="StringEqualsIfExists"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "star": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE, ANOTHER_INSTALLATION, "too wide", "`<installation>@<namespace>@*`"],
        by("*", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "one-installation": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE],
        by("<installation>@*", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "one-name": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE, ANOTHER_INSTALLATION],
        by("*@<name>", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "namespace-prefix": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE],
        by("<installation>@team*@<name>", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "any-installation": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_INSTALLATION],
        by("*@<namespace>@<name>", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "one-namespace": Case(
        "Verified", ["no other"], by("<installation>@<namespace>@*", operator="StringLike"), status="True"
    ),
    "question-mark-in-namespace": Case(
        "OtherExternalIdAccepted",
        ["any name of the same length", "has a `?` instead of character"],
        by(*(f"<installation>@team-{marks}@<name>" for marks in ("?", "??", "???")), operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "question-marks-in-installation": Case(
        "OtherExternalIdAccepted",
        ["any name of the same length", "character 1, `a`"],
        by("?????????@<namespace>@<name>", operator="StringLike"),
        repair=paste_statement,
        shows_statement=True,
    ),
    "question-mark-at-an-end": Case(
        "OtherExternalIdAccepted",
        ["character 9, `d`"],
        by("acme-pro?@<namespace>@<name>", operator="StringLike"),
        repair=paste_statement,
    ),
    "wildcard-for-tagged-calls": Case(
        "OtherExternalIdAccepted",
        [ANOTHER_NAMESPACE, "that a Run from there would send"],
        by_conditions({"StringLike": {"sts:ExternalId": "<installation>@*", "aws:RequestTag/space": "*"}}),
        {"tagAssumeRole": True},
    ),
    "no-condition-for-tagged-calls": Case(
        "ExternalIdNotRequired",
        ["without any external ID", "that a Run from there would send"],
        by_conditions({"StringEquals": {"sts:ExternalId": "<external_id>"}}, {"Null": {"aws:RequestTag/run": "false"}}),
        {"tagAssumeRole": True},
    ),
    "no-condition-with-a-source-identity": Case(
        "ExternalIdNotRequired",
        ["without any external ID", "that a Run from there would send"],
        by_conditions({"StringEquals": {"sts:ExternalId": "<external_id>"}}, {"Null": {"sts:SourceIdentity": "false"}}),
        {"sourceIdentity": True},
    ),
    "session-names-of-runs": Case(
        "Verified",
        ["no other"],
        by_conditions(
            {"StringEquals": {"sts:ExternalId": "<external_id>"}, "StringLike": {"sts:RoleSessionName": "0*"}}
        ),
        status="True",
    ),
    "session-names-of-nobody": Case(
        "AccessDenied",
        ["`sts:RoleSessionName`", "26 characters"],
        by_conditions(
            {
                "StringEquals": {"sts:ExternalId": "<external_id>"},
                "StringLike": {"sts:RoleSessionName": "trust-probe-*"},
            }
        ),
        repair=paste_statement,
        shows_statement=True,
    ),
    "duration-of-role": Case(
        "DurationTooLong",
        ["7200 seconds", "aws iam update-role --role-name <role_name> --max-session-duration 7200", "MaxSession"],
        spec={"durationSeconds": 7200},
        faults=lambda scene: [max_session_duration(scene.role_arn, 3600)],
        repair=write(durationSeconds=3600),
    ),
    "duration-of-chaining": Case(
        "DurationTooLong",
        ["role chaining to one hour", "`spec.durationSeconds` to 3600 or less"],
        spec={"durationSeconds": 7200},
        faults=refuse(
            invalid(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
            ),
            duration_above=3600,
        ),
        repair=write(durationSeconds=3600),
    ),
    "tags": Case(
        "TagSessionDenied",
        ["`spec.tagAssumeRole` is on", "sts:TagSession", "operator's own policy needs"],
        spec={"tagAssumeRole": True},
        repair=add_statement_of_message,
    ),
    "transitive-tags": Case(
        "TagSessionDenied",
        ["the operator's own session passes on tags", "EKS Pod Identity"],
        faults=lambda scene: [
            Rule(
                Match(role_arn=scene.role_arn, absent=["Tags"], values={"ExternalId": scene.external_id}),
                denied("sts:TagSession"),
            )
        ],
        repair=lift,
    ),
    "source-identity": Case(
        "SourceIdentityDenied",
        ["`spec.sourceIdentity` is on", '"Action":"sts:SetSourceIdentity"'],
        spec={"sourceIdentity": True},
        faults=lambda scene: [source_identity_denied(scene.role_arn)],
        repair=lift,
    ),
    "region-off-in-the-roles-account": Case(
        "RegionDisabled",
        ["endpoint of eu-south-1 is not active in account 222222222222", "/iam/home#/account_settings", "spec.region"],
        spec={"region": "eu-south-1"},
        faults=refuse(region_disabled("222222222222"), region="eu-south-1"),
        repair=write(region=None),
    ),
    "region-off-in-our-account": Case(
        "RegionDisabled",
        [
            "ap-east-1 does not accept the operator's",
            "not enabled in the operator's own account",
            "`spec.region`",
        ],
        spec={"region": "ap-east-1"},
        faults=refuse(invalid_client_token(), region="ap-east-1"),
        repair=write(region=HOME_REGION),
    ),
    "malformed-policy": Case(
        "InvalidSessionPolicy",
        ["`spec.sessionPolicy`"],
        spec={"sessionPolicy": '{"Version":"2012-10-17"}'},
        repair=write(sessionPolicy=ALLOW_ALL),
    ),
    "malformed-managed-policy": Case(
        "InvalidSessionPolicy",
        ["`spec.sessionPolicyArns`", "Syntax errors"],
        spec={"sessionPolicyArns": ["arn:aws:iam::222222222222:policy/broken"]},
        faults=refuse(malformed_policy(), present=["PolicyArns"]),
        repair=write(sessionPolicyArns=None),
    ),
    "malformed-proposed-policy": Case(
        "InvalidSessionPolicy",
        ["`spec.proposed.sessionPolicy`"],
        spec={"proposed": {"sessionPolicy": '{"Version":"2012-10-17"}'}},
        repair=write(proposed={"sessionPolicy": ALLOW_ALL}),
    ),
    "packed-too-large": Case(
        "InvalidSessionPolicy",
        ["too large", "Shorten `spec.sessionPolicy`", "112%"],
        spec={"sessionPolicy": ALLOW_ALL},
        faults=refuse(packed_policy_too_large(), present=["PolicyArns"]),
        repair=write(sessionPolicy=None),
    ),
    "another-partition": Case(
        "InvalidRequest",
        ["`spec.roleArn`", "Request ARN is invalid"],
        faults=refuse(invalid("Request ARN is invalid")),
        repair=lift,
    ),
    "expired": Case(
        "NoIdentity",
        ["have expired", "administrator must repair"],
        faults=refuse(expired_token()),
        repair=lift,
        status="Unknown",
    ),
    "unknown-key": Case(
        "NoIdentity",
        ["does not know the access key"],
        faults=refuse(invalid_client_token()),
        repair=lift,
        status="Unknown",
    ),
    "wrong-secret": Case(
        "NoIdentity", ["refuses their signature"], faults=refuse(signature_mismatch()), repair=lift, status="Unknown"
    ),
    "wrong-clock": Case(
        "NoIdentity", ["clock of the operator's machine"], faults=refuse(clock_skew()), repair=lift, status="Unknown"
    ),
    "throttled": Case("Retrying", ["Rate exceeded"], faults=refuse(throttled()), repair=lift, status="Unknown"),
    "failing": Case("Retrying", ["InternalFailure"], faults=refuse(internal_failure()), repair=lift, status="Unknown"),
    "down": Case("Retrying", ["503"], faults=refuse(Plain()), repair=lift, status="Unknown"),
    "cut": Case("Retrying", ["could not be reached"], faults=refuse(Drop()), repair=lift, status="Unknown"),
    "slow": Case(
        "Retrying",
        ["did not answer in time"],
        faults=lambda scene: [Rule(Match(role_arn=scene.role_arn), Pass(), delay=60)],
        repair=lift,
        status="Unknown",
    ),
    "sibling-throttled": Case(
        "Retrying",
        ["to probe Sibling"],
        faults=lambda scene: [Rule(Match(role_arn=scene.role_arn, session_name_like=named(SIBLING)), throttled())],
        repair=lift,
        status="Unknown",
    ),
    "everything": Case(
        "Verified",
        trust=by_own("sts:TagSession", "sts:SetSourceIdentity"),
        spec={
            "durationSeconds": 1800,
            "tagAssumeRole": True,
            "sourceIdentity": True,
            "allowedStacks": ["network"],
            "sessionPolicy": ALLOW_ALL,
            "sessionPolicyArns": ["arn:aws:iam::aws:policy/AWSDenyAll"],
            "proposed": {},
        },
        status="True",
    ),
    "plain": Case("Verified", status="True"),
    "worker": Case(
        "NotVerifiable",
        ["`status.workers`"],
        spec={"generateCredentialsInWorker": True, "externalId": "of-my-own"},
        status="Unknown",
    ),
    "worker-without-role": Case(
        "RoleNotSet",
        ["worker pools"],
        no_role,
        {"generateCredentialsInWorker": True, "roleArn": None},
    ),
}
