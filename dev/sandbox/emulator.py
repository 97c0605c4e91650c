"""Starts ministack, with three things added that it lacks: AWS's managed policy ``AWSDenyAll``, Kubernetes' tokens,
whose audience is a list, as web identities, and ``sts:SourceIdentity`` in trust policies.

Run as a script by the Python of ministack's own environment (`sandbox.toolbox`); see `sandbox.aws`. It reaches into
ministack's private names, which its pinned version and hash make safe.
"""

import dataclasses
import importlib
import json
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs

_DENY_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "DenyAll", "Effect": "Deny", "Action": "*", "Resource": "*"}],
}


def _only(value: Any) -> Any:
    """The entry of a list that has one; anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


_source_identity: ContextVar[str | None] = ContextVar("source_identity", default=None)


def _know_source_identities(sts: Any) -> None:
    """Trust policies see `sts:SourceIdentity`. The permission `sts:SetSourceIdentity` is still not asked for."""
    evaluator: Any = importlib.import_module("ministack.core.iam_evaluator")
    handle, evaluate = sts.handle_request, evaluator.evaluate_trust_policy

    async def handle_request(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
        _source_identity.set(next(iter(parse_qs(text).get("SourceIdentity", [])), None))
        return await handle(method, path, headers, body, query)

    def evaluate_trust_policy(document: Any, caller: str, context: Any = None) -> Any:
        if context is not None and _source_identity.get() is not None:
            known = {**context.service_context, "sts:sourceidentity": _source_identity.get()}
            context = dataclasses.replace(context, service_context=known)
        return evaluate(document, caller, context)

    sts.handle_request = handle_request
    evaluator.evaluate_trust_policy = evaluate_trust_policy


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
    _know_source_identities(sts)
    app: Any = importlib.import_module("ministack.app")
    app.main()


if __name__ == "__main__":
    main()
