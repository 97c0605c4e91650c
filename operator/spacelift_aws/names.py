"""Every name the operator gives, computed from what nobody can forge: UID, creation time, namespace and installation.

Nothing here is ever read back from a status.
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

LABEL_RUN_ID = "aws.spacelift.io/run-id"
LABEL_EXECUTOR = "aws.spacelift.io/executor"
LABEL_WORKER_POOL = "aws.spacelift.io/worker-pool"
ANNOTATION_RUN = "aws.spacelift.io/run"
ANNOTATION_EXPIRES_AT = "aws.spacelift.io/credentials-expire-at"
ANNOTATION_ROLE_ARN = "aws.spacelift.io/role-arn"
ANNOTATION_REQUESTED_BY = "aws.spacelift.io/requested-by"
ANNOTATION_STOPPED_BY = "aws.spacelift.io/stopped-by"
ANNOTATION_ENDED = "aws.spacelift.io/ended"
"""On a Run that was executed: its run ID."""
LABEL_NO_BACKUP = "velero.io/exclude-from-backup"
ANNOTATION_VERIFY = "aws.spacelift.io/verify"
OWN_PREFIX = "aws.spacelift.io/"

SECRET_TYPE = "aws.spacelift.io/run-credentials"  # noqa: S105 - the type of a Secret, not a secret
CHILD_PREFIX = "aws-run-"

CREDENTIAL_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""The variables of a session, two of them for its token: some SDKs read only the older name."""

_TO_CROCKFORD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ")
"""From the digits of RFC 4648, which Python knows."""


@lru_cache(maxsize=4096)
def run_id(created: datetime, uid: str) -> str:
    """The ULID of a Run: 26 characters of Crockford's base 32, sortable by creation time.

    The first 48 bits are the creation time in milliseconds, the other 80 come from the UID's SHA-256 instead of a
    random source, so that every process computes the same one (https://github.com/ulid/spec).
    """
    milliseconds = int(created.astimezone(UTC).timestamp()) * 1000
    number = milliseconds << 80 | int.from_bytes(hashlib.sha256(uid.encode()).digest()[:10], "big")
    return crockford(number, 26)


def crockford(number: int, length: int) -> str:
    """The last `length` digits of a number in Crockford's base 32 (https://www.crockford.com/base32.html)."""
    spare = -5 * length % 40  # base 32 goes by groups of 40 bits
    bits = (number & (1 << 5 * length) - 1) << spare
    return base64.b32encode(bits.to_bytes((5 * length + spare) // 8)).decode()[:length].translate(_TO_CROCKFORD)


def child_name(run_id: str) -> str:
    """The name of a run's Secret and of its pod: who sees the one knows the other."""
    return CHILD_PREFIX + run_id.lower()


WORKER = "worker"


def pool_executor(pool: str) -> str:
    """The executor's name of a worker pool: `worker/<pool>`, which no other executor can have."""
    return f"{WORKER}/{pool}"


def executor_labels(executor: str) -> dict[str, str]:
    """The labels by which a pod says who made it. A pool's name alone may be as long as a label's value."""
    kind, _, pool = executor.partition("/")
    return {LABEL_EXECUTOR: kind, LABEL_WORKER_POOL: pool} if pool else {LABEL_EXECUTOR: kind}


def executor_of(labels: Mapping[str, str]) -> str:
    """The executor that a pod's labels name; empty where they name none."""
    kind, pool = labels.get(LABEL_EXECUTOR, ""), labels.get(LABEL_WORKER_POOL)
    return f"{kind}/{pool}" if pool else kind


def external_id(installation: str, namespace: str, name: str) -> str:
    """The external ID of an integration in controller mode, known before anything is applied.

    `@` occurs in none of the three parts, so no two integrations ever share one.
    """
    return f"{installation}@{namespace}@{name}"


def assumed_role_arn(role_arn: str, session_name: str) -> str:
    """The ARN under which a session acts: STS drops the role's path from it.

    `arn:aws:iam::123456789012:role/team/deploy` becomes `arn:aws:sts::123456789012:assumed-role/deploy/<session>`.
    """
    _, partition, _, _, account, resource = role_arn.split(":", 5)
    return f"arn:{partition}:sts::{account}:assumed-role/{resource.rsplit('/', 1)[-1]}/{session_name}"
