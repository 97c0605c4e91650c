"""Links into the AWS console: the role wizard filled in, a session's trail. Pure.

The wizard for "AWS account" trusts a whole account under one external ID. That is wider than the statement of the
status, which names the operator's role, but the external ID holds all the same, and within the operator's account only
those whom its own policies allow `sts:AssumeRole` on the role get anywhere. What the wizard cannot do is another action
in the trust policy (tags, source identity) or a maximum session duration above one hour: then there is no link.
The parameters are those that the console itself shows in its address bar when the wizard is filled in.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from spacelift_aws.aws.arns import account_of, partition_of

DEFAULT_POLICIES: Final = ("PowerUserAccess",)
"""Everything but IAM and Organizations: what Spacelift suggests for its own roles."""

WIZARD_MAX_DURATION: Final = 3600
"""Seconds: the maximum session duration of every role that the wizard creates."""

_AWS_MANAGED: Final = re.compile(r"arn:[a-z-]+:iam::aws:policy/")

_HOSTS: Final = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def create_role_url(principal: str, external_id: str, policies: Sequence[str] = DEFAULT_POLICIES) -> str | None:
    """The wizard's address; None for a partition whose console is not known, or a principal without an account.

    `policies` are ARNs of managed policies, or names of AWS's own; those exist in every partition.
    """
    partition = partition_of(principal)
    host, account = _HOSTS.get(partition), account_of(principal)
    if host is None or account is None:
        return None
    parameters = [
        ("step", "selectEntities"),
        ("trustedEntityType", "AWS_ACCOUNT"),
        ("awsAccount", account),
        ("isThirdParty", "true"),
        ("externalId", external_id),
        *(("policies", _policy_arn(policy, partition)) for policy in policies),
    ]
    # All of it is the fragment, so `@` and `:` may stand as they are; the console wants slashes encoded.
    query = "&".join(f"{key}={quote(value, safe='@:')}" for key, value in parameters)
    return f"https://{host}/iam/home#/roles/create?{query}"


def account_settings_url(partition: str) -> str | None:
    """The page where an account turns its regional STS endpoints on."""
    host = _HOSTS.get(partition)
    return f"https://{host}/iam/home#/account_settings" if host else None


def cloud_trail_url(role_arn: str, region: str | None, session_name: str) -> str | None:
    """CloudTrail's event history of one session, in its role's partition; None where its console is not known.

    The event history is regional; without a region it opens in the one the console was last used with.
    """
    host = _HOSTS.get(partition_of(role_arn))
    place = f"?region={region}" if region else ""
    return f"https://{host}/cloudtrailv2/home{place}#/events?Username={quote(session_name)}" if host else None


def _policy_arn(policy: str, partition: str) -> str:
    name = _AWS_MANAGED.sub("", policy)
    return name if name.startswith("arn:") else f"arn:{partition}:iam::aws:policy/{name}"
