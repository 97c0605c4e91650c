"""What is kept of a Run's template: what is decided by, found out once a UID, because a template never changes.

The template itself may be as large as the API server takes objects, and as many as a tenant creates: a small one is
kept as bytes until its pod is made, a large one is asked for again then.
"""

from dataclasses import dataclass, replace
from typing import Any

import orjson

from spacelift_aws.api.run import Phase, PodTemplate, Run
from spacelift_aws.controllers.run import template_rules
from spacelift_aws.controllers.run.pod.masking import Masking

LARGEST_KEPT = 16_384
"""Bytes of a template that is kept until its pod is made."""

KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue's webhook puts a scheduling gate into pods with it."""

KEPT_ANNOTATIONS = 4_096
"""Characters of an annotation that is kept: `kubectl apply` writes the whole object into one."""


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """All that is decided by of a template."""

    refusal: str | None = None
    """Why it is not executed, but for the executor's own service account."""
    account: str | None = None
    """The service account that its pod asks for."""
    containers: tuple[str, ...] = ()
    """The names of its containers, init containers included."""
    credentialed: tuple[str, ...] = ()
    """Those of them that receive credentials."""
    masking: Masking | None = None
    """What of the output can be masked; None where the template cannot be looked through."""
    caveats: str = ""
    """What may keep the containers from using the credentials and cannot be looked at, in sentences."""
    gated: bool = False
    """Whether its pod is going to wait for a scheduling gate: by its spec, or by Kueue's label."""
    raw: bytes | None = None
    """The template as JSON; None if it is large or not needed any more."""

    def refused(self, own_account: str | None) -> str | None:
        """The reason why the template is not executed by who has this service account in the Run's namespace."""
        if self.refusal is None and own_account is not None and self.account == own_account:
            return template_rules.own_account_refused(own_account)
        return self.refusal


def facts_of(run: Run, helper_image: str | None, known: TemplateFacts | None = None) -> TemplateFacts:
    """What matters of a Run's template at its stage; `known` is what was found out about this Run before."""
    if run.status.phase.terminal:
        return TemplateFacts()
    if known is None or (not known.containers and known.refusal is None):
        known = _found_out(run, helper_image)
    return known if run.status.phase is Phase.QUEUED else replace(known, raw=None)


def _found_out(run: Run, helper_image: str | None) -> TemplateFacts:
    spec = run.spec
    shape = template_rules.shape_refused(spec.template.spec)
    if shape is not None:
        return TemplateFacts(refusal=shape)
    size = template_rules.size_refused(spec.template.spec)
    if size is not None:
        return TemplateFacts(refusal=size)
    raw = orjson.dumps(spec.template.model_dump(by_alias=True, exclude_none=True))
    return TemplateFacts(
        refusal=template_rules.refusal(spec, helper_image=helper_image),
        account=template_rules.account_of(spec.template.spec),
        containers=template_rules.container_names(spec.template.spec),
        credentialed=template_rules.credentialed_containers(spec),
        masking=template_rules.masking_of(spec, helper_image),
        caveats=template_rules.caveats(spec),
        gated=bool(spec.template.spec.get("schedulingGates")) or _is_queued(run),
        raw=raw if len(raw) <= LARGEST_KEPT else None,
    )


def _is_queued(run: Run) -> bool:
    metadata = run.spec.template.metadata
    return metadata is not None and KUEUE_LABEL in (metadata.labels or {})


def trimmed(run: Run) -> Run:
    """A Run without its template and without annotations that hold copies of it."""
    kept = {key: value for key, value in run.metadata.annotations.items() if len(value) <= KEPT_ANNOTATIONS}
    nothing: Any = None
    return run.model_copy(
        update={
            "spec": run.spec.model_copy(update={"template": PodTemplate(spec=nothing)}),
            "metadata": run.metadata.model_copy(update={"annotations": kept}),
        }
    )


def with_template(run: Run, raw: bytes) -> Run:
    """A trimmed Run as it was."""
    template = PodTemplate.model_validate(orjson.loads(raw))
    return run.model_copy(update={"spec": run.spec.model_copy(update={"template": template})})
