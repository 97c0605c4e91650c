"""What `doctor` finds right or wrong: each check takes the same facts and answers in lines. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from spacelift_aws.names import SECRET_TYPE
from spacelift_aws_cli.model.integrations import verdict
from spacelift_aws_cli.model.objects import Object, condition, first_line, name_of, namespace_of, status_of
from spacelift_aws_cli.model.runs import has_ended, phase_of
from spacelift_aws_cli.model.times import parse, span

SKEW: Final = 5.0
"""Seconds by which clocks may differ."""
SILENT: Final = 60.0
"""Seconds after which a Lease that nobody renewed says that nobody acts. Its holders renew every two."""
CERTIFICATE_DAYS: Final = 14
STUCK: Final = 600.0
"""Seconds after which a Run that still waits is worth a line."""
NEWEST: Final = {"runs": "requestedBy", "awsintegrations": "nextVerifyTime"}
"""A status field of each kind that definitions have had since this plugin reads it."""
POLICY_PREFIX: Final = "spacelift-aws-"
_PULL = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `good` None: it could not be looked at with these rights."""

    good: bool | None
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """What was asked. A list that is None may not be read by whoever asked."""

    now: datetime
    server: str
    namespace: str
    operator_namespace: str
    user: str = ""
    version: str = ""
    server_time: datetime | None = None
    certificate_ends: datetime | None = None
    verified_tls: bool = True
    kinds: Sequence[str] | None = None
    definitions: Sequence[Object] | None = None
    may: Mapping[str, bool] = field(default_factory=dict)
    """Own rights in `namespace`, by what they are for."""
    operator_may: Mapping[str, bool] | None = None
    deployments: Sequence[Object] | None = None
    leases: Sequence[Object] | None = None
    policies: Sequence[Object] | None = None
    bindings: Sequence[Object] | None = None
    integrations: Sequence[Object] | None = None
    runs: Sequence[Object] | None = None
    secrets: Sequence[Object] | None = None
    """Metadata alone, of type run-credentials."""
    pods: Sequence[Object] | None = None
    """Those of Runs."""


def findings(facts: Facts) -> Iterator[tuple[str, list[Line]]]:
    """All lines, under their titles."""
    for title, check in CHECKS:
        yield title, list(check(facts))


def is_well(facts: Facts) -> bool:
    """Whether nothing is wrong; what could not be looked at does not count."""
    return all(line.good is not False for _, lines in findings(facts) for line in lines)


def _connection(facts: Facts) -> Iterator[Line]:
    yield Line(True, f"{facts.server} answers, Kubernetes {facts.version}, to {facts.user or 'somebody unknown'}")
    if not facts.verified_tls:
        yield Line(False, "its certificate is not verified", "take insecure-skip-tls-verify out of the kubeconfig")
    if facts.certificate_ends is not None:
        left = (facts.certificate_ends - facts.now).total_seconds()
        good = left > CERTIFICATE_DAYS * 86400
        yield Line(good, f"its certificate ends in {span(left)}", "renew the API server's certificate")
    if facts.server_time is not None:
        skew = abs((facts.server_time - facts.now).total_seconds())
        yield Line(skew <= SKEW, f"its clock and this machine's differ by {skew:.0f} s", "set the clocks (NTP)")


def _definitions(facts: Facts) -> Iterator[Line]:
    for kind in ("runs", "awsintegrations"):
        served = facts.kinds is not None and kind in facts.kinds
        yield Line(served, f"{kind}.aws.spacelift.io is served in v1beta1", "install the operator's chart")
    for one in facts.definitions or ():
        plural = one["spec"]["names"]["plural"]
        wanted = NEWEST.get(plural)
        if wanted is not None:
            new = wanted in str(one["spec"]["versions"])
            remedy = "apply the `crds/` of the operator's version: Helm does not upgrade them"
            yield Line(new, f"{plural}: its definition knows status.{wanted}", remedy)


def _own_rights(facts: Facts) -> Iterator[Line]:
    for what, allowed in facts.may.items():
        yield Line(allowed, f"you may {what} in {facts.namespace}", "ask an administrator of the namespace for it")


