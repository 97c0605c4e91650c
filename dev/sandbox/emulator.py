"""Starts ministack, with one thing added that it lacks: AWS's managed policy ``AWSDenyAll``.

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


def main() -> None:
    iam: Any = importlib.import_module("ministack.services.iam")
    record = iam._make_aws_managed_record("AWSDenyAll", json.dumps(_DENY_ALL), "Deny all access.")
    iam._aws_managed_policies[record["Arn"]] = record
    app: Any = importlib.import_module("ministack.app")
    app.main()


if __name__ == "__main__":
    main()
