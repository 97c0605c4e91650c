"""Whether a Run may be issued credentials, asked anew at every issue. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from spacelift_aws.api.awsintegration import AwsIntegration, LabelSelector, LabelSelectorRequirement, NamespacesFrom
from spacelift_aws.api.reasons import CredentialsIssuedReason as Reason
from spacelift_aws.api.run import Phase, Run, RunType
from spacelift_aws.aws.sts import AssumeRoleRequest
from spacelift_aws.controllers.awsintegration.probes.plan import session_tags
from spacelift_aws.controllers.awsintegration.tags import further_tags
from spacelift_aws.controllers.run.state import Authorized, Denied


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What besides the two resources decides: who asks, the Run's namespace, the trust as this process knows it."""

    pool: str | None
    """The pool whose worker asks; None: the controller."""
    watched: tuple[str, ...]
    """The namespaces that are looked at; empty: all."""
    namespace_labels: Mapping[str, str] | None
    """None where this process may not look at namespaces."""
    trusted: bool = False
    """This process has verified the integration as it is now."""
    why_not: str = ""
    """What the last verification said, where `trusted` is False."""
    external_id: str = ""
    requested_by: str | None = None
    """Who created the Run, where the cluster can tell."""
    is_unasked: bool = False
    """This process has not been answered yet about the integration as it is now."""


def authorize(run: Run, run_id: str, integration: AwsIntegration | None, known: Circumstances) -> Authorized | Denied:
    """The request to send to STS, or the first reason why the Run waits."""
    if integration is None:
        return _not_found(run, known.watched)
    refused = (
        _for_another(run, integration, known.pool)
        or _namespace_refused(run, integration, known.namespace_labels)
        or _stack_refused(run, integration)
        or _type_refused(run, integration)
    )
    if refused is not None:
        return refused
    if not integration.spec.role_arn or not known.trusted:
        message = f"AwsIntegration {_reference(run)} is not ready: {known.why_not}"
        return Denied(Reason.INTEGRATION_NOT_READY, message, is_preliminary=known.is_unasked)
    return Authorized(_request(run, run_id, integration, integration.spec.role_arn, known))


def _not_found(run: Run, watched: tuple[str, ...]) -> Denied:
    """There is no integration to ask about, or it would be where this process does not look."""
    if not watched or integration_key(run)[0] in watched:
        return Denied(Reason.INTEGRATION_NOT_FOUND, f"There is no AwsIntegration {_reference(run)}.")
    return Denied(
        Reason.INTEGRATION_NOT_FOUND,
        f"AwsIntegration {_reference(run)} is in a namespace that is not watched: add the namespace to "
        "SPACELIFT_AWS_NAMESPACES, or use an integration in a watched namespace.",
    )


def _for_another(run: Run, integration: AwsIntegration, pool: str | None) -> Denied | None:
    """The integration's credentials are for another process to issue."""
    namespace, name = integration_key(run)
    if pool is not None:
        if run.spec.worker_pool == pool:
            return None
        # What another pool has begun is ended by this one, but never continued under its identity.
        does = "is to execute" if run.status.phase is Phase.QUEUED else "started"
        message = f"Pool `{run.spec.worker_pool}`, which {does} this Run, no longer renews its Lease: start it again."
        return Denied(Reason.NO_WORKER, message)
    if not integration.spec.generate_credentials_in_worker:
        return None
    if namespace != run.metadata.namespace:
        return Denied(
            Reason.WORKER_MODE_IS_NAMESPACED,
            f"AwsIntegration {namespace}/{name} issues credentials in workers, which serve Runs of its own "
            "namespace only; create the Run there.",
        )
    return Denied(
        Reason.NO_WORKER,
        f"No worker of pool `{run.spec.worker_pool}` has taken this Run; AwsIntegration {name} issues "
        "credentials in workers only.",
    )


def integration_key(run: Run) -> tuple[str, str]:
    """Namespace and name of the integration a Run names."""
    reference = run.spec.integration_ref
    return reference.namespace or run.metadata.namespace, reference.name


def _namespace_refused(run: Run, integration: AwsIntegration, labels: Mapping[str, str] | None) -> Denied | None:
    allowed, own = integration.spec.allowed_namespaces, integration.metadata.namespace
    if run.metadata.namespace == own or allowed.from_ is NamespacesFrom.ALL:
        return None
    if allowed.from_ is NamespacesFrom.SELECTOR and labels is None:
        return Denied(
            Reason.NOT_ALLOWED,
            f"AwsIntegration {_reference(run)} selects namespaces by their labels, which this operator cannot read: it "
            "watches given namespaces only (SPACELIFT_AWS_NAMESPACES). Use `from: All`, which allows these namespaces, "
            "or an integration in the Run's own namespace.",
        )
    if allowed.selector is not None and labels is not None and selects(allowed.selector, labels):
        return None
    return Denied(
        Reason.NOT_ALLOWED,
        f"AwsIntegration {_reference(run)} does not allow Runs of namespace {run.metadata.namespace}: its "
        f"spec.allowedNamespaces says `from: {allowed.from_}`.",
    )


def _stack_refused(run: Run, integration: AwsIntegration) -> Denied | None:
    allowed = integration.spec.allowed_stacks
    if allowed is None or run.spec.stack in allowed:
        return None
    asked = f"stack `{run.spec.stack}`" if run.spec.stack is not None else "a Run without a stack"
    return Denied(
        Reason.NOT_ALLOWED,
        f"AwsIntegration {_reference(run)} does not allow {asked}: see its spec.allowedStacks.",
    )


def _type_refused(run: Run, integration: AwsIntegration) -> Denied | None:
    if run.spec.type is not RunType.PROPOSED or integration.spec.proposed is not None:
        return None
    return Denied(
        Reason.NOT_ALLOWED,
        f"AwsIntegration {_reference(run)} has no spec.proposed, so Runs of type Proposed may not use it: set it to "
        "the session policies they get, or to {} if they may have the role's full rights.",
    )


def _request(
    run: Run, run_id: str, integration: AwsIntegration, role_arn: str, known: Circumstances
) -> AssumeRoleRequest:
    spec = integration.spec
    policies = spec.proposed if run.spec.type is RunType.PROPOSED and spec.proposed is not None else spec
    return AssumeRoleRequest(
        role_arn=role_arn,
        session_name=run_id,
        external_id=known.external_id,
        duration_seconds=spec.duration_seconds,
        region=spec.region,
        tags=_tags(run, run_id, integration, known.requested_by) if spec.tag_assume_role else (),
        source_identity=run_id if spec.source_identity else None,
        session_policy=policies.session_policy,
        session_policy_arns=policies.session_policy_arns or (),
    )


def _tags(run: Run, run_id: str, integration: AwsIntegration, requested_by: str | None) -> tuple[tuple[str, str], ...]:
    own = session_tags(run_id, run.spec.stack, run.metadata.namespace)
    return (*own, *further_tags(integration.spec.tags, run.metadata.labels, requested_by))


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses an object with these labels; an empty one chooses all."""
    for key, value in (selector.match_labels or {}).items():
        if labels.get(key) != value:
            return False
    return all(_meets(requirement, labels) for requirement in selector.match_expressions or ())


def _meets(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    present, value = requirement.key in labels, labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in (requirement.values or ())
        case "NotIn":
            return value not in (requirement.values or ())
        case "Exists":
            return present
        case "DoesNotExist":
            return not present


def _reference(run: Run) -> str:
    return "/".join(integration_key(run))