def _operator(facts: Facts) -> Iterator[Line]:
    if facts.deployments is None:
        yield Line(None, "you may not read the operator's Deployment")
    elif not facts.deployments:
        remedy = "install the chart, or name its namespace with --operator-namespace"
        yield Line(False, f"no Deployment of the operator in {facts.operator_namespace}", remedy)
    for one in facts.deployments or ():
        wanted, ready = int(one["spec"].get("replicas", 1)), int(status_of(one).get("readyReplicas") or 0)
        version = (one["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "?")
        named = f"{namespace_of(one)}/{name_of(one)} {version}"
        remedy = f"see `kubectl describe pods -n {namespace_of(one)}` and their logs"
        yield Line(ready >= wanted > 0, f"{named}: {ready} of {wanted} replicas are ready", remedy)
    yield from _leases(facts)
    if facts.operator_may is None:
        yield Line(None, "you may not look up the operator's own rights (create subjectaccessreviews)")
    missing = [what for what, allowed in (facts.operator_may or {}).items() if not allowed]
    if facts.operator_may is not None:
        words = f"the operator lacks the right to {', '.join(missing)}" if missing else "the operator has its rights"
        yield Line(not missing, words, "upgrade its chart, which brings its roles")


def _leases(facts: Facts) -> Iterator[Line]:
    if facts.leases is None:
        yield Line(None, "you may not read Leases: it is not known who acts")
        return
    for one in facts.leases:
        name, spec = name_of(one), one.get("spec") or {}
        renewed, holder = parse(spec.get("renewTime")), spec.get("holderIdentity") or "nobody"
        pool = name.removeprefix("spacelift-aws-worker-") if name.startswith("spacelift-aws-worker-") else None
        who = f"pool {pool} in {namespace_of(one)}" if pool else "the controller"
        silence = (facts.now - renewed).total_seconds() if renewed else SILENT + 1
        good = holder != "nobody" and silence < SILENT
        words = f"{who}: {holder} acts" if good else f"{who}: no Lease renewal for {span(silence)}"
        yield Line(good, words, "start its Deployment, or delete the Lease of a pool that no longer exists")
    if not any(name_of(one) == "spacelift-aws-controller" for one in facts.leases):
        yield Line(False, "no controller has ever asked for its Lease", "see the logs of its pods")


def _policies(facts: Facts) -> Iterator[Line]:
    if facts.policies is None or facts.bindings is None:
        yield Line(None, "you may not read admission policies")
        return
    bound = {str(one["spec"].get("policyName")) for one in facts.bindings}
    ours = [name_of(one) for one in facts.policies if name_of(one).startswith(POLICY_PREFIX)]
    loose = [name for name in ours if name not in bound]
    if f"{POLICY_PREFIX}use" not in ours:
        yield Line(False, "the admission policies are not installed", "admissionPolicies.create=true in the chart")
    else:
        words = f"no binding for {', '.join(loose)}" if loose else f"all {len(ours)} admission policies are bound"
        yield Line(not loose, words, "upgrade the chart with its values, which brings the bindings back")


def _aws(facts: Facts) -> Iterator[Line]:
    if facts.integrations is None:
        yield Line(None, "you may not read AwsIntegrations")
        return
    principals = sorted({str(status_of(one).get("principal") or "") for one in facts.integrations} - {""})
    if principals:
        remedy = "several controllers write here: look for a second installation"
        yield Line(len(principals) == 1, f"the operator acts in AWS as {', '.join(principals)}", remedy)
    regions: dict[str, list[str]] = {}
    for one in facts.integrations:
        reason = str(verdict(one).get("reason") or "NotVerifiedYet")
        regions.setdefault(str(one["spec"].get("region") or "its own region"), []).append(reason)
    for region, reasons in sorted(regions.items()):
        lost = [one for one in reasons if one in ("Retrying", "RegionDisabled", "NoIdentity")]
        words = f"STS in {region} answers ({len(reasons)} integrations)"
        bad = f"STS in {region}: {', '.join(sorted(set(lost)))} for {len(lost)} of {len(reasons)} integrations"
        yield Line(not lost, bad if lost else words, "`kubectl spacelift-aws explain` says what each reason asks for")
    for one in facts.integrations:
        found = condition(one, "Ready")
        if found.get("status") != "True":
            place, told = f"{namespace_of(one)}/{name_of(one)}", verdict(one)
            words = f"{place} is not ready: {told.get('reason', 'NotVerifiedYet')}"
            yield Line(False, words, first_line(str(told.get("message") or "")) or "wait some seconds")


def _runs(facts: Facts) -> Iterator[Line]:
    if facts.runs is None:
        yield Line(None, "you may not read Runs")
        return
    waiting = [one for one in facts.runs if phase_of(one) in ("Queued", "Preparing") and _age(one, facts) > STUCK]
    for one in waiting:
        words = f"{namespace_of(one)}/{name_of(one)} has waited for {span(_age(one, facts))}"
        yield Line(False, words, first_line(str(status_of(one).get("message") or "")))
    if not waiting:
        yield Line(True, f"none of {len(facts.runs)} Runs waits for longer than {span(STUCK)}")


def _age(one: Object, facts: Facts) -> float:
    created = parse(one["metadata"].get("creationTimestamp"))
    return (facts.now - created).total_seconds() if created else 0.0


def _secrets(facts: Facts) -> Iterator[Line]:
    if facts.secrets is None or facts.runs is None:
        yield Line(None, "you may not list Secrets (only their metadata is read)")
        return
    live = {str(one["metadata"]["uid"]) for one in facts.runs if not has_ended(one)}
    left = [
        one
        for one in facts.secrets
        if not any(owner.get("uid") in live for owner in one["metadata"].get("ownerReferences") or ())
    ]
    for one in left:
        place = f"{namespace_of(one)}/{name_of(one)}"
        remedy = f"kubectl delete secret {name_of(one)} -n {namespace_of(one)}"
        yield Line(False, f"Secret {place} has no Run that needs it", remedy)
    if not left:
        yield Line(True, f"each of {len(facts.secrets)} Secrets of type {SECRET_TYPE} has its Run")


def _helper(facts: Facts) -> Iterator[Line]:
    image = next((one for one in map(_helper_image, facts.deployments or ()) if one), None)
    if image is None:
        yield Line(None, "it is not known which helper image the operator uses")
        return
    if facts.pods is None:
        yield Line(None, f"you may not read pods: it is not known whether nodes can pull {image}")
        return
    stuck = [name_of(one) for one in facts.pods if _waits_for(one, image)]
    words = f"pods that cannot pull {image}: {', '.join(stuck)}" if stuck else f"no pod waits for the helper {image}"
    yield Line(not stuck, words, "make the image reachable for the nodes, or set `maskHelper.image` in the chart")


def _helper_image(deployment: Object) -> str | None:
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        for variable in container.get("env") or ():
            if variable.get("name") == "SPACELIFT_AWS_HELPER_IMAGE":
                return str(variable.get("value"))
    return None


def _waits_for(pod: Object, image: str) -> bool:
    return any(
        one.get("image") == image and ((one.get("state") or {}).get("waiting") or {}).get("reason") in _PULL
        for one in status_of(pod).get("initContainerStatuses") or ()
    ) or _waits_for_volume(pod, image)


def _waits_for_volume(pod: Object, image: str) -> bool:
    """Where the image comes as a volume, the kubelet tells of its pull at the containers that mount it."""
    comes = any((one.get("image") or {}).get("reference") == image for one in pod["spec"].get("volumes") or ())
    states = (one.get("state") or {} for one in status_of(pod).get("containerStatuses") or ())
    return comes and any((state.get("waiting") or {}).get("reason") in _PULL for state in states)


CHECKS: Final[Sequence[tuple[str, Callable[[Facts], Iterator[Line]]]]] = (
    ("The API server", _connection),
    ("Definitions", _definitions),
    ("Your rights", _own_rights),
    ("The operator", _operator),
    ("Admission policies", _policies),
    ("AWS", _aws),
    ("Runs", _runs),
    ("Secrets", _secrets),
    ("The helper's image", _helper),
)


def as_list(facts: Facts) -> list[dict[str, Any]]:
    """All findings for programs."""
    return [
        {"check": title, "ok": line.good, "what": line.what, "remedy": line.remedy or None}
        for title, lines in findings(facts)
        for line in lines
    ]
