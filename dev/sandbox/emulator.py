"""Starts ministack, with two things added that it lacks: AWS's managed policy ``AWSDenyAll``, and Kubernetes' tokens,
whose audience is a list, as web identities.

Run as a script by the Python of ministack's own environment (`sandbox.toolbox`); see `sandbox.aws`. It reaches into
ministack's private names, which its pinned version and hash make safe.
"""

import importlib
import json
from typing import Any

_DENY_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "DenyAll", "Effect": "Deny", "Action": "*", "Resource": "*"}],
}


def _only(value: Any) -> Any:
    """The entry of a list that has one; anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def main() -> None:
    iam: Any = importlib.import_module("ministack.services.iam")
    record = iam._make_aws_managed_record("AWSDenyAll", json.dumps(_DENY_ALL), "Deny all access.")
    iam._aws_managed_policies[record["Arn"]] = record
    sts: Any = importlib.import_module("ministack.services.sts")
    principal_of = sts._web_identity_principal

    def principal(*asked: Any) -> Any:
        provider, claims = principal_of(*asked)
        return provider, {name: _only(value) for name, value in claims.items()}

    sts._web_identity_principal = principal
    app: Any = importlib.import_module("ministack.app")
    app.main()


if __name__ == "__main__":
    main()
